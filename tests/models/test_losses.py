"""Losses against their definitions and scikit-image; gradients that stay finite."""

from functools import partial
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepfake_jax.models.losses import (
    dssim,
    laplacian,
    mae,
    mask_cross_entropy,
    mse,
    multiscale_dssim,
)

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


# Losses of square pictures, and weights

WEIGHTED = {
    "mae": mae,
    "dssim": dssim,
    "multiscale_dssim": multiscale_dssim,
    "laplacian": laplacian,
}
SIDE = 64  # a quarter of it is 16, and the window of 11 fits


@pytest.fixture
def squares(rng: np.random.Generator) -> tuple[jax.Array, jax.Array]:
    target = rng.random((2, SIDE, SIDE, 3))
    noisy = np.clip(target + rng.normal(0, 0.2, target.shape), 0, 1)
    return jnp.asarray(noisy, jnp.float32), jnp.asarray(target, jnp.float32)


def test_multiscale_dssim_is_the_mean_over_sizes(squares):
    sizes, pair = [], [np.asarray(part) for part in squares]
    for _ in range(3):
        values = [reference_ssim(*both, sigma=1.5) for both in zip(*pair, strict=True)]
        sizes.append((1 - np.mean([v[5:-5, 5:-5] for v in values])) / 2)
        half = [(2, part.shape[1] // 2, 2, part.shape[2] // 2, 2, 3) for part in pair]
        pair = [
            part.reshape(shape).mean((2, 4))
            for part, shape in zip(pair, half, strict=True)
        ]
    found = float(jax.jit(multiscale_dssim)(*squares))
    assert found == pytest.approx(np.mean(sizes), abs=2e-6)
    assert max(sizes) - min(sizes) > 0.01


def test_laplacian_agrees_with_opencv(rng: np.random.Generator):
    # Within a frame of ones as neither the border nor its repair reaches far.
    difference = np.zeros((SIDE, SIDE, 3))
    difference[12:-12, 12:-12] = rng.normal(0, 0.2, (SIDE - 24, SIDE - 24, 3))
    bands, rest = [], difference
    for _ in range(2):
        smaller = cv2.pyrDown(rest)
        bands.append(rest - cv2.pyrUp(smaller))
        rest = smaller
    base = rng.random((SIDE, SIDE, 3))
    pair = [jnp.asarray(part[None], jnp.float32) for part in (base + difference, base)]
    for count in (1, 2):
        found = float(jax.jit(partial(laplacian, bands=count))(*pair))
        expected = sum(np.abs(band).mean() for band in bands[:count])
        # Of float32 pictures.
        assert found == pytest.approx(expected, rel=1e-4)


def test_laplacian_does_not_see_what_is_flat_or_slow():
    slope = np.broadcast_to(np.linspace(0, 1, SIDE)[:, None, None], (SIDE, SIDE, 3))
    flat, slow = (
        jnp.full((1, SIDE, SIDE, 3), 0.3),
        jnp.asarray(slope[None], jnp.float32),
    )
    loss = jax.jit(laplacian)
    assert float(loss(flat + 0.4, flat)) < 1e-6
    # Only the edges: a mirrored slope has a corner.
    assert float(loss(slow, flat)) < 0.03 * float(mae(slow, flat))
    stripes = jnp.asarray(
        (np.indices((1, SIDE, SIDE, 3)).sum(0) % 2) * 0.4, jnp.float32
    )
    assert float(loss(flat + stripes - 0.2, flat)) > 0.1


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_one_change_nothing_and_of_two_double(squares, name: str):
    loss = jax.jit(WEIGHTED[name])
    plain = float(loss(*squares))
    ones = jnp.ones((2, SIDE, SIDE), jnp.float32)
    assert float(loss(*squares, weights=ones)) == pytest.approx(plain, rel=1e-5)
    assert float(loss(*squares, weights=2 * ones)) == pytest.approx(2 * plain, rel=1e-5)


@pytest.mark.parametrize("name", WEIGHTED)
def test_what_has_no_weight_does_not_matter(squares, name: str):
    output, target = squares
    weights = jnp.zeros((2, SIDE, SIDE), jnp.float32).at[:, :, : SIDE // 4].set(1)
    loss = jax.jit(WEIGHTED[name])
    found = float(loss(output, target, weights=weights))
    # Windows reach far beyond their place at a quarter of the size.
    far = output.at[:, :, 7 * SIDE // 8 :].set(0.5)
    assert float(loss(far, target, weights=weights)) == pytest.approx(found, rel=1e-5)
    near = output.at[:, :, : SIDE // 4].set(0.5)
    assert abs(float(loss(near, target, weights=weights)) - found) > 0.01 * found


@pytest.mark.parametrize("name", WEIGHTED)
def test_equal_squares_lose_nothing_and_gradients_are_finite(squares, name: str):
    target = squares[1]
    gradient = jax.jit(jax.value_and_grad(WEIGHTED[name]))
    value, _ = gradient(target, target)
    # SSIM's quotient of equal numbers may be one rounding off 1.
    assert abs(float(value)) < (1e-6 if "dssim" in name else 1e-30)
    for level in (0.0, 0.5, 1.0):
        flat = jnp.full((2, SIDE, SIDE, 3), level, jnp.float32)
        assert np.all(np.isfinite(gradient(flat, flat)[1]))
        assert np.all(np.isfinite(gradient(flat, target)[1]))


def test_cross_entropy_of_a_mask(rng: np.random.Generator):
    logits = rng.normal(0, 2, (2, 6, 5))
    mask = rng.random((2, 6, 5))
    drawn = 1 / (1 + np.exp(-logits))
    expected = -(mask * np.log(drawn) + (1 - mask) * np.log(1 - drawn)).mean()
    found = mask_cross_entropy(*(jnp.asarray(x, jnp.float32) for x in (logits, mask)))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    # Sure and right, sure and wrong: finite, and the way back is open.
    sure = jnp.full((1, 2, 2), 60.0)
    loss = jax.value_and_grad(mask_cross_entropy)
    assert float(loss(sure, jnp.ones((1, 2, 2)))[0]) < 1e-6
    value, gradient = loss(sure, jnp.zeros((1, 2, 2)))
    assert float(value) == pytest.approx(60) and np.all(np.asarray(gradient) == 0.25)
