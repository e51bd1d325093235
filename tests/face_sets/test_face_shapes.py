"""Shapes: landmarks cut as faces are cut, less their person's mean."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.face_sets.face_set import load_faces
from deepfake_jax.face_sets.face_shapes import stack_landmarks
from deepfake_jax.imaging.face_template import (
    FACE_SIZE,
    MEAN_FACE,
    MIRRORED,
    five_landmarks,
)
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    METRICS_NAME,
    RunError,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.augment import apply_cuts, cut_landmarks, draw_cuts
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.data import cut_shapes, make_batch
from deepfake_jax.training.loop import train
from deepfake_jax.training.objective import sum_losses
from deepfake_jax.training.run_faces import find_middles
from deepfake_jax.training.state import SHAPE_NUMBERS, init_state
from deepfake_jax.types import SIDES, Side

STILL: dict[str, Any] = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "warp_scale": 0.0}


def draw_landmarks(rng: np.random.Generator, n: int) -> np.ndarray:
    points = FACE_SIZE * MEAN_FACE[:, :2] + np.array([3.0, -2.0])  # not in the middle
    return points + rng.normal(0, 3, (n, 68, 2))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_points_lie_where_the_target_shows_them(rng: np.random.Generator, flip: float):
    points = rng.uniform(90, 160, (8, 1, 2)).round()
    faces = np.zeros((8, FACE_SIZE, FACE_SIZE, 3), np.uint8)
    for face, ((x, y),) in zip(faces, points, strict=True):
        cv2.circle(face, (int(x), int(y)), 6, (255, 255, 255), -1)
    grids = draw_cuts(rng, 8, flip=flip)
    found, mirrored = cut_landmarks(points, grids[:, 1])
    assert (mirrored == bool(flip)).all()
    targets = apply_cuts(faces, np.arange(8), grids)[1]
    for target, point in zip(targets, found, strict=True):
        weights = target[..., 0].astype(float)
        y, x = (np.indices(weights.shape) * weights).sum((1, 2)) / weights.sum()
        # Pixel centres are at integers; a disc of 5 pixels is drawn to a fifth of one.
        np.testing.assert_allclose(64 * point[0] - 0.5, (x, y), atol=0.2)


def test_shape_is_zero_for_the_mean_face_and_not_for_others(rng: np.random.Generator):
    landmarks = draw_landmarks(rng, 40)
    middle = landmarks.mean(0)
    # A person whose mean is like its mirror image, and a face that smiles.
    partners = list(MIRRORED[68])
    even = (middle + (middle[partners] * [-1, 1] + [FACE_SIZE - 1, 0])) / 2
    smile = even.copy()
    smile[48, 1] -= 8
    person = np.stack([even, smile, 2 * even - smile])
    grids = draw_cuts(rng, 3, flip=0.0, **STILL)
    shapes = cut_shapes(person, grids[:, 1], middle=person.mean(0)).reshape(3, 51, 2)
    np.testing.assert_allclose(shapes[0], 0, atol=1e-6)
    assert shapes[1, 48 - 17, 1] == pytest.approx(-8 / 160)
    assert np.count_nonzero(np.abs(shapes[1]) > 1e-6) == 1
    # In a mirror image the other corner of the mouth rises.
    grids = draw_cuts(rng, 3, flip=1.0, **STILL)
    mirrored = cut_shapes(person, grids[:, 1], middle=person.mean(0)).reshape(3, 51, 2)
    np.testing.assert_allclose(mirrored[0], 0, atol=1e-6)
    assert mirrored[1, 54 - 17, 1] == pytest.approx(-8 / 160)


def test_shapes_are_seen_from_the_mean_of_faces_that_count(rng: np.random.Generator):
    landmarks = draw_landmarks(rng, 4)
    grids = draw_cuts(rng, 4, flip=0.0, **STILL)[:, 1]
    twice = landmarks[[0, 0, 1]].mean(axis=0)
    double = cut_shapes(landmarks[:2], grids[:2], middle=twice)
    middle = find_middles({"a": landmarks}, {"a": np.array([2 / 3, 1 / 3, 0, 0])})["a"]
    found = cut_shapes(landmarks[:2], grids[:2], middle=middle)
    np.testing.assert_allclose(found, double, atol=1e-6)
    plain = find_middles({"a": landmarks}, None)["a"]
    np.testing.assert_array_equal(
        cut_shapes(landmarks, grids, middle=plain),
        cut_shapes(landmarks, grids, middle=landmarks.mean(0)),
    )


def test_shapes_move_with_the_target(rng: np.random.Generator):
    landmarks = draw_landmarks(rng, 5)
    amounts: dict[str, Any] = STILL | {"shift": 0.05}
    grids = draw_cuts(rng, 5, flip=0.0, **amounts)[:, 1]
    still = draw_cuts(rng, 5, flip=0.0, **STILL)[:, 1]
    apart = [
        cut_shapes(landmarks, where, middle=landmarks[0]).reshape(5, 51, 2)
        for where in (grids, still)
    ]
    moved = (still - grids)[:, 0, 0] / 160
    np.testing.assert_allclose(
        apart[0] - apart[1], np.broadcast_to(moved[:, None], (5, 51, 2)), atol=1e-6
    )


def test_sides_get_as_many_landmarks_of_each_face(tmp_path: Path):
    whole, five, three = (
        load_faces(write_face_set(tmp_path / str(n), 3, points=n)).records
        for n in (68, 5, 3)
    )
    both = stack_landmarks({"a": whole, "b": whole})
    assert both is not None and both["b"].shape == (3, 68, 2)
    fewer = stack_landmarks({"a": whole, "b": five})
    assert fewer and [part.shape for part in fewer.values()] == [(3, 5, 2)] * 2
    np.testing.assert_allclose(fewer["a"][0], five_landmarks(both["a"][0]))
    assert stack_landmarks({"a": whole, "b": three}) is None


def test_a_batch_has_the_shapes_of_its_targets(faces: np.ndarray, rng):
    sides: dict[Side, np.ndarray] = {"a": faces, "b": faces}
    landmarks: dict[Side, np.ndarray] = {
        side: draw_landmarks(rng, len(faces)) for side in SIDES
    }
    config = TrainConfig()
    options = {"seed": 1, "step": 2, "batch_size": 4, "augment": config.augment}
    plain = make_batch(sides, **options)
    batch = make_batch(sides, landmarks=landmarks, **options)
    for side in SIDES:
        np.testing.assert_array_equal(batch[side].warped, plain[side].warped)
        np.testing.assert_array_equal(batch[side].target, plain[side].target)
        assert plain[side].shape is None
        assert batch[side].shape.shape == (4, SHAPE_NUMBERS)
    part = make_batch(sides, landmarks=landmarks, rows=slice(1, 3), **options)
    np.testing.assert_array_equal(part["b"].shape, batch["b"].shape[1:3])


# Learning them


def run_config(steps: int, **settings) -> TrainConfig:
    return tiny_config(
        steps=steps,
        judge_every=0,
        model={"name": "lite", "width": 8, "align_codes": True},
        loss={"shape_weight": 1.0},
        **settings,
    )


def make_pairs(rng: np.random.Generator, numbers: int) -> Batch:
    def draw() -> jax.Array:
        return jnp.asarray(rng.uniform(0, 1, (2, 64, 64, 3)), jnp.float32)

    return {
        side: Pair(draw(), draw(), jnp.asarray(rng.normal(0, 0.1, (2, numbers)), "f4"))
        for side in SIDES
    }


@pytest.mark.parametrize("numbers", [10, SHAPE_NUMBERS])
def test_one_map_reads_both_sides_and_teaches_the_encoder(rng, numbers: int):
    state = init_state(jax.random.key(0), run_config(1))
    network = replace(state.network, readout=state.network.readout + 0.1)
    pairs = make_pairs(rng, numbers)

    def shape_loss(network):
        return sum_losses(network, state, pairs)[1][0]["loss_shape"]

    loss, grads = jax.value_and_grad(shape_loss)(network)
    warped = jnp.concatenate([pair.warped for pair in pairs.values()])
    codes = np.asarray(state.model.compress(network, warped))
    known = np.concatenate([pair.shape for pair in pairs.values()])
    expected = np.abs(codes.sum(1, keepdims=True) * 0.1 - known).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(grads.encoder["conv0"]))
    assert np.any(grads.readout[:, :numbers])
    assert not np.any(grads.readout[:, numbers:])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads.decoders))


def test_a_run_learns_shapes_and_goes_on(tmp_path: Path):
    a, b = (write_face_set(tmp_path / n, 8, points=68) for n in "ab")
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(a, b, run, run_config(2), devices=2)
    train(a, b, run, run_config(4), devices=2)
    train(a, b, whole, run_config(4), devices=2)
    losses = [line["loss_shape"] for line in read_metrics(run / METRICS_NAME)]
    assert len(losses) == 4 and all(0 < loss < 0.1 for loss in losses)
    ends = load_run(run).params, load_run(whole).params
    assert np.any(ends[0].network.readout)
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_array_equal(one, other)
    # Without them it would be another state.
    without = replace(run_config(5), loss=replace(run_config(5).loss, shape_weight=0.0))
    with pytest.raises(RunError, match="shapes learned"):
        train(a, b, run, without, devices=2)


def test_faces_without_landmarks_train_without_shapes(tmp_path: Path):
    a, b = (write_face_set(tmp_path / n, 3) for n in "ab")
    train(a, b, tmp_path / "run", run_config(1), devices=2)
    (line,) = read_metrics(tmp_path / "run" / METRICS_NAME)
    assert "loss_shape" not in line
