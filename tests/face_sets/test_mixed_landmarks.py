"""Faces with 68 landmarks, with five and with none side by side: each by itself."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.cli.main import run_command
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.recorded_placement import read_placement
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.evaluation.following import make_motion_reader
from deepfake_jax.evaluation.real_faces import Judge, choose_sample, prepare
from deepfake_jax.face_sets.face_set import (
    RECORD_NAME,
    FaceSetError,
    load_faces,
    make_header,
    read_record,
    write_record,
)
from deepfake_jax.files import hash_file
from deepfake_jax.imaging.align import complete_landmarks
from deepfake_jax.imaging.face_template import five_landmarks, template_landmarks
from deepfake_jax.media.sources import picture_frame
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import METRICS_NAME, RunError
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.loop import train

ALL = ConvertConfig(person="all")


def thin_out(folder: Path, kept: dict[int, int]) -> None:
    """Takes landmarks from some lines of a set that has 68: five or none stay."""
    header, records = read_record(folder)
    for index, count in kept.items():
        shape = np.array(records[index].landmarks)
        left = five_landmarks(shape)[:count].tolist()
        records[index] = replace(records[index], landmarks=tuple(map(tuple, left)))
    write_record(folder, header, records)


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Path]:
    return {name: write_face_set(tmp_path / name, 4, points=68) for name in "ab"}


def learn_shapes(**more: Any) -> TrainConfig:
    return tiny_config(
        steps=2,
        model={"name": "lite", "width": 8, "align_codes": True},
        loss={"shape_weight": 1.0, **more},
    )


@pytest.mark.parametrize("count, told", [(5, "all give but five"), (0, "no shapes")])
def test_a_set_of_both_is_trained_on_and_what_is_lost_is_said(
    sets, tmp_path, caplog, count, told
):
    thin_out(sets["b"], {1: count})
    with caplog.at_level(logging.WARNING):
        train(sets["a"], sets["b"], tmp_path / "run", learn_shapes(), devices=1)
    assert told in caplog.text
    assert f"1 of the 4 faces of B ({sets['b']}) have no 68 landmarks" in caplog.text
    assert "faces of A" not in caplog.text
    last = read_metrics(tmp_path / "run" / METRICS_NAME)[-1]
    assert ("loss_shape" in last) == (count == 5)


def test_what_needs_68_names_the_set_and_the_fix_works(sets, tmp_path):
    thin_out(sets["a"], {0: 5, 3: 0})
    config = learn_shapes(eyes_weight=2.0)
    with pytest.raises(RunError, match=r"2 of the 4 faces of A .*landmarks<68"):
        train(sets["a"], sets["b"], tmp_path / "run", config, devices=1)
    assert not (tmp_path / "run").exists()
    words = ["faces", str(sets["a"]), "--drop", "landmarks<68", "--no-sheets"]
    assert run_command(words) == 0
    assert train(sets["a"], sets["b"], tmp_path / "run", config, devices=1).step == 2


@pytest.mark.parametrize("landmarks", [[[1.0]], [[1, 2], [3]], [1, 2], [["x", "y"]], 3])
def test_landmarks_that_are_none_are_refused_by_their_line(sets, landmarks):
    path = sets["a"] / RECORD_NAME
    lines = path.read_text("utf-8").splitlines(keepends=True)
    values = {**json.loads(lines[3]), "landmarks": landmarks}
    lines[3] = json.dumps(values) + "\n"
    path.write_text("".join(lines), "utf-8")
    with pytest.raises(FaceSetError, match="line 4: landmarks must be pairs"):
        load_faces(sets["a"])


def test_faces_of_a_record_are_placed_each_by_its_own(tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"a video, of which only the hash is asked for")
    folder = write_face_set(tmp_path / "faces", 5, points=68)
    thin_out(folder, {1: 5, 2: 0})
    _, records = read_record(folder)
    known = {"number": 0, "name": source.name, "sha256": hash_file(source), "last": 4}
    header = make_header([known], "test")
    named = [replace(r, source=source.name, source_number=0) for r in records]
    write_record(folder, header, named)
    placement = read_placement(folder, source, ALL, None)
    for frame, record in enumerate(records):
        (face,) = placement.find(0, frame)
        if len(record.landmarks) != 68:
            assert face.landmarks is None
            continue
        assert face.landmarks is not None
        # Stored in 64ths of a pixel.
        np.testing.assert_allclose(face.landmarks, record.landmarks, atol=0.01)
    # Searched every second frame only: those between lie between, or where the one
    # neighbour's are that has any.
    every = {**header, "search": {"every": 2, "start": 0.0, "end": None}}
    write_record(folder, every, [r for r in named if r.frame in (0, 2, 4)])
    placement = read_placement(folder, source, ALL, None)
    for frame, near in ((1, 0), (3, 4)):
        (face,) = placement.find(0, frame)
        assert face.landmarks is not None
        np.testing.assert_allclose(face.landmarks, records[near].landmarks, atol=0.01)


def test_a_swap_is_what_it_is_alone(rng):
    """Faces with and without landmarks in the same chunk and in the same frame."""
    frame = rng.integers(0, 256, (200, 300, 3), np.uint8)
    shape = template_landmarks(256, count=68) + rng.normal(0, 2, (68, 2))
    matrices = [np.array([[2.0, 0, -x], [0, 2.0, -40]]) for x in (20, 150, 280)]
    found = [None, shape, None]
    placed = [PlacedFace(n, m, found[n]) for n, m in enumerate(matrices)]
    config = ConvertConfig(mask="hull", person="all")
    swapper = FrameSwapper(lambda faces, _=None: 255 - faces, 64, config)
    together = swapper.swap(
        [(picture_frame(frame), placed), (picture_frame(frame), placed[1:2])]
    )
    mixed = [*together[0].faces, *together[1].faces]
    alone = [
        swapper.swap([(picture_frame(frame), [face])])[0].faces[0]
        for face in (*placed, placed[1])
    ]
    for one, other in zip(mixed, alone, strict=True):
        np.testing.assert_array_equal(one.new, other.new)
        np.testing.assert_array_equal(one.mask, other.mask)
    # By its own landmarks, and not by the mean face's as the others.
    assert (mixed[0].mask == mixed[2].mask).all()
    assert (mixed[1].mask != mixed[0].mask).any()


def test_five_landmarks_are_completed_where_they_lie(rng):
    shape = template_landmarks(256, count=68)
    np.testing.assert_array_equal(complete_landmarks(shape), shape)
    turned = shape @ np.array([[0.0, 0.5], [-0.5, 0.0]]) + [300, 20]
    # Of the mean face five points say all; its numbers have four digits.
    found = complete_landmarks(five_landmarks(turned))
    np.testing.assert_allclose(found, turned, atol=0.02)


@pytest.mark.usefixtures("detector_weights")
def test_motion_is_read_of_all_faces_of_a_mixed_set(portrait, tmp_path):
    from deepfake_jax.extract_config import ExtractConfig
    from deepfake_jax.face_sets.extraction import extract_faces
    from deepfake_jax.media.pictures import write_picture

    write_picture(tmp_path / "one.png", portrait)
    extract_faces(tmp_path / "one.png", tmp_path / "faces", ExtractConfig())
    judge = Judge(None, None, make_motion_reader())
    moved = []
    for count in (68, 5):
        if count == 5:
            thin_out(tmp_path / "faces", {0: 5})
        faces = load_faces(tmp_path / "faces")
        sample = choose_sample(faces, np.array([0]), 1, shift=np.zeros(3))
        moved.append(prepare(judge, sample, 64).motion)
    assert moved[0].keys() == moved[1].keys() and moved[0]
    # Windows placed by five points stand a little elsewhere.
    for part in ("yaw", "pitch", "roll"):
        np.testing.assert_allclose(moved[1][part], moved[0][part], atol=4)
    for part in ("mouth_opening", "eyelids", "gaze"):
        np.testing.assert_allclose(moved[1][part], moved[0][part], atol=0.08)
