"""A job ended at each of its operations on files, then done again."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from faults.jobs import Job, begin, copy_folder
from faults.operations import DIED
from faults.results import list_hidden, read_results, tell_difference
from faults.snapshots import sum_folder
from faults.tries import Limits, Outcome, run


@dataclass
class Tally:
    """What was tried, and what went wrong, in words.

    Attributes:
        tried: how often.
        lost: each with how to do it again.
        counts: of what else is worth a figure.
    """

    tried: int = 0
    lost: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: str) -> None:
        """Counts a try; a problem is one that is not empty."""
        self.tried += 1
        if problem:
            self.lost.append(problem)


@dataclass(frozen=True)
class Undisturbed:
    """A job that nothing disturbed.

    Attributes:
        job: it.
        start: the folder before it.
        results: what it left.
        hidden: hidden files that it left.
        operations: what it did to files.
    """

    job: Job
    start: Path
    results: dict[str, str]
    hidden: list[str]
    operations: list[str]


def do(
    job: Job, folder: Path, limits: Limits | None = None, *, more: Sequence[str] = ()
) -> Outcome:
    """Does a job in a folder."""
    limits = replace(limits or Limits(), environment=dict(job.environment))
    return run([*job.words, *more], folder, limits)


def do_undisturbed(job: Job, inputs: Path, work: Path) -> Undisturbed:
    """Does a job from its start to its end."""
    start = begin(job, inputs, work / job.name)
    whole = copy_folder(start, work / f"{job.name} whole")
    done = do(job, whole)
    assert done.status in (0, 1) and done.is_clear, (job.name, done.text)
    results = read_results(whole, job.results)
    assert results, job.name
    hidden = list_hidden(whole)
    shutil.rmtree(whole)
    return Undisturbed(job, start, results, hidden, done.operations)


def crash_at(whole: Undisturbed, limits: Limits, work: Path) -> str:
    """Ends a job as limits say, does it again, and says what is wrong then."""
    folder = copy_folder(whole.start, work / "try")
    try:
        ended = do(whole.job, folder, limits)
        if ended.status not in (DIED, 0, -25) and not ended.is_clear:
            return f"ended by itself ({ended.status}): {ended.text[-2000:]}"
        return look_at(whole, folder)
    finally:
        shutil.rmtree(folder)


def look_at(whole: Undisturbed, folder: Path) -> str:
    """Says what is wrong with what a job left when it ended too early."""
    if missing := [name for name in whole.job.keeps if not _is_there(folder, name)]:
        return f"{missing} is gone"
    return finish(whole, folder)


def _is_there(folder: Path, name: str) -> bool:
    # An old folder that was put aside is put back by the next command.
    path = folder / name
    return path.exists() or path.with_name(f".{path.name}.replaced").exists()


def finish(whole: Undisturbed, folder: Path) -> str:
    """Does a job again, after it was interrupted; says what is wrong then."""
    again = do(whole.job, folder)
    if problem := _compare(whole, folder, again):
        if "exists" not in again.text and "not empty" not in again.text:
            return problem
        # Of two outputs one was there already: refused, with the way out.
        again = do(whole.job, folder, more=("--overwrite",))
        problem = _compare(whole, folder, again)
    return problem


def _compare(whole: Undisturbed, folder: Path, again: Outcome) -> str:
    if not again.is_clear:
        return f"again ({again.status}): {again.text[-2000:]}"
    found = read_results(folder, whole.job.results)
    names = found.keys() | whole.results.keys()
    odd = sorted(n for n in names if found.get(n) != whole.results.get(n))
    # A session that was ended saves where it is, for which an older state goes.
    last = max((name for name in names if _is_state(name)), default="")
    both = found.keys() & whole.results.keys()
    odd = [n for n in odd if not _is_state(n) or n in both or n == last]
    if odd:
        told = [tell_difference(n, found.get(n), whole.results.get(n)) for n in odd[:6]]
        return f"{len(odd)} of {len(names)} differ: {told}; again: {again.last_line}"
    if stray := sorted(set(list_hidden(folder)) - set(whole.hidden)):
        return f"left behind: {stray}"
    return ""


def _is_state(name: str) -> bool:
    return "/checkpoints/" in name and name.endswith("manifest.json")


def try_crash_points(
    whole: Undisturbed, points: Sequence[int], work: Path, tally: Tally
) -> None:
    """Ends a job at some of its operations, numbered from 1."""
    for point in points:
        problem = crash_at(whole, Limits(die_at=point), work)
        what = dict(enumerate(whole.operations, 1)).get(point, "?")
        told = f"{whole.job.name}, operation {point} ({what}): {problem}"
        tally.add(problem and told)


def try_every_crash_point(whole: Undisturbed, work: Path, tally: Tally) -> None:
    """Looks at what a job would leave if it ended at any of its operations.

    What was left once already is looked at once: flushing changes no file.
    """
    folder, copies = copy_folder(whole.start, work / "try"), work / "copies"
    copies.mkdir()
    done = do(whole.job, folder, Limits(copies=copies))
    assert done.is_clear, done.text
    folder.rename(copies / "99999")  # what it left when it had done all
    known: dict[str, str] = {}
    what = dict(enumerate(done.operations, 1))
    for place in sorted(copies.iterdir()):
        total, point = sum_folder(place), int(place.name)
        if total not in known:
            place.rename(folder)
            known[total] = look_at(whole, folder)
            shutil.rmtree(folder)
        told = f"{whole.job.name}, operation {point} ({what.get(point, 'the end')}): "
        tally.add(known[total] and told + known[total])
    tally.counts["different states"] += len(known)
    shutil.rmtree(copies)


def find_unflushed(operations: Sequence[str]) -> list[str]:
    """Files that were renamed without having been flushed: a power cut empties them.

    Native code may flush what Python does not see; folders have no content.
    """
    flushed: set[str] = set()
    odd: list[str] = []
    for line in operations:
        what, *names = line.split(" ")
        if what == "fsync":
            flushed.add(names[0])
        elif what == "open":
            flushed.discard(names[0])
        elif what == "rename" and len(names) == 2 and names[0] not in flushed:
            odd.append(line)
    return odd
