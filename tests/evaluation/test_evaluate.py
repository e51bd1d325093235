"""Evaluation: networks that copy, and that always draw one face, are told as such."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flax import linen as nn
from footage import tiny_config, write_face_set, write_pan
from networks import NO_FACTS, Same, Still

from deepfake_jax.cli.main import run_command
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.evaluation.clip_figures import measure_clip
from deepfake_jax.evaluation.evaluate import Evaluation, describe
from deepfake_jax.evaluation.judge import FaceFigures, evaluate_faces
from deepfake_jax.evaluation.real_faces import (
    Judge,
    RealFaces,
    Sample,
    choose_sample,
    load_judge,
    prepare,
    prepare_sets,
    put_back,
)
from deepfake_jax.face_sets.face_set import (
    FaceSet,
    load_faces,
    read_record,
    write_record,
)
from deepfake_jax.faces.detection import make_detector
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.align import crop_faces, frame_to_face_matrix, warp_face
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.runs.held_out import Split, find_held, write_held
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES, Side

SIZE = 64


def make_run(decoder: nn.Module, a: Any, b: Any) -> TrainedRun:
    return TrainedRun(
        model=Autoencoder(encoder=Same(), decoder=decoder, crop_size=SIZE),
        params=SwapParams(Network({"a": a, "b": b}, {})),
        step=7,
        facts=NO_FACTS,
    )


def look_around(picture: np.ndarray) -> Sample:
    """A portrait's face and two more views of it, turned and lit otherwise."""
    detection = make_detector()(picture)[0]
    faces, points = [], []
    for turn, light in ((0.0, 1.0), (6.0, 0.85), (-6.0, 0.7)):
        matrix = frame_to_face_matrix(detection.landmarks)
        spin = cv2.getRotationMatrix2D((127.5, 127.5), turn, 1.0)
        face = cv2.warpAffine(warp_face(picture, matrix), spin, (256, 256))
        faces.append(np.rint(face * light).astype(np.uint8))
        at = apply_affine(spin, apply_affine(matrix, detection.landmarks))
        points.append(at.astype(np.float64))
    return Sample(np.stack(faces), tuple(points))


@pytest.fixture(scope="module")
def people(portrait: np.ndarray, detector_weights: None) -> tuple[Sample, Sample]:
    hopper = read_picture(get_sample("grace_hopper"))
    return look_around(portrait), look_around(hopper)


@pytest.fixture(scope="module")
def judge(detector_weights: None) -> Judge:
    return load_judge()


def judge_samples(
    run: TrainedRun, people: tuple[Sample, Sample], judge: Judge
) -> FaceFigures:
    real: dict[Side, RealFaces] = {
        side: prepare(judge, sample, SIZE)
        for side, sample in zip(SIDES, people, strict=True)
    }
    return evaluate_faces(judge, real, run)


def test_network_that_copies_transfers_nothing(
    people: tuple[Sample, Sample], judge: Judge
):
    found = judge_samples(make_run(Same(), {}, {}), people, judge)
    a_to_b, b_to_a = found.a_to_b, found.b_to_a
    for side in (found.a, found.b):
        assert (side.faces, side.mae, side.psnr) == (3, 0, 99)
        assert side.cos_to_self == pytest.approx(side.cos_of_real) and side.ssim == 1
    for swap in (a_to_b, b_to_a):
        assert swap.identity_transfer == pytest.approx(0, abs=1e-6)
        assert swap.retrieval == 0
        assert swap.expression_error == swap.pose_error == 0
    assert a_to_b.sharpness == pytest.approx(1 / b_to_a.sharpness)


def test_network_that_draws_one_face_transfers_all_but_expression(
    people: tuple[Sample, Sample], judge: Judge
):
    params = [
        {"picture": crop_faces(sample.faces[:1], SIZE)[0] / np.float32(255)}
        for sample in people
    ]
    run = make_run(Still(SIZE), *params)
    evaluation = judge_samples(run, people, judge)
    for swap in (evaluation.a_to_b, evaluation.b_to_a):
        # The ring around the crop is still the source's.
        assert 0.6 < swap.identity_transfer < 1.2
        assert swap.retrieval == 1
        # It does not lean with its source: by 0, 6, 6 degrees in one of three angles.
        assert swap.motion_error > 0.03 and swap.pose_error > 1
        assert swap.sharpness > 0.9
    found = Evaluation(**vars(evaluation))
    text, figures = describe(found), json.loads(json.dumps(asdict(found)))
    assert "A to B" in text and "step 7" in text
    assert {
        "identity_transfer",
        "cos_to_target",
        "retrieval",
        "expression_error",
    } < set(figures["a_to_b"])
    assert {"mae", "psnr", "ssim", "cos_to_self"} < set(figures["b"])


def test_crop_put_back_is_where_it_was(faces: np.ndarray):
    back = put_back(faces, crop_faces(faces, 160))
    # The crop's pixels are the face's own; laying them in place rounds once more.
    assert np.abs(back.astype(int) - faces).max() <= 1
    small = put_back(faces, crop_faces(faces, SIZE)).astype(float)
    assert np.abs(small - faces).mean() < 1  # smooth faces lose little
    np.testing.assert_array_equal(small[:, :40], faces[:, :40])
    assert not np.array_equal(small, faces)


def write_people(folder: Path, sample: Sample) -> FaceSet:
    """A face set on disk of a sample's faces."""
    write_face_set(folder, len(sample.faces))
    header, records = read_record(folder)
    kept = []
    for record, face, points in zip(
        records, sample.faces, sample.landmarks, strict=True
    ):
        write_picture(folder / record.file, face, overwrite=True)
        named = tuple(map(tuple, points.tolist()))
        kept.append(replace(record, landmarks=named, picture=record.file[:10]))
    write_record(folder, header, kept)
    return load_faces(folder)


def test_held_out_faces_are_judged_where_there_are_some(
    people: tuple[Sample, Sample], judge: Judge, tmp_path: Path
):
    a, b = (write_people(tmp_path / s, p) for s, p in zip("ab", people, strict=True))
    write_held(tmp_path, {"a": a.records[2:], "b": []})
    splits: dict[Side, Split] = {
        "a": find_held(tmp_path, "a", a.records),
        "b": find_held(tmp_path, "b", b.records),
    }
    run = make_run(Same(), {}, {})
    real = prepare_sets(
        judge, {"a": a, "b": b}, splits, crop_size=SIZE, shift=np.zeros(3)
    )
    found = evaluate_faces(judge, real, run)
    assert (found.a.faces, found.a.held_out) == (1, True)
    assert (found.b.faces, found.b.held_out) == (3, False)
    # The judged view is no part of its centroid; it alone would have cosine 1.
    assert 0.6 < found.a.cos_of_real < 0.99
    assert found.a.mae == 0
    text = describe(Evaluation(**vars(found)))
    assert "1 face held out" in text and "3 faces, maybe trained on" in text
    real = prepare_sets(
        judge,
        {"a": a, "b": b},
        splits,
        crop_size=SIZE,
        shift=np.zeros(3),
        trained=True,
    )
    found = evaluate_faces(judge, real, run)
    assert (found.a.faces, found.a.held_out) == (2, False)
    assert 0.6 < found.a.cos_of_real < 0.99  # by the centroid of the other face
    assert (found.b.faces, found.b.held_out) == (3, False)


def test_sample_is_even_over_the_set_and_colored(
    people: tuple[Sample, Sample], tmp_path: Path
):
    faces = write_people(tmp_path / "a", people[0])
    shift = np.array([9.0, 0.0, -9.0])
    picked = choose_sample(faces, np.arange(3), 2, shift=shift)
    expected = np.clip(faces.faces[[0, 2]] + shift, 0, 255)
    np.testing.assert_array_equal(picked.faces, expected)
    np.testing.assert_allclose(picked.landmarks[1], people[0].landmarks[2], atol=1e-9)


def test_a_clip_is_judged_beside_the_faces(
    people: tuple[Sample, Sample], portrait: np.ndarray, tmp_path: Path, capsys: Any
):
    for side, sample in zip(SIDES, people, strict=True):
        write_people(tmp_path / side, sample)
    run, clip = tmp_path / "run", tmp_path / "pan.mp4"
    train(tmp_path / "a", tmp_path / "b", run, tiny_config(steps=1), devices=1)
    write_pan(clip, portrait, frames=4)
    asked = ["evaluate", "--run", str(run), "--clip", str(clip), "--json"]
    assert run_command(asked) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["clip"] == asdict(measure_clip(clip, load_run(run)))
    assert figures["clip"]["frames"] == 4 and figures["clip"]["seam"] > 0
    assert (figures["step"], figures["a"]["faces"]) == (1, 3)
    assert run_command(asked[:-1]) == 0
    assert "clip: seam" in capsys.readouterr().out
