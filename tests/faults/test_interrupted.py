"""Nothing is lost, whenever a command ends: the same again gives the whole result."""

import errno
import shutil
import signal
import time
from pathlib import Path

import pytest
from faults.crash_points import (
    Undisturbed,
    crash_at,
    do,
    find_unflushed,
    finish,
    try_crash_points,
    try_every_crash_point,
)
from faults.jobs import JOBS, find_jobs
from faults.random_ends import copy_to, end_randomly, measure
from faults.results import list_hidden
from faults.seeds import SCALE, draw_jobs, explain, make_random, scale
from faults.tries import Limits, run

_RECORDS = (".jsonl", ".json", ".yaml")


def test_every_crash_point(undisturbed, tmp_path, tally):
    """By copies of what stood there; of one job in the short run."""
    rng = make_random("every crash point")
    quick = [job for job in JOBS if job.name.startswith("faces")]
    for job in draw_jobs(rng, 1, among=quick):
        try_every_crash_point(undisturbed(job), tmp_path, tally)
    assert not tally.lost, explain(tally.lost)


def test_crash_points(undisturbed, tmp_path, tally):
    """By processes that die there."""
    rng = make_random("crash points")
    for job in draw_jobs(rng, 2):
        whole = undisturbed(job)
        points = range(1, len(whole.operations) + 2)
        share = min(scale(1 if job.slow else 2), len(points))
        chosen = sorted(rng.sample(points, share))
        try_crash_points(whole, chosen, tmp_path, tally)
    assert not tally.lost, explain(tally.lost)


def test_random_ends(undisturbed, tmp_path, tally):
    rng = make_random("random ends")
    for job in draw_jobs(rng, 2):
        whole = undisturbed(job)
        seconds = 1.1 * measure(whole, tmp_path)
        for _ in range(scale(1)):
            stop = 60.0 if SCALE > 20 and rng.random() < 0.03 else 0.2
            end_randomly(
                whole, rng, tmp_path, tally, seconds=seconds, stop_seconds=stop
            )
    assert not tally.lost, explain(tally.lost)


def test_sigterm_anywhere_in_an_edit_of_a_face_set(undisturbed, tmp_path, tally):
    """As Ctrl-C: in words, nothing hidden stays, and the set is whole."""
    rng = make_random("sigterm")
    for job in JOBS:
        if job.name.startswith("faces"):
            whole = undisturbed(job)
            points = range(1, len(whole.operations) + 1)
            for point in sorted(rng.sample(points, min(scale(1), len(points)))):
                problem = _terminate(whole, point, tmp_path)
                what = whole.operations[point - 1]
                told = f"{job.name}, SIGTERM at {point} ({what}): {problem}"
                tally.add(problem and told)
    assert not tally.lost, explain(tally.lost)


def _terminate(whole: Undisturbed, point: int, work: Path) -> str:
    folder = copy_to(whole, work)
    try:
        ended = do(whole.job, folder, Limits(die_at=point, signal=signal.SIGTERM))
        said = "interrupted by SIGTERM; nothing half-written was left"
        # At the very last operations there may be nothing left to interrupt.
        if not ended.is_clear or (ended.status and said not in ended.text):
            return f"ended with {ended.status}: {ended.text[-1500:]}"
        if stray := sorted(set(list_hidden(folder)) - set(whole.hidden)):
            return f"left behind: {stray}"
        check = run(["faces", "faces", "--check", "--no-sheets"], folder)
        if check.status and whole.job.name != "faces repair":
            return f"not whole: {check.text[-1500:]}"
        return finish(whole, folder)
    finally:
        shutil.rmtree(folder)


def test_operations_that_fail(undisturbed, tmp_path, tally):
    """A full disk, a broken one, missing rights, too many open files: said in words."""
    rng = make_random("failing operations")
    errors = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOENT)
    for job in draw_jobs(rng, 2):
        whole = undisturbed(job)
        for _ in range(scale(1)):
            if not whole.operations:  # it changes nothing
                continue
            point, number = rng.randint(1, len(whole.operations)), rng.choice(errors)
            problem = crash_at(whole, Limits(die_at=point, fail=number), tmp_path)
            what = whole.operations[point - 1]
            told = f"{job.name}, {errno.errorcode[number]} at {point} ({what}): "
            tally.add(problem and told + problem)
    assert not tally.lost, explain(tally.lost)


@pytest.mark.parametrize("ends", [False, True])
def test_files_that_grow_no_further(undisturbed, tmp_path, tally, ends):
    """As on a full disk; or the process dies in the middle of native code's writing."""
    rng = make_random(f"file sizes {ends}")
    for job in draw_jobs(rng, 1):
        whole = undisturbed(job)
        for _ in range(scale(1)):
            size = round(10 ** rng.uniform(2.8, 5.5))  # the log is a file, too
            limits = Limits(file_size=size, file_signal=ends)
            problem = crash_at(whole, limits, tmp_path)
            tally.add(problem and f"{job.name}, files of {size} bytes: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_too_few_open_files(undisturbed, tmp_path, tally):
    rng = make_random("open files")
    for job in draw_jobs(rng, 1):
        whole = undisturbed(job)
        for _ in range(scale(1)):
            files = rng.randint(8, 60)
            problem = crash_at(whole, Limits(files=files), tmp_path)
            tally.add(problem and f"{job.name}, {files} open files: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_records_are_flushed_before_they_get_their_names(undisturbed):
    """Else a power cut leaves them empty; pictures are known by their sums."""
    for job in find_jobs("extract", "faces drop"):
        odd = find_unflushed(undisturbed(job).operations)
        # While a search goes on its lines are moved, and done again if they are lost.
        records = [line for line in odd if line.split(" ")[1].endswith(_RECORDS)]
        assert [line for line in records if "unsorted" not in line] == []


def test_a_try_ends_in_time(undisturbed):
    """The harness itself: a job that nothing disturbs takes seconds."""
    begin = time.monotonic()
    undisturbed(find_jobs("faces drop")[0])
    assert time.monotonic() - begin < 240
