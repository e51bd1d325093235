"""A run remembers its face sets: moved together, moved apart, changed and lost."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import tiny_config, write_face_set
from networks import NO_FACTS

from deepfake_jax.cli.run_commands import Evaluate
from deepfake_jax.evaluation.evaluate import evaluate
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import (
    FaceSet,
    load_faces,
    read_record,
    write_record,
)
from deepfake_jax.runs.checkpoint import MANIFEST_NAME, save_checkpoint
from deepfake_jax.runs.recorded_sets import (
    SETS_NAME,
    check_people,
    find_set,
    write_sets,
)
from deepfake_jax.runs.run_folder import CHECKPOINTS, RunError
from deepfake_jax.training.loop import train
from deepfake_jax.types import Side


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder that knows the sets beside it."""
    folder = tmp_path / "work" / "run"
    folder.mkdir(parents=True)
    sets = {
        side: load_faces(write_face_set(tmp_path / "work" / name, 2))
        for side, name in (("a", "man"), ("b", "Änne"))
    }
    write_sets(folder, sets)
    return folder


def test_sets_are_found_where_they_were(run: Path, monkeypatch, caplog):
    assert find_set(run, "a") == run.parent / "man"
    assert find_set(run, "b") == run.parent / "Änne"
    # However the run is named.
    monkeypatch.chdir(run.parent)
    assert find_set(Path("run"), "b") == run.parent / "Änne"
    assert not caplog.text


def test_sets_that_moved_with_their_run_are_found_beside_it(run: Path, tmp_path: Path):
    shutil.move(run.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert find_set(moved / "run", "a") == moved / "man"


def test_sets_stay_where_they_are_when_the_run_moves(run: Path, tmp_path: Path):
    moved = tmp_path / "deep" / "down" / "run"
    shutil.copytree(run, moved)
    assert find_set(moved, "a") == run.parent / "man"


def test_lost_and_unknown_sets_are_errors_that_name_the_flag(run: Path):
    shutil.rmtree(run.parent / "man")
    with pytest.raises(FaceSetError, match=r"man \(2 faces\) as A.*--a FACES"):
        find_set(run, "a")
    (run / SETS_NAME).write_text(json.dumps({"a": {"name": "man"}}))
    with pytest.raises(FaceSetError, match="damaged.*--a FACES"):
        find_set(run, "a")
    (run / SETS_NAME).unlink()
    with pytest.raises(FaceSetError, match="does not say.*--b FACES"):
        find_set(run, "b")


def test_a_set_of_another_size_is_pointed_out(run: Path, caplog):
    folder = run.parent / "man"
    header, records = read_record(folder)
    write_record(folder, header, records[:1])
    assert find_set(run, "a") == folder
    assert "has 1 face, and had 2" in caplog.text


def test_training_records_its_sets_and_evaluation_asks_for_them(tmp_path: Path):
    a, b, run = (tmp_path / name for name in ("a", "b", "run"))
    write_face_set(a, 2)
    write_face_set(b, 3, tint=(120, 160, 210))
    train(a, b, run, tiny_config(steps=1), devices=1)
    assert (find_set(run, "a"), find_set(run, "b")) == (a, b)
    # Before the judging networks are loaded; a set that is given is not looked up.
    shutil.rmtree(a)
    with pytest.raises(FaceSetError, match="--a FACES"):
        evaluate(run, b=b)
    shutil.rmtree(b)
    with pytest.raises(FaceSetError, match="--b FACES"):
        evaluate(run, write_face_set(tmp_path / "new", 2))
    command = Evaluate(run=run)
    assert command.a is None and command.b is None


def someone(number: int) -> list[float]:
    """One person's embedding; others' are at a right angle to it."""
    return np.eye(128)[number].tolist()


def show(run: Path, a: list[float] | None, b: list[float] | None) -> None:
    """Checks sets of these people on a run."""
    sets: dict[Side, FaceSet] = {}
    people: dict[Side, list[float] | None] = {"a": a, "b": b}
    for side, identity in people.items():
        known = {} if identity is None else {"identity": identity}
        faces = load_faces(run.parent / {"a": "man", "b": "Änne"}[side])
        sets[side] = replace(faces, header=faces.header | known)
    check_people(run, sets)


def test_exchanged_people_are_refused(run: Path, caplog):
    show(run, someone(0), someone(1))  # a run that begins
    facts = replace(NO_FACTS, identities={"a": someone(0), "b": someone(1)})
    save_checkpoint(run / CHECKPOINTS, 3, {"x": np.zeros(2)}, facts=facts)
    newest = save_checkpoint(run / CHECKPOINTS, 4, {"x": np.zeros(2)}, facts=facts)
    (newest / MANIFEST_NAME).write_text("{}")
    show(run, someone(0), someone(1))
    show(run, None, someone(1))
    show(run, None, None)
    assert not caplog.text
    for a, b in ((1, 0), (1, None), (None, 0)):
        people = [None if n is None else someone(n) for n in (a, b)]
        with pytest.raises(RunError, match="other way around.*--a .*Änne --b .*man"):
            show(run, *people)


def test_other_people_and_one_person_are_warned_of(run: Path, caplog):
    show(run, someone(3), someone(3))
    assert "look like one person" in caplog.text
    facts = replace(NO_FACTS, identities={"a": someone(0), "b": someone(1)})
    save_checkpoint(run / CHECKPOINTS, 3, {"x": np.zeros(2)}, facts=facts)
    caplog.clear()
    show(run, someone(0), someone(5))
    assert caplog.text.count("looks like another person") == 1 and "B (" in caplog.text
