"""A job that is killed, stopped and asked to end at any moment, then done again."""

import random
import shutil
import signal
import time
from pathlib import Path

from faults.crash_points import Tally, Undisturbed, do, finish
from faults.tries import Limits, start

WAYS = {
    "KILL": (signal.SIGKILL,),
    "TERM": (signal.SIGTERM,),
    "HUP": (signal.SIGHUP,),
    "INT twice": (signal.SIGINT, signal.SIGINT),
    "STOP": (signal.SIGSTOP,),
}


def end_randomly(
    whole: Undisturbed,
    rng: random.Random,
    work: Path,
    tally: Tally,
    *,
    seconds: float,
    stop_seconds: float,
) -> None:
    """Ends a job once, or up to three times in a row, and looks at what it comes to.

    Args:
        whole: the job.
        rng: draws ways and moments.
        work: where to try.
        tally: of tries.
        seconds: about as long as the job takes.
        stop_seconds: how long a stopped process stays so.
    """
    folder = copy_to(whole, work)
    told = [whole.job.name]
    try:
        for _ in range(rng.choice((1, 1, 2, 3))):
            way, moment = rng.choice(list(WAYS)), rng.uniform(0, seconds)
            told.append(f"{way} after {moment:.2f} s")
            running = start(whole.job.words, folder, Limits())
            until = time.monotonic() + moment
            while running.is_alive and time.monotonic() < until:
                time.sleep(0.005)
            tally.counts["ends while it worked"] += running.is_alive
            running.signal(*WAYS[way])
            if way == "STOP":
                time.sleep(stop_seconds)
                running.signal(signal.SIGCONT)
            ended = running.wait()
            if way != "KILL" and not _ended_well(ended.status, ended.text):
                tally.add(f"{told}: ended with {ended.status}: {ended.text[-1500:]}")
                return
        problem = finish(whole, folder)
        tally.add(problem and f"{told}: {problem}")
    finally:
        shutil.rmtree(folder)


def measure(whole: Undisturbed, work: Path) -> float:
    """How many seconds a job takes that has been compiled."""
    folder = copy_to(whole, work)
    try:
        return do(whole.job, folder).seconds
    finally:
        shutil.rmtree(folder)


def _ended_well(status: int | None, text: str) -> bool:
    """By itself and in words; or, before it listened to signals, as the system does."""
    if status is not None and status < 0:
        return not text or "Traceback" not in text
    return status in (0, 1) and "Traceback" not in text


def copy_to(whole: Undisturbed, work: Path) -> Path:
    """A folder to try in."""
    return Path(shutil.copytree(whole.start, work / "try", symlinks=True))
