"""Two commands at once in one folder: one waits or is refused, never a mixture."""

import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.jobs import READERS, Job, begin, find_jobs
from faults.results import list_hidden, read_results
from faults.tries import Limits, run, start


@dataclass(frozen=True)
class Pair:
    """Two jobs in one folder, and every result that one after the other may have."""

    first: Job
    second: Job
    start: Path
    results: list[dict[str, str]]
    hidden: set[str]


def list_pairs() -> Iterator[tuple[Job, Job]]:
    """Jobs that write the same output, or of which one reads what the other writes.

    All pairs of commands are among them, but those that share no file.
    """
    sets = [job.name for job in find_jobs() if job.results == ("faces",)]
    groups = (
        sets,
        ("convert again", "convert video", "convert save faces"),
        ("convert folder again", "convert folder"),
        ("convert frames again",),
        ("convert picture",),
        ("convert picture", "key file"),
        ("train", "train on"),
        ("distill",),
        ("preview",),
    )
    for reader in READERS:
        group = sets if "faces" in reader.words else ("train on",)
        for writer in find_jobs(*group):
            yield writer, reader
    for group in groups:
        jobs = find_jobs(*group)
        for index, first in enumerate(jobs):
            for second in jobs[index:]:
                yield first, second


def prepare_pair(first: Job, second: Job, inputs: Path, work: Path) -> Pair:
    """Does both jobs one after the other, in either order, and each alone."""
    fuller = max((first, second), key=lambda job: len(job.before))
    base = begin(fuller, inputs, work / "base")
    names = _name_results(first, second)
    found: list[dict[str, str]] = []
    hidden: set[str] = set()
    for order in ((first,), (second,), (first, second), (second, first)):
        # What reads may find an old state, a new one or one between them.
        if second in READERS and order != (first,):
            continue
        place = shutil.copytree(base, work / "order", symlinks=True)
        for job in order:
            run(job.words, place, Limits(environment=dict(job.environment)))
        found.append(read_results(place, names))
        hidden.update(list_hidden(place))
        shutil.rmtree(place)
    return Pair(first, second, base, found, hidden)


def _name_results(first: Job, second: Job) -> tuple[str, ...]:
    more = () if second in READERS else second.results
    return tuple(dict.fromkeys((*first.results, *more)))


def run_together(pair: Pair, rng: random.Random, work: Path) -> str:
    """Runs both at once, the second a moment later; says what is wrong then."""
    folder = Path(shutil.copytree(pair.start, work / "together", symlinks=True))
    try:
        limits = [
            Limits(environment=dict(job.environment))
            for job in (pair.first, pair.second)
        ]
        one = start(pair.first.words, folder, limits[0])
        time.sleep(rng.choice((0.0, rng.uniform(0, 1.5))))
        ends = [start(pair.second.words, folder, limits[1]).wait(), one.wait()]
        for end in ends:
            if not end.is_clear:
                return f"ended with {end.status}: {end.text[-1500:]}"
        names = _name_results(pair.first, pair.second)
        found = read_results(folder, names)
        if found not in pair.results:
            apart = [set(known.items()) ^ set(found.items()) for known in pair.results]
            odd = sorted({name for name, _ in min(apart, key=len)})
            said = [end.last_line for end in ends]
            return f"a mixture: {odd[:5]}; {said}"
        if stray := sorted(set(list_hidden(folder)) - pair.hidden):
            return f"left behind: {stray}"
        return ""
    finally:
        shutil.rmtree(folder)
