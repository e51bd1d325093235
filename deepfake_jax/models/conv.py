"""Convolutions and dense layers in the form that is fastest where they run.

Pictures are NHWC, kernels HWIO, padding is XLA's "SAME". Parameters and their gradients
are float32. `dtype` is the type of the operands and of the result; sums are float32 for
both types, forward and backward. Values and gradients equal those of
`lax.conv_general_dilated` up to rounding, so a checkpoint moves between platforms.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Form = Callable[..., Array]
# For functions of x, kernel and one static argument. Any: the decorator's type does not
# keep what the function returns.
_with_gradients: Any = partial(jax.custom_vjp, nondiff_argnums=(2,))


# Public: the two functions and the two modules that use them


def conv(
    x: Float[Array, "n h w cin"],
    kernel: Float[Array, "kh kw kernel_cin cout"],
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


# Milliseconds of processor time, best of five, for value / gradient of x / gradient of
# kernel: float32, jax 0.10.2, two cores of a Xeon at 2.5 GHz (AVX-512, no bfloat16, 85
# GFLOP/s a core) shared with another process, so 20 to 30 % noise. Layers: `n h cin ->
# cout`, 5x5 at stride 2 or 3x3 (the last two: 5x5 at stride 1). `-`: not measured.
#
#   layer                 XLA             patches           winograd       blocks
#   64 64    3 ->   32    46   -  20      37    -   51      19   -  26     11  -  -
#   64 32   32 ->   64    26   -  71     128   72  160      37  27  52
#   64 16   64 ->  128    33   -  34      66   44   96      22  16  22
#   64  8  128 ->  256    26 400  22      31   32   27      26  30  24
#   64  4  256 ->  512    29  65  34      44   40   30      30  23  18
#   32  8  128 ->  256    14  14  30      17   14   19       9   9  13
#   32 16   64 ->  128    22  21  45      33   16   41      15  14  15
#   32 32   32 ->   64    13  20  45      76   37   91      21  21  43
#  128  8  512 -> 1024     -   -   -    1033 1112  908     810 755 633
#  128  4 1024 -> 2048     -   -   -    1375 1225 1360     741 848 895
#   16  4 1024 -> 2048   309 566   -     162  172  172     472 527 574
#   64  8  512 -> 1024     -   -   -     732  569  652     324 330 328
#   32 64   16 ->    3    55  28  23                                       13  8 29
#   16 64   64 ->    3    21  11 121                                       28 15 33
#
# The four rows of the full network: best of one or two. XLA's value of `64 32 32` and
# `32 32 32` would save about 3 % of the step: not worth two forms within a layer.
def choose_form(
    platform: str, x_shape: Sequence[int], kernel_shape: Sequence[int], stride: int
) -> Form:
    """Return the fastest of the forms below: `form(x, kernel, stride) -> y`."""
    if platform != "cpu":
        return conv_xla
    n, h, w, cin = x_shape
    kh, kw, _, cout = kernel_shape
    layer, even = (kh, kw, stride), h % 2 == 0 and w % 2 == 0
    if even and layer == (5, 5, 1) and cout <= 4:
        return conv_blocks
    if even and layer == (5, 5, 2) and cin <= 4:
        return conv_blocks
    # With fewer outputs the transform of the kernel costs more than it saves.
    if n * h * w < 1024 * stride * stride:
        return conv_patches
    if layer == (3, 3, 1):
        return conv_winograd
    if layer == (5, 5, 2) and even:
        return conv_phases
    return conv_patches


# Decided when the program is lowered, for the device it will run on. The alternative,
# `jax.default_backend()`, is read while tracing and names the wrong platform inside
# `jax.default_device(cpu)` or `jit` of CPU arrays on a machine with a GPU. Only the
# chosen branch is compiled.
def _on_platform(build: Callable[[str], Callable[..., Any]], *operands: Array) -> Any:
    return lax.platform_dependent(*operands, cpu=build("cpu"), default=build("other"))


@_with_gradients
def _conv(x: Array, kernel: Array, stride: int) -> Array:
    def build(platform: str) -> Form:
        form = choose_form(platform, x.shape, kernel.shape, stride)
        return lambda x, kernel: form(x, kernel, stride)

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
            return jax.vjp(lambda x, kernel: form(x, kernel, stride), x, kernel)[1](dy)

        return gradients

    return _on_platform(build, *saved, dy)


_conv.defvjp(_conv_forward, _conv_backward)


# Form: XLA's own


def conv_xla(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve by `lax.conv_general_dilated`: the reference, and cuDNN on a GPU."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
    )


# Form: patches


@_with_gradients
def conv_patches(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve by one matrix product with the windows laid side by side (im2col)."""
    n, h, w, _ = x.shape
    kh, kw, _, cout = kernel.shape
    patches = _patches(x, (kh, kw), stride)
    y = _dot(patches, kernel.reshape(-1, cout), (1,), (0,)).astype(x.dtype)
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
    dkernel = _dot(_patches(x, (kh, kw), stride), dy, (0,), (0,))
    dpatches = _dot(dy, kernel.reshape(-1, cout), (1,), (1,))
    pixels = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    cut = partial(_patches, window=(kh, kw), stride=stride)
    (dx,) = jax.linear_transpose(cut, pixels)(dpatches)
    return dx.astype(x.dtype), dkernel.reshape(kernel.shape).astype(kernel.dtype)


conv_patches.defvjp(_conv_patches_forward, _conv_patches_backward)


def _patches(x: Array, window: tuple[int, int], stride: int) -> Array:
    _, h, w, cin = x.shape
    kh, kw = window
    out_h, out_w = -(-h // stride), -(-w // stride)
    pads = (_same_pads(h, kh, stride), _same_pads(w, kw, stride))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows = [_every(x, 1, i, stride, out_h) for i in range(kh)]
    taps = [_every(row, 2, j, stride, out_w) for row in rows for j in range(kw)]
    return jnp.concatenate(taps, axis=3).reshape(-1, kh * kw * cin)


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


# Forms over 2x2 blocks of pixels: a 5x5 kernel is a 3x3 kernel of blocks


def conv_blocks(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 5x5 from blocks to blocks, or to pixels at stride 2: even sizes.

    For few channels on one side: a patch is copied in longer runs and shared by more
    outputs, and the blocks undo the pixel shuffle that usually comes before.
    """
    dtype = x.dtype
    # In bfloat16 XLA's convolution on the CPU does not sum in float32 (jax 0.10.2).
    x, kernel = _to_blocks(x).astype(jnp.float32), kernel.astype(jnp.float32)
    if stride == 2:
        return _conv_narrow(x, _block_kernel(kernel, 1, 1)).astype(dtype)
    kernels = [_block_kernel(kernel, i, j) for i in (0, 1) for j in (0, 1)]
    y = _conv_narrow(x, jnp.concatenate(kernels, axis=3)).astype(dtype)
    n, h, w, c = y.shape
    y = y.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, 2 * h, 2 * w, c // 4)


def conv_phases(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 5x5 at stride 2 as 3x3 at stride 1 over blocks: even sizes."""
    del stride
    return conv_winograd(_to_blocks(x), _block_kernel(kernel, 1, 1), 1)


def _to_blocks(x: Array) -> Array:
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, 4 * c)


# Three blocks hold six taps an axis, of which a 5-tap kernel leaves the first empty
# (shift 1: the window of SAME at stride 2, or of a block's second pixel) or the last.
def _block_kernel(kernel: Array, shift_h: int, shift_w: int) -> Array:
    _, _, cin, cout = kernel.shape
    pads = ((shift_h, 1 - shift_h), (shift_w, 1 - shift_w), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, pads).reshape(3, 2, 3, 2, cin, cout)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * cin, cout)


@jax.custom_vjp
def _conv_narrow(x: Array, kernel: Array) -> Array:
    return conv_xla(x, kernel, 1)


def _conv_narrow_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv_narrow(x, kernel), (x, kernel)


# The kernel's gradient from patches of the side that has fewer channels: 33 ms for 64
# channels to 3, where XLA's takes 121.
def _conv_narrow_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    kh, kw, cin, cout = kernel.shape
    dx = conv_xla(dy, kernel[::-1, ::-1].transpose(0, 1, 3, 2), 1)
    if cin <= cout:
        patches = _patches(x, (kh, kw), 1)
        dkernel = _dot(patches, dy.reshape(-1, cout), (0,), (0,))
        return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)
    patches = _patches(dy, (kh, kw), 1)
    dkernel = _dot(x.reshape(-1, cin), patches, (0,), (0,)).astype(kernel.dtype)
    dkernel = dkernel.reshape(cin, kh, kw, cout)[:, ::-1, ::-1]
    return dx, dkernel.transpose(1, 2, 0, 3)


_conv_narrow.defvjp(_conv_narrow_forward, _conv_narrow_backward)


# Form: Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3)


def conv_winograd(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 3x3 at stride 1 by 2.25 or 4 times fewer products.

    The products are float32 whatever the type of `x`, which the result has: in
    bfloat16 the transforms, with weights up to 8, would lose some of its eight bits.

    Reference:
        Lavin and Gray, Fast algorithms for convolutional neural networks, 2015, 4.
    """
    del stride
    # Smaller pictures have fewer tiles for the kernel's transform to pay, which is
    # 16/9 the kernel's size for two outputs an axis and 4 times for four.
    step = 4 if min(x.shape[1:3]) >= 16 else 2
    y = _winograd(x.astype(jnp.float32), kernel.astype(jnp.float32), step)
    return y.astype(x.dtype)


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
@_with_gradients
def _winograd(x: Array, kernel: Array, step: int) -> Array:
    of, (_, h, w, _) = TRANSFORMS[step], x.shape
    tiles, kernels = _cut(of.tile, x, step, 1), _mix_kernel(of.kernel, kernel)
    products = [_dot_rows(a, b, 1) for a, b in zip(tiles, kernels, strict=True)]
    return _join(of.output, products, step)[:, :h, :w]


def _winograd_forward(
    x: Array, kernel: Array, step: int
) -> tuple[Array, tuple[Array, Array]]:
    return _winograd(x, kernel, step), (x, kernel)


# The adjoint of each step, in reverse, so that its barriers are there too.
def _winograd_backward(
    step: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    (x, kernel), of = saved, TRANSFORMS[step]
    _, h, w, _ = x.shape
    tiles, kernels = _cut(of.tile, x, step, 1), _mix_kernel(of.kernel, kernel)
    dproducts = _cut(of.output.T, dy, step, 0)
    dtiles = [_dot_rows(a, b, 2) for a, b in zip(dproducts, kernels, strict=True)]
    dx = _join(of.tile.T, dtiles, step)[:, :h, :w]
    dkernels = [_dot_tiles(a, b) for a, b in zip(tiles, dproducts, strict=True)]
    rows = lax.optimization_barrier(jnp.stack(_mix(of.kernel.T, dkernels), axis=1))
    return dx, jnp.stack(_mix(of.kernel.T, list(rows)))


_winograd.defvjp(_winograd_forward, _winograd_backward)


def _dot_rows(a: Array, b: Array, axis_b: int) -> Array:
    return lax.dot_general(a, b, (((4,), (axis_b,)), ((0,), (0,))))


# XLA transposes `a`; the barrier keeps that apart from the mixing of columns. One
# unbatched product a tile position needs no transposition, but copies each position:
# about the same time, and twice the kernels to compile (1367 in a step, not 657).
def _dot_tiles(a: Array, b: Array) -> Array:
    a = lax.optimization_barrier(a)
    return lax.dot_general(a, b, (((1, 2, 3), (1, 2, 3)), ((0,), (0,))))


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
    rows = _mix(matrix, [_every(x, 1, i, step, count_h) for i in range(size)])
    grid = lax.optimization_barrier(jnp.stack(rows))
    return _mix(matrix, [_every(grid, 3, j, step, count_w) for j in range(size)])


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
