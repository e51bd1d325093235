"""No room, no folder, another time of day: said in words, and nothing is lost."""

import os
from pathlib import Path

import pytest
from faults.seeds import draw_jobs, explain, make_random, scale
from faults.shortages import fill_disk, set_clock, small_disk, take_away


def test_a_disk_that_fills_up(undisturbed, tmp_path, tally):
    try:
        with small_disk(tmp_path / "disk", 1 << 20):
            (tmp_path / "disk" / "file").write_text("a")
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    assert not os.path.exists(tmp_path / "disk")
    _try(fill_disk, "full disks", undisturbed, tmp_path, tally)


def test_folders_that_vanish(undisturbed, tmp_path, tally):
    _try(take_away, "vanishing folders", undisturbed, tmp_path, tally)


def test_a_clock_that_jumps(undisturbed, tmp_path, tally):
    _try(set_clock, "jumping clocks", undisturbed, tmp_path, tally)


def _try(fault, name: str, undisturbed, work: Path, tally) -> None:
    rng = make_random(name)
    for job in draw_jobs(rng, 1):
        whole = undisturbed(job)
        for _ in range(scale(1)):
            if whole.operations:
                told, problem = fault(whole, rng, work)
                tally.add(problem and f"{job.name}, {told}: {problem}")
    assert not tally.lost, explain(tally.lost)
