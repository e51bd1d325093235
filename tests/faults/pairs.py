"""Two commands at once in one folder: one waits or is refused, never a mixture."""

import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.jobs import Job, begin, find_jobs, list_hidden, read_results
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
    """Jobs that write the same output, or of which one reads what the other writes."""
    groups = (
        ("extract", "extract people"),
        ("extract again", "faces drop", "faces sort", "faces restore", "faces repair"),
        ("convert again", "convert video"),
        ("convert folder again", "convert folder"),
        ("convert frames again",),
        ("convert picture",),
        ("train", "train on"),
        ("distill",),
        ("preview",),
    )
    for group in groups:
        jobs = find_jobs(*group)
        for index, first in enumerate(jobs):
            for second in jobs[index:]:
                yield first, second


def prepare_pair(first: Job, second: Job, inputs: Path, work: Path) -> Pair:
    """Does both jobs one after the other, in either order, and each alone."""
    fuller = max((first, second), key=lambda job: len(job.before))
    base = begin(fuller, inputs, work / "base")
    names = tuple(dict.fromkeys((*first.results, *second.results)))
    found: list[dict[str, str]] = []
    hidden: set[str] = set()
    for order in ((first,), (second,), (first, second), (second, first)):
        place = shutil.copytree(base, work / "order", symlinks=True)
        for job in order:
            run(job.words, place)
        found.append(read_results(place, names))
        hidden.update(list_hidden(place))
        shutil.rmtree(place)
    return Pair(first, second, base, found, hidden)


def run_together(pair: Pair, rng: random.Random, work: Path) -> str:
    """Runs both at once, the second a moment later; says what is wrong then."""
    folder = Path(shutil.copytree(pair.start, work / "together", symlinks=True))
    try:
        one = start(pair.first.words, folder, Limits())
        time.sleep(rng.choice((0.0, rng.uniform(0, 1.5))))
        ends = [start(pair.second.words, folder, Limits()).wait(), one.wait()]
        for end in ends:
            if not end.is_clear:
                return f"ended with {end.status}: {end.text[-1500:]}"
        names = tuple(dict.fromkeys((*pair.first.results, *pair.second.results)))
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
