"""Losses between pictures: float32 in [0, 1], NHWC; pure functions, a scalar each.

All are means over batch, pixels and channels, 0 for equal pictures. Weights, one number
a pixel, multiply what each pixel adds to the mean: nothing is divided by their sum, so
weights of parts of a face can be added up.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32, Float64

from deepfake_jax.models.subpixels import shrink

Weights = Float32[Array, "n h w"]


def mae(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    *,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Mean absolute error, the original's loss."""
    return _mean(jnp.abs(output - target), weights)


def mse(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    *,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Mean squared error."""
    return _mean(jnp.square(output - target), weights)


def dssim(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    *,
    window_size: int = 11,
    sigma: float = 1.5,
    step: int = 1,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Structural dissimilarity, (1 - SSIM) / 2, in [0, 1] without weights.

    Args:
        output: the network's pictures.
        target: the true ones.
        window_size: side of the Gaussian window in pixels; only places where it fits
            wholly count.
        sigma: its standard deviation in pixels.
        step: pixels from one place of the window to the next, in both directions.
        weights: of pixels; a window has the mean of its pixels', weighted as they are.

    Raises:
        ValueError: the pictures are smaller than the window.

    Reference:
        Wang et al. 2004, "Image quality assessment: from error visibility to
        structural similarity", equation 13, K1 = 0.01, K2 = 0.03, dynamic range 1.
    """
    if output.shape[1] < window_size or output.shape[2] < window_size:
        raise ValueError(
            f"pictures of {output.shape[1]}x{output.shape[2]} are smaller than the "
            f"window of {window_size}; use a smaller window_size"
        )
    c1, c2 = 0.01**2, 0.03**2
    offsets = jnp.arange(window_size, dtype=jnp.float32) - (window_size - 1) / 2
    window = jnp.exp(-0.5 * jnp.square(offsets / sigma))
    window = window / jnp.sum(window)

    def blur(pictures: Float32[Array, "n h w c"]) -> Float32[Array, "n h2 w2 c"]:
        # Two banded matmuls, not a depthwise convolution: value and gradient for 32
        # faces of 64 px take 44 ms against 2,505 ms on two CPU cores (jax 0.10.2).
        rows = _band(window, pictures.shape[1])[::step]
        columns = _band(window, pictures.shape[2])[::step]
        pictures = jnp.einsum("ph,nhwc->npwc", rows, pictures)
        return jnp.einsum("qw,npwc->npqc", columns, pictures)

    mean_x, mean_y = blur(output), blur(target)
    xx = blur(output * output) - mean_x * mean_x
    yy = blur(target * target) - mean_y * mean_y
    xy = blur(output * target) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * xy + c2)
    denominator = (mean_x * mean_x + mean_y * mean_y + c1) * (xx + yy + c2)
    if weights is not None:
        weights = blur(weights[..., None])[..., 0]
    return _mean((1 - numerator / denominator) / 2, weights)


def multiscale_dssim(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    *,
    scales: int = 3,
    step: int = 1,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Mean of `dssim` at the whole size, half of it, a quarter, and so on.

    A window of 11 pixels sees structure of a few pixels alone, and a network of 128 px
    has coarser faults too.

    Args:
        output: the network's pictures.
        target: the true ones.
        scales: how many sizes.
        step: see `dssim`, at the whole size; half as many pixels at half of the size.
        weights: of pixels.

    Raises:
        ValueError: the smallest pictures are smaller than the window.
    """
    total = jnp.zeros((), jnp.float32)
    for scale in range(scales):
        every = max(1, step >> scale)
        total = total + dssim(output, target, step=every, weights=weights)
        if scale + 1 < scales:
            output, target = _halve(output), _halve(target)
            weights = None if weights is None else _halve(weights[..., None])[..., 0]
    return total / scales


def laplacian(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    *,
    bands: int = 2,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Sum of mean absolute errors of the finest bands of a Laplacian pyramid.

    Fine detail is a small share of a picture's error, and a network that leaves it out
    loses little. Here it counts by itself, and only in its right place: energy alone
    can be had by any pattern.

    Args:
        output: the network's pictures, square, of a side that halves `bands` times.
        target: the true ones.
        bands: how many, from the finest on.
        weights: of pixels.

    Reference:
        Burt and Adelson 1983, "The Laplacian pyramid as a compact image code", with
        a = 0.375; Bojanowski et al. 2018, "Optimizing the latent space of generative
        networks", section 3.2, of the loss.
    """
    # A pyramid is linear: that of the difference is the difference of the pyramids.
    apart = output - target
    total = jnp.zeros((), jnp.float32)
    for _ in range(bands):
        down, up = (jnp.asarray(m, jnp.float32) for m in _pyramid(apart.shape[1]))
        smaller = _separably(down, apart)
        total = total + _mean(jnp.abs(apart - _separably(up, smaller)), weights)
        apart = smaller
        weights = None if weights is None else _halve(weights[..., None])[..., 0]
    return total


def mask_cross_entropy(
    logits: Float32[Array, "n h w"], mask: Float32[Array, "n h w"]
) -> Float32[Array, ""]:
    """Mean cross entropy of a drawn mask's logits and the true mask in [0, 1]."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, mask))


def soften(mask: Weights) -> Weights:
    """Masks with a border that fades outwards, and all that they had inside.

    Reference:
        DeepFaceLab: a Gaussian of a thirty-second of the side, of which a half is
        enough.
    """
    blur = jnp.asarray(_gaussian(mask.shape[1]), jnp.float32)
    blurred = _separably(blur, mask[..., None])[..., 0]
    return jnp.minimum(2 * blurred, 1)


def _mean(errors: Float32[Array, "n h w c"], weights: Weights | None) -> Array:
    if weights is not None:
        errors = errors * weights[..., None]
    return jnp.mean(errors)


def _halve(pictures: Float32[Array, "n h w c"]) -> Float32[Array, "n h2 w2 c"]:
    return shrink(pictures, pictures.shape[1] // 2)


def _separably(
    matrix: Float32[Array, "p h"], pictures: Float32[Array, "n h h c"]
) -> Float32[Array, "n p p c"]:
    """A matrix applied to the columns and to the rows."""
    pictures = jnp.einsum("ph,nhwc->npwc", matrix, pictures)
    return jnp.einsum("qw,npwc->npqc", matrix, pictures)


@cache
def _gaussian(size: int) -> Float64[np.ndarray, "size size"]:
    """A blur of a column; what is outside counts as what lies at the edge."""
    places = np.arange(size)
    weights = np.exp(-0.5 * np.square((places[:, None] - places) * (32 / size)))
    return weights / weights.sum(1, keepdims=True)


@cache
def _pyramid(
    size: int,
) -> tuple[Float64[np.ndarray, "half size"], Float64[np.ndarray, "size half"]]:
    """How a column goes to half of its size and back; both keep a flat one as it is."""
    taps, half = np.array([1, 4, 6, 4, 1]) / 16, size // 2
    down, up = np.zeros((half, size)), np.zeros((size, half))
    for place in range(half):
        for tap, weight in enumerate(taps, -2):
            at = abs(2 * place + tap)  # mirrored at the edge's middle
            down[place, at if at < size else 2 * size - 2 - at] += weight
            if 0 <= 2 * place + tap < size:
                up[2 * place + tap, place] += 2 * weight
    return down, up / up.sum(1, keepdims=True)


def _band(window: Float32[Array, " k"], size: int) -> Float32[Array, "valid size"]:
    """The matrix whose product with a column is its valid correlation with `window`."""
    padded = jnp.pad(window, (0, size - window.shape[0]))
    valid = size - window.shape[0] + 1
    return jax.vmap(lambda shift: jnp.roll(padded, shift))(jnp.arange(valid))
