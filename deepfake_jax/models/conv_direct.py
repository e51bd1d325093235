"""Convolutions as XLA has them, and as one matrix product over windows (im2col).

Forms as in `models.conv`: x NHWC and kernel HWIO of one type, "SAME" padding, sums in
float32, result of x's type.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# For functions of x, kernel and one static argument. Any: the decorator's type does not
# keep what the function returns.
with_gradients: Any = partial(jax.custom_vjp, nondiff_argnums=(2,))


def conv_xla(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve by `lax.conv_general_dilated`: the reference, and cuDNN on a GPU."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
    )


@with_gradients
def conv_patches(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve by one matrix product with the windows laid side by side."""
    n, h, w, _ = x.shape
    kh, kw, _, cout = kernel.shape
    patches = cut_patches(x, (kh, kw), stride)
    y = dot(patches, kernel.reshape(-1, cout), (1,), (0,)).astype(x.dtype)
    return y.reshape(n, -(-h // stride), -(-w // stride), cout)


def _conv_patches_forward(
    x: Array, kernel: Array, stride: int
) -> tuple[Array, tuple[Array, Array]]:
    return conv_patches(x, kernel, stride), (x, kernel)


# By hand so that each pixel's windows are summed in float32.
def _conv_patches_backward(
    stride: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    kh, kw, _, cout = kernel.shape
    dy = dy.reshape(-1, cout)
    dkernel = dot(cut_patches(x, (kh, kw), stride), dy, (0,), (0,))
    dpatches = dot(dy, kernel.reshape(-1, cout), (1,), (1,))
    pixels = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    cut = partial(cut_patches, window=(kh, kw), stride=stride)
    (dx,) = jax.linear_transpose(cut, pixels)(dpatches)
    return dx.astype(x.dtype), dkernel.reshape(kernel.shape).astype(kernel.dtype)


conv_patches.defvjp(_conv_patches_forward, _conv_patches_backward)


def cut_patches(
    x: Float[Array, "n h w c"], window: tuple[int, int], stride: int
) -> Float[Array, "places taps"]:
    """Lay each window's pixels side by side: a row per place, (kh kw c) long."""
    _, h, w, cin = x.shape
    kh, kw = window
    out_h, out_w = -(-h // stride), -(-w // stride)
    pads = (same_pads(h, kh, stride), same_pads(w, kw, stride))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows = [take_every(x, 1, i, stride, out_h) for i in range(kh)]
    taps = [take_every(row, 2, j, stride, out_w) for row in rows for j in range(kw)]
    return jnp.concatenate(taps, axis=3).reshape(-1, kh * kw * cin)


def same_pads(size: int, window: int, stride: int) -> tuple[int, int]:
    """How much XLA's "SAME" padding adds before an axis and after it."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def take_every(x: Array, axis: int, start: int, step: int, count: int) -> Array:
    """Take `count` slices of an axis, `step` apart, from `start` on."""
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)


def dot(a: Array, b: Array, axes_a: Sequence[int], axes_b: Sequence[int]) -> Array:
    """Contract axes with float32 sums; a float32 result."""
    contract = ((axes_a, axes_b), ((), ()))
    return lax.dot_general(a, b, contract, preferred_element_type=jnp.float32)
