"""Batches: a function of seed and step alone, whoever prepares them."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import jax
import numpy as np
import pytest

from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.augment import augment_faces
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.data import load_batches, make_batch
from deepfake_jax.types import SIDES, Side

AUGMENT = AugmentConfig()
Sides = dict[Side, np.ndarray]
OPTIONS: dict[str, Any] = {"batch_size": 4, "augment": AUGMENT, "crop_size": 32}


@pytest.fixture
def sides(faces: np.ndarray) -> Sides:
    return {"a": faces[:2], "b": faces[2:]}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("map_ahead") for name in names)


def pictures(batch: Batch) -> list[np.ndarray]:
    return [part for side in SIDES for part in (batch[side].warped, batch[side].target)]


def assert_same(first: Batch, second: Batch) -> None:
    assert list(first) == list(second) == list(SIDES)
    for mine, theirs in zip(pictures(first), pictures(second), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def take(sides: Sides, first_step: int, n: int, **options: Any) -> list[Batch]:
    options = OPTIONS | options
    with closing(load_batches(sides, first_step=first_step, **options)) as batches:
        return list(itertools.islice(batches, n))


# Colour


def test_shift_rounds_and_clips_without_wrapping():
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    shift = np.array([0.4, 250.0, -250.0])
    moved = shift_color(levels, shift)
    expected = np.clip(np.rint(levels + shift), 0, 255)
    np.testing.assert_array_equal(moved, expected)
    assert moved.dtype == np.uint8 and moved.shape == levels.shape
    np.testing.assert_array_equal(shift_color(levels, np.zeros(3)), levels)


# Batches


def test_batch_depends_on_seed_and_step_alone(sides):
    batch = make_batch(sides, seed=1, step=7, **OPTIONS)
    np.random.seed(5)  # the global state must not matter
    assert_same(batch, make_batch(sides, seed=1, step=7, **OPTIONS))
    for other in ({"seed": 2, "step": 7}, {"seed": 1, "step": 8}):
        changed = make_batch(sides, **other, **OPTIONS)
        for mine, theirs in zip(pictures(changed), pictures(batch), strict=True):
            assert np.any(mine != theirs)
    for part in pictures(batch):
        assert part.shape == (4, 32, 32, 3) and part.dtype == np.uint8


def test_sides_are_drawn_apart(sides):
    # The same faces on both sides must not give the same draws.
    batch = make_batch({**sides, "a": sides["b"]}, seed=0, step=0, **OPTIONS)
    assert np.any(batch["a"].warped != batch["b"].warped)
    # One side's batch does not change with the other's faces.
    other = make_batch(sides, seed=0, step=0, **OPTIONS)
    np.testing.assert_array_equal(batch["b"].warped, other["b"].warped)
    np.testing.assert_array_equal(batch["b"].target, other["b"].target)


def test_batch_uses_the_configs_amounts(sides):
    still = AugmentConfig(rotation=0, zoom=0, shift=0, flip=0, warp_scale=0)
    options: dict[str, Any] = OPTIONS | {"augment": still}
    batch = make_batch(sides, seed=0, step=0, **options)
    none = np.random.default_rng(0)
    amounts = asdict(still)
    del amounts["warp_steps"], amounts["occluders"], amounts["expressions"]
    crops = augment_faces(none, sides["a"], crop_size=32, **amounts)[1]
    for target in batch["a"].target:
        assert any(np.array_equal(target, crop) for crop in crops)


def test_warp_fades(sides):
    fading: dict[str, Any] = OPTIONS | {
        "augment": AugmentConfig(warp_scale=5.0, warp_steps=10)
    }
    for step, scale in ((0, 5.0), (5, 2.5), (10, 0.0), (1000, 0.0)):
        same: dict[str, Any] = OPTIONS | {"augment": AugmentConfig(warp_scale=scale)}
        batch = make_batch(sides, seed=0, step=step, **fading)
        expected = make_batch(sides, seed=0, step=step, **same)
        assert_same(batch, expected)
        # Two resamplings of one cut: a few grey levels are rounding.
        away = np.abs(np.subtract(batch["a"].warped, batch["a"].target, dtype=int))
        assert (away.mean() < 1) == (scale == 0)


def test_all_faces_are_used(faces: np.ndarray):
    # Each face a flat grey of its own, so a target tells which face it came from.
    greys = np.zeros((6, 256, 256, 3), np.uint8)
    greys += (np.arange(6, dtype=np.uint8) * 40)[:, None, None, None]
    counts = np.zeros(6)
    for step in range(60):
        batch = make_batch({"a": greys, "b": greys}, seed=0, step=step, **OPTIONS)
        drawn = batch["a"].target[:, 0, 0, 0] // 40
        counts += np.bincount(drawn, minlength=6)
    # 240 draws, 40 a face: standard deviation 5.8, so four of them.
    assert counts.min() > 17 and counts.max() < 63


def test_rows_are_those_of_the_whole_batch(sides):
    whole = make_batch(sides, seed=1, step=7, **OPTIONS)
    for rows in (slice(0, 2), slice(2, 4), slice(1, 2)):
        part = make_batch(sides, seed=1, step=7, rows=rows, **OPTIONS)
        assert_same(part, jax.tree.map(lambda part, rows=rows: part[rows], whole))


# The loader


@pytest.mark.parametrize("workers", [1, 4])
def test_loader_gives_each_steps_batch_in_order(sides, workers: int):
    for step, batch in enumerate(take(sides, 0, 12, seed=3, workers=workers)):
        assert_same(batch, make_batch(sides, seed=3, step=step, **OPTIONS))


def test_loader_goes_on_at_a_later_step_identically(sides):
    whole = take(sides, 0, 8, seed=3, workers=2)
    rest = take(sides, 5, 3, seed=3, workers=3)
    for first, second in zip(whole[5:], rest, strict=True):
        assert_same(first, second)


def test_loader_gives_a_processs_rows(sides):
    for step, batch in enumerate(take(sides, 0, 2, seed=3, rows=slice(2, 4))):
        whole = make_batch(sides, seed=3, step=step, **OPTIONS)
        assert_same(batch, jax.tree.map(lambda part: part[2:], whole))


def test_loader_ends_its_threads_and_its_batches(sides):
    batches = load_batches(sides, first_step=0, seed=0, **OPTIONS)
    next(batches)
    assert any(each.name.startswith("map_ahead") for each in threading.enumerate())
    batches.close()
    assert list(batches) == []


def test_loader_hands_on_an_error(sides):
    with pytest.raises(ValueError):
        take({**sides, "a": sides["a"][:0]}, 0, 1, seed=0)


def test_batches_are_drawn_from_chosen_faces_only(sides):
    chosen: dict[Side, np.ndarray] = {"a": np.array([1]), "b": np.array([0, 3])}
    among = make_batch(sides, seed=1, step=5, among=chosen, **OPTIONS)
    picked: Sides = {side: sides[side][chosen[side]] for side in SIDES}
    assert_same(among, make_batch(picked, seed=1, step=5, **OPTIONS))
    everyone: Sides = {side: np.arange(len(sides[side])) for side in SIDES}
    whole = make_batch(sides, seed=1, step=5, **OPTIONS)
    assert_same(whole, make_batch(sides, seed=1, step=5, among=everyone, **OPTIONS))
