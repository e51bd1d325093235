"""Held-out faces: stretches, apart from training, the same for the same seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.runs.held_out import (
    GAP_SECONDS,
    HELD_NAME,
    begin_split,
    find_held,
    hold_out,
    resume_split,
    write_held,
)
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.run_faces import record_split, split_faces
from deepfake_jax.types import Side


def record(source: str, track: int, frame: int, rate: float = 25.0) -> FaceRecord:
    return FaceRecord(
        file=f"{source}_{frame:06d}_{track}.png",
        source=source,
        frame=frame,
        time=frame / rate,
        box=(0.0, 0.0, 10.0, 10.0),
        score=1.0,
        landmarks=(),
        frame_to_face=(),
        size=100.0,
        track=track,
    )


def film(source: str, frames: int, tracks: int = 1) -> list[FaceRecord]:
    return [record(source, t, i) for i in range(frames) for t in range(tracks)]


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_parts_are_apart_and_of_the_share_asked_for(share: float):
    records = film("one.mp4", 400) + film("two.mp4", 200, tracks=2)
    split = hold_out(records, share, seed=3)
    assert len(split.held) == round(share * len(records))
    assert not set(split.train) & set(split.held)
    for h in split.held:
        for t in split.train:
            if records[h].source == records[t].source:
                assert abs(records[h].time - records[t].time) >= GAP_SECONDS
    # What is in neither lies beside what is held out, and is not much.
    assert len(split.train) > (1 - share) * len(records) * 0.6


def test_held_faces_are_stretches_of_a_track():
    records = film("one.mp4", 1000)
    held = hold_out(records, 0.1, seed=0).held
    runs = np.split(held, np.flatnonzero(np.diff(held) > 1) + 1)
    assert sorted(len(run) for run in runs)[1] >= 8  # all but one that was cut short


def test_seed_decides_and_order_does_not():
    records = film("one.mp4", 300)
    names = [
        {records[i].file for i in hold_out(records, 0.1, seed).held}
        for seed in (1, 1, 2)
    ]
    assert names[0] == names[1] != names[2]
    turned = records[::-1]
    assert {turned[i].file for i in hold_out(turned, 0.1, 1).held} == names[0]


def test_pictures_are_held_one_by_one_without_gaps():
    records = [record(f"{i}.jpg", 0, 0) for i in range(100)]
    split = hold_out(records, 0.1, seed=0)
    assert (len(split.held), len(split.train)) == (10, 90)


def test_small_sets_keep_something_to_train_on():
    one = hold_out([record("a.png", 0, 0)], 0.05, seed=0)
    assert (len(one.train), len(one.held)) == (1, 0)
    short = hold_out(film("short.mp4", 10), 0.4, seed=0)
    assert len(short.train) >= 1
    none = hold_out(film("one.mp4", 50), 0.0, seed=0)
    np.testing.assert_array_equal(none.train, np.arange(50))
    with pytest.raises(ValueError, match="share"):
        hold_out([], 0.6, seed=0)


def test_run_remembers_what_it_held_out(tmp_path: Path):
    records = [replace(r, picture=r.file[-12:]) for r in film("one.mp4", 100)]
    split = hold_out(records, 0.1, seed=0)
    assert len(find_held(tmp_path, "a", records).held) == 0
    write_held(tmp_path, {"a": [records[i] for i in split.held], "b": []})
    found = find_held(tmp_path, "a", records)
    np.testing.assert_array_equal(found.held, split.held)
    assert len(found.held) + len(found.train) == 100
    assert len(find_held(tmp_path, "b", records).held) == 0
    # The same names, other pictures.
    anew = [replace(r, picture="other") for r in records]
    assert len(find_held(tmp_path, "a", anew).held) == 0
    (tmp_path / HELD_NAME).write_text("[1, 2]")
    with pytest.raises(FaceSetError, match="holdout.json is damaged"):
        find_held(tmp_path, "a", records)


def test_a_run_that_goes_on_splits_as_it_began(tmp_path: Path, caplog):
    caplog.set_level("INFO")
    records = [replace(r, picture=r.file[-12:]) for r in film("one.mp4", 200)]
    split = begin_split("a", records, 0.1, seed=5)
    assert "A: 20 faces held out" in caplog.text
    write_held(tmp_path, {"a": [records[i] for i in split.held]})
    again = resume_split(tmp_path, "a", records)
    np.testing.assert_array_equal(again.train, split.train)
    np.testing.assert_array_equal(again.held, split.held)
    assert "changed" not in caplog.text
    # A run that recorded nothing trains on all.
    assert len(resume_split(tmp_path, "b", records).train) == 200


def test_held_faces_stay_so_when_a_set_changes(tmp_path: Path, caplog):
    records = film("one.mp4", 200)
    split = begin_split("a", records, 0.1, seed=5)
    write_held(tmp_path, {"a": [records[i] for i in split.held]})
    gone = records[split.held[0]].file
    grown = [r for r in records if r.file != gone] + film("two.mp4", 50)
    found = resume_split(tmp_path, "a", grown)
    assert "of the 20 held out, 19 are still there" in caplog.text
    held = {grown[i].file for i in found.held}
    assert held == {records[i].file for i in split.held} - {gone}
    train = {grown[i].file for i in found.train}
    assert not train & held and {f"two.mp4_{i:06d}_0.png" for i in range(50)} <= train
    only = [records[i] for i in split.held]
    assert len(resume_split(tmp_path, "a", only).train) == len(only)
    assert "all are trained on" in caplog.text


def test_too_few_faces_hold_out_none(caplog):
    caplog.set_level("INFO")
    for count, held in ((6, 0), (69, 0), (70, 4)):
        split = begin_split("b", film("one.mp4", count), 0.05, seed=0)
        assert len(split.held) == held
        assert ("too few" in caplog.text) == (held == 0)
        caplog.clear()
    assert len(begin_split("b", film("one.mp4", 6), 0.0, seed=0).train) == 6
    assert not caplog.text


@pytest.mark.parametrize(
    "count, says",
    [
        (1, "B has 1 face to train on: a likeness in that pose"),
        (10, "B has 10 faces to train on: most poses and expressions"),
        (60, "B has 60 faces to train on: enough for a first look"),
        (150, ""),
    ],
)
def test_a_run_that_begins_says_what_to_expect_of_a_small_set(
    tmp_path: Path, caplog, count: int, says: str
):
    header, shape = {"face_size": 256}, (256, 256, 3)
    sets: dict[Side, FaceSet] = {}
    sizes: dict[Side, int] = {"a": 200, "b": count}
    for side, size in sizes.items():
        faces = np.broadcast_to(np.uint8(0), (size, *shape))
        records = tuple(film(f"{side}.mp4", size))
        sets[side] = FaceSet(tmp_path, faces, records, header)
    config = TrainConfig(holdout=0.0)
    splits = split_faces(tmp_path, sets, config)
    assert not caplog.text
    record_split(tmp_path, sets, splits)
    assert (says in caplog.text) if says else not caplog.text
    assert "A has" not in caplog.text


def test_sources_of_one_name_leave_no_gap_in_each_other():
    """The same seconds of two cameras' clips, numbered or known by their files."""
    first = [
        replace(record("clip.mp4", 0, f), file=f"000_{f:06d}_0000.png")
        for f in range(100)
    ]
    second = [
        replace(record("clip.mp4", 1, f), file=f"001_{f:06d}_0001.png")
        for f in range(100)
    ]
    numbered = [
        replace(r, source_number=i // 100) for i, r in enumerate(first + second)
    ]
    for records in (first + second, numbered):
        split = hold_out(records, 0.04, seed=1)
        held = {i // 100 for i in split.held}
        assert len(held) == 1
        other = 1 - held.pop()
        assert sum(i // 100 == other for i in split.train) == 100
