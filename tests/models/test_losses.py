"""Losses against their definitions and scikit-image; gradients that stay finite."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepfake_jax.models.losses import dssim, mae, mse

LOSSES = {"mae": mae, "mse": mse, "dssim": dssim}
# Compiled once a shape: eager, each operation of dssim would be compiled by itself.
COMPILED = {name: jax.jit(loss) for name, loss in LOSSES.items()}
GRADIENTS = {name: jax.jit(jax.value_and_grad(loss)) for name, loss in LOSSES.items()}


@pytest.fixture
def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    target = rng.random((2, 24, 20, 3))
    noisy = np.clip(target + rng.normal(0, 0.2, target.shape), 0, 1)
    return noisy.astype(np.float32), target.astype(np.float32)


def test_mae_and_mse_are_means_over_everything(pictures):
    output, target = pictures
    error = output.astype(np.float64) - target
    # float32 sums of some thousand terms.
    assert float(mae(*map(jnp.asarray, pictures))) == pytest.approx(
        np.abs(error).mean(), rel=1e-5
    )
    assert float(mse(*map(jnp.asarray, pictures))) == pytest.approx(
        (error**2).mean(), rel=1e-5
    )


def reference_ssim(one: np.ndarray, other: np.ndarray, sigma: float) -> np.ndarray:
    found: Any = structural_similarity(
        one.astype(np.float64),
        other.astype(np.float64),
        gaussian_weights=True,
        sigma=sigma,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
        full=True,
    )
    return found[1]


def test_dssim_agrees_with_scikit_image(pictures):
    values = [reference_ssim(*pair, sigma=1.5) for pair in zip(*pictures, strict=True)]
    found = float(COMPILED["dssim"](*map(jnp.asarray, pictures)))
    # The window of 11 fits wholly five pixels inside.
    expected = (1 - np.mean([value[5:-5, 5:-5] for value in values])) / 2
    # float32 against float64: variances are differences of near numbers.
    assert found == pytest.approx(expected, abs=2e-6)
    assert 0.01 < found < 0.99


def test_dssim_of_every_third_place(pictures):
    pairs = zip(*pictures, strict=True)
    values = [reference_ssim(*pair, sigma=1.5)[5:-5:3, 5:-5:3] for pair in pairs]
    found = jax.jit(partial(dssim, step=3))(*map(jnp.asarray, pictures))
    assert float(found) == pytest.approx((1 - np.mean(values)) / 2, abs=2e-6)


def test_dssim_of_another_window_agrees_with_scikit_image(pictures):
    output, target = pictures
    # scikit-image's window has a radius of int(3.5 sigma + 0.5): 3 for sigma 0.9.
    full = reference_ssim(output[0], target[0], sigma=0.9)
    loss = jax.jit(partial(dssim, window_size=7, sigma=0.9))
    found = loss(jnp.asarray(output[:1]), jnp.asarray(target[:1]))
    expected = (1 - full[3:-3, 3:-3].mean()) / 2
    assert float(found) == pytest.approx(expected, abs=2e-6)  # as above


@pytest.mark.parametrize("name", LOSSES)
def test_equal_pictures_lose_nothing_others_do(pictures, name: str):
    output, target = map(jnp.asarray, pictures)
    loss = COMPILED[name]
    # SSIM's quotient of equal numbers may be one rounding off 1.
    assert abs(float(loss(target, target))) < 1e-6
    assert float(loss(output, target)) > 1e-3
    # Symmetric but for the order of float32 sums.
    np.testing.assert_allclose(loss(output, target), loss(target, output), rtol=1e-5)
    assert loss(output, target).shape == ()
    assert loss(output, target).dtype == jnp.float32


def test_dssim_lies_in_zero_to_one(rng: np.random.Generator):
    loss = COMPILED["dssim"]
    board = (np.indices((2, 24, 20, 3)).sum(axis=0) % 2).astype(np.float32)
    worst = float(loss(jnp.asarray(board), jnp.asarray(1 - board)))
    # Opposite pictures: SSIM near -1.
    assert 0.95 < worst <= 1 + 1e-6
    black, white = jnp.zeros((2, 24, 20, 3)), jnp.ones((2, 24, 20, 3))
    # (1 - c1 / (1 + c1)) / 2 with c1 = 1e-4: luminance alone differs.
    # The variance of white is 1 - 1 up to float32's 1e-7, beside c2 = 9e-4.
    assert float(loss(black, white)) == pytest.approx(0.49995, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_and_equal_pictures(name: str, level: float):
    flat = jnp.full((2, 24, 20, 3), level, jnp.float32)
    other = jnp.full((2, 24, 20, 3), 0.25, jnp.float32)
    for target in (flat, other):
        _, gradient = GRADIENTS[name](flat, target)
        assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_against_the_gradient_lowers_the_loss(pictures, name: str):
    output, target = map(jnp.asarray, pictures)
    value, gradient = GRADIENTS[name](output, target)
    step = 0.01 * gradient / jnp.abs(gradient).max()
    assert float(COMPILED[name](output - step, target)) < float(value)


def test_dssim_names_the_size_that_is_too_small():
    small = jnp.zeros((1, 12, 10, 3))
    with pytest.raises(ValueError, match="12x10.*window of 11.*window_size"):
        dssim(small, small)
