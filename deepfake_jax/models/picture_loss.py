"""The losses between drawn and true pictures at once, by our own kernel on a CPU.

The same sum as by the functions of `models.losses`, with its gradient. XLA makes of it
some hundred passes over memory, a quarter of a step; the kernel keeps a channel of a
picture in the caches. `kernels/library.py` says where it can be had.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32

from deepfake_jax.kernels.library import find_kernels
from deepfake_jax.models import losses
from deepfake_jax.models.losses import Weights

_WINDOW = 11  # pixels; of `dssim`
_BANDS = 2  # of `laplacian`


class PictureLoss(NamedTuple):
    """Which losses there are, and what they weigh.

    Attributes:
        squares: pixels by their squares (`mse`), or by their absolute values (`mae`).
        dssim: weight of `multiscale_dssim`; 0 leaves it out.
        scales: of it.
        step: of it.
        laplacian: weight of `laplacian`; 0 leaves it out.
    """

    squares: bool = False
    dssim: float = 0.0
    scales: int = 3
    step: int = 1
    laplacian: float = 0.0


def picture_loss(
    output: Float32[Array, "n h w c"],
    target: Float32[Array, "n h w c"],
    loss: PictureLoss,
    *,
    weights: Weights | None = None,
    pixel_weights: Weights | None = None,
) -> Float32[Array, ""]:
    """The weighted sum of losses; it has a gradient by `output` alone.

    Args:
        output: the network's pictures.
        target: the true ones.
        loss: which losses, and what they weigh.
        weights: of pixels, in all losses but that of pixels; None weighs all alike.
        pixel_weights: of pixels in that; None weighs all alike.

    Raises:
        ValueError: the smallest pictures are smaller than the window of `dssim`.
    """
    size = output.shape[1]
    kernels = None
    if _fits(loss, output.shape) and jax.default_backend() == "cpu":
        kernels = find_kernels(output.dtype)
    target, weights, pixel_weights = lax.stop_gradient((target, weights, pixel_weights))
    if kernels is None or not output.size:
        return _define(output, target, weights, pixel_weights, loss)
    ones = jnp.ones((len(output), size, size), jnp.float32)
    weights = ones if weights is None else weights
    pixel_weights = ones if pixel_weights is None else pixel_weights
    return _at_once(output, target, weights, pixel_weights, (loss, kernels.losses))


def _fits(loss: PictureLoss, shape: tuple[int, ...]) -> bool:
    """Whether the kernel can do it, and there is enough to do."""
    _, height, width, _ = shape
    halved = max(loss.scales - 1 if loss.dssim else 0, _BANDS if loss.laplacian else 0)
    return (
        height == width
        and height % (1 << halved) == 0
        and (not loss.dssim or height >> (loss.scales - 1) >= _WINDOW)
        and bool(loss.dssim or loss.laplacian)
    )


def _define(
    output: Array,
    target: Array,
    weights: Array | None,
    pixel_weights: Array | None,
    loss: PictureLoss,
) -> Array:
    """The sum by the functions that define it."""
    pixels = losses.mse if loss.squares else losses.mae
    total = pixels(output, target, weights=pixel_weights)
    if loss.dssim:
        scales, step = loss.scales, loss.step
        total = total + loss.dssim * losses.multiscale_dssim(
            output, target, scales=scales, step=step, weights=weights
        )
    if loss.laplacian:
        detail = losses.laplacian(output, target, bands=_BANDS, weights=weights)
        total = total + loss.laplacian * detail
    return total


def _at_once_forward(
    output: Array,
    target: Array,
    weights: Array,
    pixel_weights: Array,
    how: tuple[PictureLoss, str],
) -> tuple[Array, Array]:
    """The sum, and its gradient by `output`."""
    loss, kernel = how
    arrays = output, target, weights, pixel_weights

    def compute(*arrays: Array) -> tuple[Array, Array]:
        answers = [
            jax.ShapeDtypeStruct((len(output),), jnp.float32),
            jax.ShapeDtypeStruct(output.shape, jnp.float32),
        ]
        call = jax.ffi.ffi_call(kernel, answers, vmap_method="sequential")
        found, gradient = call(
            *arrays,
            squares=np.bool_(loss.squares),
            structure=np.float32(loss.dssim),
            scales=np.int64(loss.scales),
            step=np.int64(loss.step),
            detail=np.float32(loss.laplacian),
            bands=np.int64(_BANDS),
        )
        return found.sum(), gradient

    def define(output: Array, *fixed: Array) -> tuple[Array, Array]:
        sum_up: Any = jax.value_and_grad(_define)
        return sum_up(output, *fixed, loss)

    return lax.platform_dependent(*arrays, cpu=compute, default=define)


# The forward pass has the gradient already: it costs less than to keep what it needs.
def _at_once_value(*arguments: Any) -> Array:
    return _at_once_forward(*arguments)[0]


def _at_once_backward(
    how: tuple[PictureLoss, str], gradient: Array, dloss: Array
) -> tuple[Array | None, ...]:
    del how
    return dloss * gradient, None, None, None


_at_once: Any = jax.custom_vjp(_at_once_value, nondiff_argnums=(4,))
_at_once.defvjp(_at_once_forward, _at_once_backward)
