"""What is pasted before the faces that a network sees."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from deepfake_jax.train_config import AugmentConfig, config_from_dict
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.data import make_batch
from deepfake_jax.training.occluders import NUMBERS, draw_occluders, paste_occluders
from deepfake_jax.training.state import init_state
from deepfake_jax.training.step import train_step
from deepfake_jax.types import SIDES, Side

SIDE = 64


def paste(pictures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(paste_occluders(jnp.asarray(pictures), jnp.asarray(rows)))


def draw_faces(rng: np.random.Generator) -> dict[Side, np.ndarray]:
    return {s: rng.integers(0, 256, (4, 256, 256, 3)).astype(np.uint8) for s in SIDES}


def changed(pictures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    pasted = paste(pictures, rows)
    return np.abs(pasted - pictures / np.float32(255)).max(axis=-1)


def test_a_share_of_the_faces_has_one_inside_the_crop(rng: np.random.Generator):
    rows = draw_occluders(rng, 400, share=0.3)
    assert rows.shape == (400, NUMBERS) and rows.dtype == np.float32
    pictures = rng.integers(0, 256, (400, SIDE, SIDE, 3)).astype(np.uint8)
    away = changed(pictures, rows)
    hidden = rows[:, 0] > 0
    assert 0.2 < hidden.mean() < 0.4
    np.testing.assert_allclose(away[~hidden], 0, atol=1e-6)
    # Of faces that have one, from a finger to half of the crop.
    covered = (away[hidden] > 0.02).mean(axis=(1, 2))
    assert covered.min() > 0.003 and covered.max() < 0.7
    assert 0.05 < np.median(covered) < 0.3


def test_nothing_is_pasted_at_a_share_of_nothing(rng: np.random.Generator):
    assert not draw_occluders(rng, 50, share=0.0)[:, 0].any()


def test_the_same_place_at_any_size(rng: np.random.Generator):
    rows = draw_occluders(rng, 8, share=1.0)
    grey = np.full((8, 2 * SIDE, 2 * SIDE, 3), 128, np.uint8)
    large = paste(grey, rows)
    means = large.reshape(8, SIDE, 2, SIDE, 2, 3).mean(axis=(2, 4))
    small = paste(grey[:, ::2, ::2], rows)
    assert np.abs(small - means).mean() < 0.01
    assert np.abs(small - 128 / 255).mean() > 0.01


def test_occluders_change_neither_the_other_draws_nor_the_targets(
    rng: np.random.Generator,
):
    faces = draw_faces(rng)
    augment = AugmentConfig()
    plain, hidden = (
        make_batch(
            faces,
            seed=3,
            step=5,
            batch_size=4,
            augment=replace(augment, occluders=share),
        )
        for share in (0.0, 1.0)
    )
    for side in SIDES:
        np.testing.assert_array_equal(plain[side].warped, hidden[side].warped)
        np.testing.assert_array_equal(plain[side].target, hidden[side].target)
        assert plain[side].occluder is None
        assert hidden[side].occluder.shape == (4, NUMBERS)


def test_the_network_sees_them(rng: np.random.Generator):
    """A step with occluders is a step on pictures with them."""
    faces = draw_faces(rng)
    augment = AugmentConfig(occluders=1.0)
    batch = make_batch(faces, seed=3, step=5, batch_size=4, augment=augment)
    pasted: Batch = {
        side: replace(pair, warped=paste(pair.warped, pair.occluder), occluder=None)
        for side, pair in batch.items()
    }
    config = config_from_dict({"model": {"width": 8}, "batch_size": 4})
    step, state = jax.jit(train_step), init_state(jax.random.key(0), config)
    (_, got), (_, expected) = step(state, batch), step(state, pasted)
    np.testing.assert_allclose(got["grad_norm"], expected["grad_norm"], rtol=1e-4)
    plain: Batch = {side: replace(pair, occluder=None) for side, pair in batch.items()}
    _, other = step(state, plain)
    assert abs(other["grad_norm"] / got["grad_norm"] - 1) > 2e-3
