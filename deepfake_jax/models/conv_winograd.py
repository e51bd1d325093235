"""Convolutions of 3x3 windows at stride 1 by Winograd's minimal filtering.

A form as in `models.conv`. A tile of 2x2 or 4x4 outputs is the inverse transform of the
product, place by place, of the transforms of its 4x4 or 6x6 pixels and of the kernel:
2.25 or 4 times fewer products than the definition, at the cost of the transforms.

Reference:
    Lavin and Gray, Fast algorithms for convolutional neural networks, 2015, 4.
"""

from collections.abc import Sequence
from functools import cache, reduce
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from deepfake_jax.models.conv_direct import take_every, with_gradients
from deepfake_jax.processor import read_processor


class Tiling(NamedTuple):
    """How a convolution is tiled.

    Attributes:
        outputs: outputs a tile has on an axis, 2 or 4.
        dtype: type of the operands of the products for the value and the gradient of
            the pictures; transforms and the kernel's gradient are float32.
    """

    outputs: int
    dtype: DTypeLike


def conv_winograd(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 3x3 at stride 1."""
    del stride
    tiling = choose_tiling(x.shape, x.dtype, bfloat16=multiplies_bfloat16())
    y = winograd(x.astype(jnp.float32), kernel.astype(jnp.float32), tiling)
    return y.astype(x.dtype)


# The transform of the kernel is 16/9 its size for 2x2 outputs and 4 times for 4x4, and
# must pay over the tiles. Milliseconds for value and all gradients, best of 12, in
# float32, two cores of a Xeon at 2.5 GHz; `n h cin -> cout`, n h h / 16 tiles of 4x4:
#
#   layer            tiles  2x2  4x4       layer               tiles  2x2   4x4
#   16 8  128 -> 256    64    9    9       16  8  512 -> 1024     64   156   267
#   32 8  128 -> 256   128   15   15        8 16  256 ->  512    128    89    93
#   32 8  256 -> 128   128   26   16       64  8  512 -> 1024    256  1121   848
#   64 8  256 -> 128   256   46   37       64 16  256 ->  512   1024   958   524
#   16 16  64 -> 128   256   20   13      128  4 1024 -> 2048    128  1128  2155
#
# The last has one 4x4 tile a picture, half of it padding.
def choose_tiling(
    x_shape: Sequence[int], dtype: DTypeLike, *, bfloat16: bool
) -> Tiling:
    """Choose the tiling that is fastest for pictures of this shape.

    Args:
        x_shape: of the pictures, NHWC.
        dtype: their type.
        bfloat16: whether the processor multiplies bfloat16 faster than float32.
    """
    if dtype == jnp.bfloat16 and bfloat16:
        # Products of rounded transforms have 1.8 times the error of products of rounded
        # pixels (relative rms 4.2e-3 and 2.3e-3); for 4x4, whose transforms have
        # weights up to 8, it would be 9.5 times.
        return Tiling(2, jnp.bfloat16)
    n, h, w, _ = x_shape
    tiles = n * -(-h // 4) * -(-w // 4)
    return Tiling(4 if tiles >= 128 and min(h, w) > 4 else 2, jnp.float32)


@cache
def multiplies_bfloat16() -> bool:
    """Tell whether this machine's processor has products of bfloat16.

    Without them XLA turns bfloat16 into float32 before every product, which is slower
    than products of float32 (86 and 124 GFLOP/s on two cores of such a Xeon).
    """
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(read_processor())


class Transforms(NamedTuple):
    """Matrices for one axis of a tile: `B^T`, `G` and `A^T` of the reference."""

    tile: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


# By the number of outputs a tile has on an axis. Relative rms error against XLA's:
# 7e-7 for two, 5e-6 for four, where TF32 rounds operands to 5e-4.
TRANSFORMS = {
    2: Transforms(
        tile=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        kernel=np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
        output=np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
    4: Transforms(
        tile=np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ]
        ),
        kernel=np.array(
            [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
        )
        / 24,
        output=np.array(
            [
                [1, 1, 1, 1, 1, 0],
                [0, 1, -1, 2, -2, 0],
                [0, 1, 1, 4, 4, 0],
                [0, 1, -1, 8, -8, 1],
            ]
        ),
    ),
}


# A column of products is one array with the tile's rows as its first axis, and columns
# are a list: one batched matrix product each, without a transposition. One array a
# product gives the same step time but compiles three times as long (7 s a layer).
@with_gradients
def winograd(x: Array, kernel: Array, tiling: Tiling) -> Array:
    """Convolve float32 pictures in the tiling given."""
    (step, dtype), (_, h, w, _) = tiling, x.shape
    of = TRANSFORMS[step]
    tiles = _round(_cut(of.tile, x, step, 1), dtype)
    kernels = _round(_mix_kernel(of.kernel, kernel), dtype)
    products = [_dot_rows(a, b, 1) for a, b in zip(tiles, kernels, strict=True)]
    return _join(of.output, products, step)[:, :h, :w]


def _winograd_forward(
    x: Array, kernel: Array, tiling: Tiling
) -> tuple[Array, tuple[Array, Array]]:
    return winograd(x, kernel, tiling), (x, kernel)


# The adjoint of each step, in reverse, so that its barriers are there too.
def _winograd_backward(
    tiling: Tiling, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    (x, kernel), (step, dtype) = saved, tiling
    of, (_, h, w, _) = TRANSFORMS[step], x.shape
    tiles, dproducts = _cut(of.tile, x, step, 1), _cut(of.output.T, dy, step, 0)
    kernels = _round(_mix_kernel(of.kernel, kernel), dtype)
    rounded = _round(dproducts, dtype)
    dtiles = [_dot_rows(a, b, 2) for a, b in zip(rounded, kernels, strict=True)]
    dx = _join(of.tile.T, dtiles, step)[:, :h, :w]
    dkernels = [_dot_tiles(a, b) for a, b in zip(tiles, dproducts, strict=True)]
    rows = lax.optimization_barrier(jnp.stack(_mix(of.kernel.T, dkernels), axis=1))
    return dx, jnp.stack(_mix(of.kernel.T, list(rows)))


winograd.defvjp(_winograd_forward, _winograd_backward)


def _round(arrays: list[Array], dtype: DTypeLike) -> list[Array]:
    return [array.astype(dtype) for array in arrays]


# The float32 sums also make XLA use its fast product of bfloat16.
def _dot_rows(a: Array, b: Array, axis_b: int) -> Array:
    axes = (((4,), (axis_b,)), ((0,), (0,)))
    return lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


# With three axes XLA multiplies `a` as it lies; with five it transposes `a` first,
# which took up to half of a layer's backward pass. As it lies, float32 alone can be
# multiplied: bfloat16 would be turned into it.
def _dot_tiles(a: Array, b: Array) -> Array:
    a, b = (t.reshape(t.shape[0], -1, t.shape[4]) for t in (a, b))
    axes = (((1,), (1,)), ((0,), (0,)))
    return lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def _mix(matrix: np.ndarray, arrays: Sequence[Array]) -> list[Array]:
    def mix(weights: np.ndarray) -> Array:
        pairs = zip(weights.tolist(), arrays, strict=True)
        return reduce(jnp.add, [a if w == 1 else a * w for w, a in pairs if w])

    return [mix(weights.astype(float)) for weights in matrix]


def _mix_kernel(matrix: np.ndarray, kernel: Array) -> list[Array]:
    rows = lax.optimization_barrier(jnp.stack(_mix(matrix, list(kernel))))
    return _mix(matrix, [rows[:, j] for j in range(rows.shape[1])])


# The barriers keep XLA from fusing both axes and the padding into one loop that
# computes every row again for each of its six uses (up to twice a layer's time).
def _cut(matrix: np.ndarray, x: Array, step: int, margin: int) -> list[Array]:
    """Mix windows `step` apart, the first `margin` outside: columns, (row n h w c)."""
    size = matrix.shape[1]
    (_, h, w, _) = x.shape
    count_h, count_w = -(-h // step), -(-w // step)
    pad_h = (margin, (count_h - 1) * step + size - margin - h)
    pad_w = (margin, (count_w - 1) * step + size - margin - w)
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), pad_h, pad_w, (0, 0))))
    rows = _mix(matrix, [take_every(x, 1, i, step, count_h) for i in range(size)])
    grid = lax.optimization_barrier(jnp.stack(rows))
    return _mix(matrix, [take_every(grid, 3, j, step, count_w) for j in range(size)])


def _join(matrix: np.ndarray, columns: list[Array], step: int) -> Array:
    """Mix columns back into pixels and add up where tiles overlap."""
    rows = lax.optimization_barrier(_interleave(_mix(matrix, columns), 3, step))
    return lax.optimization_barrier(_interleave(_mix(matrix, list(rows)), 1, step))


def _interleave(parts: list[Array], axis: int, step: int) -> Array:
    if len(parts) > step:
        first, *parts, last = parts
        parts[0] = parts[0] + _shift(last, axis, 1)
        parts[-1] = parts[-1] + _shift(first, axis, -1)
    shape = list(parts[0].shape)
    shape[axis] *= step
    return jnp.stack(parts, axis + 1).reshape(shape)


def _shift(x: Array, axis: int, by: int) -> Array:
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
