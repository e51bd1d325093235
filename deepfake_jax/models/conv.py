"""Convolutions and dense layers in the form that is fastest where they run.

Pictures are NHWC, kernels HWIO, padding is XLA's "SAME". Parameters and their gradients
are float32. `dtype` is the type of the operands and of the result; sums are float32 for
both types, forward and backward. Values and gradients equal those of
`lax.conv_general_dilated` up to rounding, so a checkpoint moves between platforms.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

Form = Callable[..., Array]
Grid = list[list[Array]]


# Public: the two functions and the two modules that use them


def conv(
    x: Float[Array, "n h w cin"],
    kernel: Float[Array, "kh kw cin cout"],
    *,
    stride: int = 1,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "n out_h out_w cout"]:
    """Convolve with "SAME" padding: `out_h` is `h / stride`, rounded up.

    Operands are cast to `dtype`, sums are float32, the result is `dtype`. The gradients
    have the types of `x` and `kernel`.

    Raises:
        ValueError: the kernel's input channels are not those of `x`.
    """
    if kernel.shape[2] != x.shape[3]:
        raise ValueError(
            f"kernel takes {kernel.shape[2]} channels (shape {kernel.shape}, HWIO) but "
            f"x has {x.shape[3]} (shape {x.shape}, NHWC); is one of them transposed?"
        )
    return _conv(x.astype(dtype), kernel.astype(dtype), stride)


def matmul(
    x: Float[Array, "n cin"],
    kernel: Float[Array, "cin cout"],
    *,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "n cout"]:
    """Multiply with operands and result in `dtype` and float32 sums."""
    return _matmul(x.astype(dtype), kernel.astype(dtype))


class Conv(nn.Module):
    """`nn.Conv` with "SAME" padding; parameters `kernel` and `bias` are the same."""

    features: int
    kernel_size: tuple[int, int]
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w cin"]
    ) -> Float[Array, "n out_h out_w cout"]:
        """Convolve and add the bias, in `dtype`."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv(x, kernel, stride=self.stride, dtype=self.dtype)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)


class Dense(nn.Module):
    """`nn.Dense` on a batch of vectors; parameters `kernel` and `bias` are the same."""

    features: int
    dtype: DTypeLike = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "n cin"]) -> Float[Array, "n cout"]:
        """Multiply and add the bias, in `dtype`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = matmul(x, kernel, dtype=self.dtype)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)


# Which form runs where


def choose_form(
    platform: str, x_shape: Sequence[int], kernel_shape: Sequence[int], stride: int
) -> Form:
    """Return the fastest of the forms below: `form(x, kernel, stride=...) -> y`."""
    if platform != "cpu":
        return conv_xla
    _, h, w, _ = x_shape
    window, even = tuple(kernel_shape[:2]), h % 2 == 0 and w % 2 == 0
    if window == (3, 3) and stride == 1:
        return conv_winograd
    if window == (5, 5) and stride == 2 and even:
        return conv_phases
    if window == (5, 5) and stride == 1 and even and kernel_shape[3] <= 4:
        return conv_blocks
    return conv_patches


# Decided when the program is lowered, for the device it will run on. The alternative,
# `jax.default_backend()`, is read while tracing and names the wrong platform inside
# `jax.default_device(cpu)` or `jit` of CPU arrays on a machine with a GPU. Only the
# chosen branch is compiled.
def _on_platform(build: Callable[[str], Callable[..., Any]], *operands: Array) -> Any:
    return lax.platform_dependent(*operands, cpu=build("cpu"), default=build("other"))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, kernel: Array, stride: int) -> Array:
    def build(platform: str) -> Form:
        form = choose_form(platform, x.shape, kernel.shape, stride)
        return partial(form, stride=stride)

    return _on_platform(build, x, kernel)


def _conv_forward(
    x: Array, kernel: Array, stride: int
) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, stride), (x, kernel)


# Saves `x` and `kernel` alone and rebuilds patches or tiles, which are 25, 9 or 2.25
# times the size of `x`.
def _conv_backward(
    stride: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    def build(platform: str) -> Callable[..., tuple[Array, Array]]:
        form = choose_form(platform, saved[0].shape, saved[1].shape, stride)

        def gradients(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
            return jax.vjp(partial(form, stride=stride), x, kernel)[1](dy)

        return gradients

    return _on_platform(build, *saved, dy)


_conv.defvjp(_conv_forward, _conv_backward)


# Form: XLA's own


def conv_xla(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve by `lax.conv_general_dilated`: the reference, and cuDNN on a GPU."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
    )


# Form: patches


def conv_patches(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve by one matrix product with the windows laid side by side (im2col)."""
    n, h, w, _ = x.shape
    kh, kw, cin, cout = kernel.shape
    out_h, out_w = -(-h // stride), -(-w // stride)
    pads = (_same_pads(h, kh, stride), _same_pads(w, kw, stride))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows = [_every(x, 1, i, stride, out_h) for i in range(kh)]
    taps = [_every(row, 2, j, stride, out_w) for row in rows for j in range(kw)]
    patches = jnp.concatenate(taps, axis=3).reshape(-1, kh * kw * cin)
    y = _matmul(patches, kernel.reshape(kh * kw * cin, cout))
    return y.reshape(n, out_h, out_w, cout)


def _same_pads(size: int, window: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _every(x: Array, axis: int, start: int, step: int, count: int) -> Array:
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)


def _dot(a: Array, b: Array, axes_a: Sequence[int], axes_b: Sequence[int]) -> Array:
    contract = ((axes_a, axes_b), ((), ()))
    return lax.dot_general(a, b, contract, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _matmul(x: Array, kernel: Array) -> Array:
    return _dot(x, kernel, (1,), (0,)).astype(x.dtype)


def _matmul_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _matmul(x, kernel), (x, kernel)


# The rule that JAX derives would multiply a float32 `dy` with bfloat16 operands.
def _matmul_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = _dot(dy, kernel, (1,), (1,)).astype(x.dtype)
    return dx, _dot(x, dy, (0,), (0,)).astype(kernel.dtype)


_matmul.defvjp(_matmul_forward, _matmul_backward)


# Form: Winograd's minimal filtering, F(4x4, 3x3)


def conv_winograd(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve 3x3 at stride 1 with 36 products for each 4x4 outputs instead of 144.

    Sums are float32 and so are the products: in bfloat16 the transforms would lose
    about four bits. The result has the type of `x`.

    Reference:
        Lavin and Gray, Fast algorithms for convolutional neural networks, 2015, 4.
    """
    del stride
    return _winograd(x.astype(jnp.float32), kernel.astype(jnp.float32)).astype(x.dtype)


def conv_phases(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve 5x5 at stride 2 as 3x3 over 2x2 blocks: height and width are even."""
    return conv_winograd(_blocks(x), _block_kernel(kernel, 1, 1), stride=stride)


def conv_blocks(x: Array, kernel: Array, *, stride: int) -> Array:
    """Convolve 5x5 at stride 1 as 3x3 from 2x2 blocks to 2x2 blocks: even sizes."""
    kernels = [_block_kernel(kernel, i, j) for i in (0, 1) for j in (0, 1)]
    y = conv_winograd(_blocks(x), jnp.concatenate(kernels, axis=3), stride=stride)
    n, h, w, _ = y.shape
    y = y.reshape(n, h, w, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, 2 * h, 2 * w, -1)


def _blocks(x: Array) -> Array:
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, 4 * c)


# A block reaches from one pixel pair before its own to one after: six taps an axis, of
# which a 5-tap kernel fills all but the first (shift 1) or the last (shift 0).
def _block_kernel(kernel: Array, shift_h: int, shift_w: int) -> Array:
    _, _, cin, cout = kernel.shape
    pads = ((shift_h, 1 - shift_h), (shift_w, 1 - shift_w), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, pads).reshape(3, 2, 3, 2, cin, cout)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * cin, cout)


STEP = 4  # outputs of a tile, an axis; a tile reads STEP + 2 inputs
FROM_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
FROM_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
TO_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


# Grids are lists of six rows of six arrays, one for each product of a tile. As lists the
# 36 matrix products need no transposition; stacked into one batched product they do.
@jax.custom_vjp
def _winograd(x: Array, kernel: Array) -> Array:
    _, h, w, _ = x.shape
    tiles, kernels = _cut(FROM_INPUT, x, 1), _mix_both(FROM_KERNEL, kernel)
    return _join(TO_OUTPUT, _dots(tiles, kernels, (3,), (0,)), h, w)


def _winograd_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _winograd(x, kernel), (x, kernel)


# The adjoint of each step, in reverse. The transposes that JAX derives for the strided
# slices and the stacks take about twice the time.
def _winograd_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    _, h, w, _ = x.shape
    tiles, kernels = _cut(FROM_INPUT, x, 1), _mix_both(FROM_KERNEL, kernel)
    dproducts = _cut(TO_OUTPUT.T, dy, 0)
    dx = _join(FROM_INPUT.T, _dots(dproducts, kernels, (3,), (1,)), h, w)
    dkernels = _dots(tiles, dproducts, (0, 1, 2), (0, 1, 2))
    dkernel = _mix_both(FROM_KERNEL.T, dkernels)
    return dx, jnp.stack([jnp.stack(row) for row in dkernel])


_winograd.defvjp(_winograd_forward, _winograd_backward)


def _mix(matrix: np.ndarray, arrays: Sequence[Array]) -> list[Array]:
    def mix(weights: np.ndarray) -> Array:
        terms = [
            array if weight == 1 else array * float(weight)
            for weight, array in zip(weights, arrays, strict=True)
            if weight != 0
        ]
        return reduce(jnp.add, terms)

    return [mix(weights) for weights in matrix]


def _mix_both(matrix: np.ndarray, grid: Array | Grid) -> Grid:
    rows = [_mix(matrix, list(row)) for row in grid]
    columns = [_mix(matrix, column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _dots(a: Grid, b: Grid, axes_a: Sequence[int], axes_b: Sequence[int]) -> Grid:
    return [
        [_dot(x, y, axes_a, axes_b) for x, y in zip(row_a, row_b, strict=True)]
        for row_a, row_b in zip(a, b, strict=True)
    ]


# The barriers keep XLA from fusing both axes into one loop that computes every row mix
# again for each of its six uses (measured: 1.3 to 2 times the time of the layer).
def _cut(matrix: np.ndarray, x: Array, margin: int) -> Grid:
    """Mix the windows at stride STEP that start `margin` before the picture."""
    _, h, w, _ = x.shape
    size = matrix.shape[1]
    count_h, count_w = -(-h // STEP), -(-w // STEP)
    pad_h = (margin, (count_h - 1) * STEP + size - margin - h)
    pad_w = (margin, (count_w - 1) * STEP + size - margin - w)
    x = jnp.pad(x, ((0, 0), pad_h, pad_w, (0, 0)))
    rows = _mix(matrix, [_every(x, 1, i, STEP, count_h) for i in range(size)])
    rows = lax.optimization_barrier(rows)
    return [
        _mix(matrix, [_every(row, 2, j, STEP, count_w) for j in range(size)])
        for row in rows
    ]


def _join(matrix: np.ndarray, grid: Grid, h: int, w: int) -> Array:
    """Mix the grid back into tiles and add up where tiles overlap."""
    rows = [_interleave(_mix(matrix, row), 2) for row in grid]
    rows = lax.optimization_barrier(rows)
    return _interleave(_mix(matrix, rows), 1)[:, :h, :w]


def _interleave(parts: list[Array], axis: int) -> Array:
    if len(parts) > STEP:
        first, *parts, last = parts
        parts[0] = parts[0] + _shift(last, axis, 1)
        parts[-1] = parts[-1] + _shift(first, axis, -1)
    shape = list(parts[0].shape)
    shape[axis] *= STEP
    return jnp.stack(parts, axis + 1).reshape(shape)


def _shift(x: Array, axis: int, by: int) -> Array:
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
