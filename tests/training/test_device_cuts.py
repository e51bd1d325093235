"""Pairs that a device cuts are those that OpenCV cuts, from the same draws."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from deepfake_jax.benchmarks.train import write_drawn_set
from deepfake_jax.train_config import AugmentConfig, load_preset, override_config
from deepfake_jax.training.batch import Pair
from deepfake_jax.training.data import load_cuts, make_batch
from deepfake_jax.training.device_cuts import cut_pairs
from deepfake_jax.training.devices import Devices, find_devices
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES, Side


@pytest.fixture(scope="module")
def faces() -> dict[Side, np.ndarray]:
    """Smooth pictures with edges, as faces are."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 5, 32, 32, 3)).astype(np.uint8)
    both = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return dict(zip(SIDES, both, strict=True))


@pytest.fixture(scope="module")
def masks() -> dict[Side, np.ndarray]:
    rng = np.random.default_rng(1)
    both = rng.integers(0, 2, (2, 5, 16, 16, 3)).astype(np.uint8) * 255
    return dict(zip(SIDES, both.repeat(8, axis=2).repeat(8, axis=3), strict=True))


# Large moves, so that crops reach beyond the faces.
AUGMENT = AugmentConfig(shift=0.3, zoom=0.3)
OPTIONS: dict[str, Any] = {"seed": 3, "batch_size": 6, "augment": AUGMENT}


def differences(got: Any, expected: np.ndarray) -> np.ndarray:
    return np.abs(np.asarray(got).astype(int) - expected.astype(int))


@pytest.mark.parametrize("crop_size", [64, 128])
def test_pictures_and_masks_are_those_of_opencv(faces, masks, crop_size) -> None:
    options = OPTIONS | {"crop_size": crop_size}
    expected = make_batch(faces, step=7, masks=masks, **options)
    sizes = {side: own.shape[:2] for side, own in faces.items()}
    packed = next(load_cuts(sizes, first_step=7, **options))
    cut = jax.jit(cut_pairs, static_argnames="crop_size")
    got = cut(faces, masks, packed, crop_size=crop_size)
    for side in SIDES:
        for name in ("warped", "target", "mask"):
            part, own = getattr(got[side], name), getattr(expected[side], name)
            assert part.shape == own.shape
            away = differences(part, own)
            # Edges are of up to 255, of which a 32nd of a pixel moves 8.
            assert away.max() <= 9, name
            assert (away > 0).mean() < (0.02 if name == "mask" else 1e-3), name
            assert own.std() > 50  # and there is something to compare


def test_shapes_weights_occluders_and_moves_come_along(faces, masks) -> None:
    rng = np.random.default_rng(2)
    landmarks = {side: rng.uniform(60, 190, (5, 68, 2)) for side in SIDES}
    weights = {side: np.arange(1, 6) / 15 for side in SIDES}
    options = OPTIONS | {"crop_size": 64, "landmarks": landmarks, "weights": weights}
    options["chances"] = dict.fromkeys(SIDES, np.arange(5, 0, -1) / 15)
    options["augment"] = replace(AUGMENT, occluders=0.5, expressions=0.7)
    expected = make_batch(faces, step=1, masks=masks, **options)
    sizes = {side: own.shape[:2] for side, own in faces.items()}
    packed = next(load_cuts(sizes, first_step=1, **options))
    said = {"weighted": True, "occluded": True, "moved": True}
    cut = jax.jit(cut_pairs, static_argnames=("crop_size", *said))
    got = cut(faces, masks, packed, crop_size=64, **said)
    for side in SIDES:
        np.testing.assert_allclose(got[side].shape, expected[side].shape, rtol=1e-6)
        np.testing.assert_allclose(got[side].weight, expected[side].weight, rtol=1e-6)
        np.testing.assert_array_equal(got[side].occluder, expected[side].occluder)
        for name in ("warped", "target", "mask"):
            away = differences(getattr(got[side], name), getattr(expected[side], name))
            # Of a mask in both directions.
            assert away.max() <= 16 and (away > 0).mean() < 0.02, name


def test_a_runs_devices_cut_all_steps_of_a_dispatch(faces, masks) -> None:
    options = OPTIONS | {"crop_size": 64}
    sizes = {side: own.shape[:2] for side, own in faces.items()}
    load = load_cuts(sizes, first_step=0, **options)
    group = [next(load), next(load)]
    place = find_devices(1)
    own, covers = place.put_state((faces, masks))
    stacked, second = (
        place.cut(
            *(own, covers, place.put_batches(part)),
            crop_size=64,
            weighted=False,
            occluded=False,
            moved=False,
        )
        for part in (group, group[1:])
    )
    jax.tree.map(
        lambda many, one: np.testing.assert_array_equal(many[1], one), stacked, second
    )
    assert isinstance(second["a"], Pair)


def test_only_gpus_have_memory_for_faces_and_the_smallest_counts() -> None:
    def lend(platform: str, *sizes: int) -> Devices:
        found = tuple(
            SimpleNamespace(
                platform=platform, memory_stats=lambda n=n: {"bytes_limit": n}
            )
            for n in sizes
        )
        return Devices(found, found)

    assert lend("gpu", 8 * 10**9, 6 * 10**9).memory == 6 * 10**9
    assert lend("tpu", 8 * 10**9).memory == find_devices(1).memory == 0


@pytest.mark.parametrize("devices", [1, 2])
def test_a_run_that_cuts_on_its_devices_learns_the_same(tmp_path, devices) -> None:
    for seed, side in enumerate(SIDES):
        write_drawn_set(tmp_path / side, 8, seed=seed)
    settings = ("model.width=8", "batch_size=4", "steps=4", "judge_every=0")
    config = override_config(load_preset("original"), (*settings, "holdout=0"))
    losses = []
    for where in ("host", "device"):
        own = override_config(config, (f"warp_on={where}", "steps_per_dispatch=2"))
        result = train(
            tmp_path / "a", tmp_path / "b", tmp_path / where, own, devices=devices
        )
        losses.append([result.loss_a, result.loss_b])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
