"""Torn, rotten and exchanged files of runs and sets are told, never loaded silently."""

import os
import shutil

import numpy as np
import pytest
from faults.jobs import find_jobs
from faults.mutations import harm_file
from faults.seeds import explain, make_random, scale
from faults.state_reading import (
    FACTS,
    find_silence,
    lend,
    read_key,
    read_run,
    read_search,
    read_set,
)
from footage import tiny_config, write_face_set

from deepfake_jax.faces.kept_searches import Findings, SearchKeeper, SearchNotes
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.imaging.head_pose import Pose
from deepfake_jax.provenance import own_key
from deepfake_jax.training.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two checkpoints, held-out faces and all files."""
    folder = tmp_path_factory.mktemp("torn")
    a, b = (write_face_set(folder / name, 8) for name in ("faces a", "faces b"))
    config = tiny_config(steps=4, checkpoint_every=2, holdout=0.5, judge_every=0)
    train(a, b, folder / "run", config, devices=1)
    # As of a run that was judged; judging takes its time and adds no other files.
    best = folder / "run" / "best" / "00000002"
    shutil.copytree(folder / "run" / "checkpoints" / "00000002", best)
    return folder / "run"


def test_every_file_of_a_run(run, tmp_path, tally):
    rng = make_random("torn run")
    copy = lend(run.parent, tmp_path / "copy") / "run"
    whole = read_run(copy)
    assert read_run(copy) == whole
    names = [
        path.relative_to(run)
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.suffix != ".png" and path.name != ".lock"
    ]
    for _ in range(scale(45)):
        copy = lend(run.parent, tmp_path / "copy") / "run"
        name = rng.choice(names)
        way = rng.random()
        if way < 0.8:
            told = harm_file(rng, copy / name)
        elif way < 0.9:
            other = rng.choice(names)
            shutil.copyfile(run / other, copy / name)
            told = f"{name}: has the content of {other}"
        else:
            (copy / name).unlink()
            told = f"{name}: is missing"
        problem = find_silence(read_run, whole, copy, name.name)
        tally.add(problem and f"{name}, {told}: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_every_file_of_a_set(undisturbed, tmp_path, tally):
    rng = make_random("torn set")
    faces = undisturbed(find_jobs("faces restore")[0]).start / "faces"
    names = [path.name for path in sorted(faces.iterdir()) if "sheet" not in path.name]
    copy = lend(faces, tmp_path / "faces")
    whole = read_set(copy)
    for _ in range(scale(45)):
        copy = lend(faces, tmp_path / "faces")
        name = rng.choice(names)
        if rng.random() < 0.85:
            told = harm_file(rng, copy / name)
        else:
            other = rng.choice(names)
            shutil.copyfile(faces / other, copy / name)
            told = f"has the content of {other}"
        problem = find_silence(read_set, whole, copy, name)
        tally.add(problem and f"{name}, {told}: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_a_torn_key_file(tmp_path, tally, monkeypatch):
    rng = make_random("torn key")
    monkeypatch.setenv("DEEPFAKE_JAX_CONFIG", str(tmp_path / "copy"))
    path = tmp_path / "copy" / own_key.KEY_NAME
    whole = read_key(path.parent)
    data = path.read_bytes()
    for _ in range(scale(45)):
        path.write_bytes(data)
        told = harm_file(rng, path)
        problem = find_silence(read_key, whole, path.parent, path.name)
        tally.add(problem and f"{told}: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_a_torn_kept_search(tmp_path, tally):
    """It is as good as not there, which is said; what it found is never another."""
    rng = make_random("torn kept search")
    keeper = SearchKeeper(tmp_path)
    notes = SearchNotes(keeper, FACTS)
    for index in range(600):
        drawn = np.random.default_rng(index)
        face = TrackedFace(
            track=index % 2,
            box=drawn.normal(size=4),
            width=100.0,
            score=1.0,
            confidence=0.9,
            landmarks=drawn.normal(size=(68, 2)),
            frame_to_face=drawn.normal(size=(2, 3)),
            pose=Pose(0.0, 0.0, 0.0),
            filled=False,
        )
        notes.add(index, index / 25, [face])
    notes.finish(Findings(2, [], []))
    path = keeper.path_of(FACTS)
    whole, data = read_search(tmp_path), path.read_bytes()
    assert len(data) > 10_000
    for _ in range(scale(45)):
        path.write_bytes(data)
        told = harm_file(rng, path)
        problem = find_silence(read_search, whole, tmp_path, path.name)
        tally.add(problem and f"{told}: {problem}")
    assert not tally.lost, explain(tally.lost)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(run, tmp_path):
    for name in ("config.yaml", "sets.json", "holdout.json", "metrics.jsonl"):
        copy = lend(run.parent, tmp_path / "copy") / "run"
        whole = read_run(copy)
        (copy / name).chmod(0)
        assert find_silence(read_run, whole, copy, name) == ""


def test_a_torn_search_is_done_again(undisturbed, tmp_path, tally):
    """The hidden folder of an interrupted extraction, whatever is wrong in it."""
    from faults.crash_points import finish
    from faults.random_ends import copy_to
    from faults.tries import Limits, run

    rng = make_random("torn search")
    whole = undisturbed(find_jobs("extract people")[0])
    point = next(
        number
        for number, line in enumerate(whole.operations, 1)
        if line.startswith("rename") and "unsorted" in line
    )
    for _ in range(scale(1)):
        folder = copy_to(whole, tmp_path)
        run(whole.job.words, folder, Limits(die_at=point + rng.randrange(8)))
        hidden = folder / ".faces.search"
        files = sorted(path for path in hidden.rglob("*") if path.is_file())
        told = harm_file(rng, rng.choice(files)) if files else "nothing to harm"
        problem = finish(whole, folder)
        tally.add(problem and f"{told}: {problem}")
        shutil.rmtree(folder)
    assert not tally.lost, explain(tally.lost)
