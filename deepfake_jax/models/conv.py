"""Convolutions and dense layers in the form that is fastest where they run.

Pictures are NHWC, kernels HWIO, padding is XLA's "SAME". Parameters and their gradients
are float32. `dtype` is the type of the operands and of the result; sums are float32 for
both types, forward and backward. Values and gradients equal those of
`lax.conv_general_dilated` up to rounding, so a checkpoint moves between platforms.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from deepfake_jax.kernels.library import Kernels, find_kernels
from deepfake_jax.models.conv_blocks import (
    conv_blocks,
    conv_blocks_xla,
    conv_phases,
    pixel_shuffle,
)
from deepfake_jax.models.conv_direct import conv_patches, conv_xla, dot, with_gradients
from deepfake_jax.models.conv_kernels import How, Layer, conv_kernels
from deepfake_jax.models.conv_winograd import conv_winograd

Form = Callable[..., Array]

# Our kernels tell by an answer's sign where a leaky ReLU's gradient leaks; of a plain
# one all signs below would be lost.
_RELU = 1e-6
_VECTOR = 16  # float32 of the widest vectors
_FEWEST = (
    512  # places of a picture's batch: with fewer the kernel's transform costs more
)


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
    bias = jnp.zeros((kernel.shape[3],), jnp.float32)
    return conv_layer(x, kernel, bias, Layer(stride), dtype=dtype)


def conv_layer(
    x: Float[Array, "n h w cin"],
    kernel: Float[Array, "kh kw kernel_cin cout"],
    bias: Float[Array, " cout"],
    layer: Layer,
    *,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "n out_h out_w features"]:
    """Convolve as `conv`, add the bias, leak below zero, shuffle channels to pixels.

    Raises:
        ValueError: the kernel's input channels are not those of `x`, or its outputs
            are no blocks of pixels.
    """
    _check_channels(x, kernel)
    x = x.astype(dtype)
    if layer.leak == 0:
        layer = layer._replace(leak=_RELU)
    if not x.size or kernel.shape[3] % layer.block**2:
        return _conv_plain(x, kernel, bias, layer)
    kernel, bias = kernel.astype(jnp.float32), bias.astype(jnp.float32)
    kernels = choose_kernels(x.shape, kernel.shape, layer, dtype=dtype)
    if kernels is None:
        return _conv_plain(x, kernel, bias, layer)
    return conv_kernels(x, kernel, bias, How(layer, kernels, _conv_plain))


def dense_layer(
    x: Float[Array, "n cin"],
    kernel: Float[Array, "cin cout"],
    bias: Float[Array, " cout"],
    *,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "n cout"]:
    """Multiply with operands and result in `dtype` and float32 sums; add the bias."""
    # Of float32 XLA's product is as fast as ours would be.
    if jnp.dtype(dtype) == jnp.float32 or not _find_on_cpu(dtype):
        y = _matmul(x.astype(dtype), kernel.astype(dtype))
        return y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)
    y = conv_layer(x[:, None, None], kernel[None, None], bias, Layer(), dtype=dtype)
    return y[:, 0, 0]


def choose_kernels(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    layer: Layer,
    *,
    dtype: DTypeLike,
) -> Kernels | None:
    """Our own kernels where they are the fastest.

    For bfloat16 on CPUs that multiply it: all layers. For float32 on CPUs with wide
    vectors: windows of 3x3, or of 5x5 at stride 2 as 3x3 over blocks of pixels, over
    channels that fill vectors, and places that pay for the transform of the kernel. A
    program for a CPU beside a GPU goes without: it is seldom one that takes long.
    """
    if jnp.dtype(dtype) == jnp.float32 and not _fits(x_shape, kernel_shape, layer):
        return None
    return _find_on_cpu(dtype)


def _fits(x_shape: Sequence[int], kernel_shape: Sequence[int], layer: Layer) -> bool:
    """Whether the kernels of float32 can do a layer, and it pays."""
    n, h, w, cin = x_shape
    kh, kw, _, cout = kernel_shape
    if (kh, kw, layer.stride) == (5, 5, 2) and h % 2 == 0 and w % 2 == 0:
        cin = 2 * cin  # pixels of a row of a block lie in one piece
    elif (kh, kw) != (3, 3) or layer.stride > 2:
        return False
    return (
        cin % _VECTOR == 0
        and cout % (_VECTOR * layer.block) == 0
        and n * h * w >= _FEWEST * layer.stride**2
    )


def _find_on_cpu(dtype: DTypeLike) -> Kernels | None:
    return find_kernels(dtype) if jax.default_backend() == "cpu" else None


class Conv(nn.Module):
    """`nn.Conv` with "SAME" padding; parameters `kernel` and `bias` are the same.

    `leak` and `block` as in `Layer`.
    """

    features: int
    kernel_size: tuple[int, int]
    stride: int = 1
    leak: float | None = None
    block: int = 1
    dtype: DTypeLike = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w cin"]
    ) -> Float[Array, "n out_h out_w cout"]:
        """Convolve, add the bias, leak, shuffle, in `dtype`."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = jnp.zeros((self.features,), jnp.float32)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, bias.shape, jnp.float32)
        layer = Layer(self.stride, self.leak, self.block)
        return conv_layer(x, kernel, bias, layer, dtype=self.dtype)


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
        bias = jnp.zeros((self.features,), jnp.float32)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, bias.shape, jnp.float32)
        return dense_layer(x, kernel, bias, dtype=self.dtype)


def _check_channels(x: Array, kernel: Array) -> None:
    if kernel.shape[2] != x.shape[3]:
        raise ValueError(
            f"kernel takes {kernel.shape[2]} channels (shape {kernel.shape}, HWIO) but "
            f"x has {x.shape[3]} (shape {x.shape}, NHWC); is one of them transposed?"
        )


def _conv_plain(x: Array, kernel: Array, bias: Array, layer: Layer) -> Array:
    """A layer by XLA alone, in the type of `x`."""
    y = _conv(x, kernel.astype(x.dtype), layer.stride)
    y = y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)
    if layer.leak is not None:
        y = nn.leaky_relu(y, layer.leak)
    return y if layer.block == 1 else pixel_shuffle(y, block=layer.block)


# Which form runs where there are no kernels of our own


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
# The four rows of the full network: best of one or two. Winograd's gradient of the
# kernel has since become up to twice as fast. `deepfake-jax benchmark layers` prints a
# table like this for any network and device. XLA's value of `64 32 32` and `32 32 32`
# would save about 3 % of the step: not worth two forms within a layer.
def choose_form(
    platform: str, x_shape: Sequence[int], kernel_shape: Sequence[int], stride: int
) -> Form:
    """Return the form that is fastest there: `form(x, kernel, stride) -> y`."""
    n, h, w, cin = x_shape
    kh, kw, _, cout = kernel_shape
    layer, even = (kh, kw, stride), h % 2 == 0 and w % 2 == 0
    if platform != "cpu":
        few = (stride == 1 and cout <= 4) or (stride == 2 and cin <= 4)
        # Of a window larger than the picture XLA makes a picture, and of the picture
        # a window: on an H100 the two gradients took ten times as long.
        small = stride == 2 and h * w < 4 * kh * kw
        if even and layer[:2] == (5, 5) and (few or small):
            return conv_blocks_xla
        return conv_xla
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


@with_gradients
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
            _, pull = jax.vjp(lambda x, kernel: form(x, kernel, stride), x, kernel)
            dx, dkernel = pull(dy)
            return dx, dkernel if platform == "cpu" else _lay_out(dkernel)

        return gradients

    return _on_platform(build, *saved, dy)


_conv.defvjp(_conv_forward, _conv_backward)


def _lay_out(dkernel: Array) -> Array:
    """The gradient in the kernel's own order of memory, on a GPU.

    cuDNN gives it with the outputs first. Left to itself XLA turns it within the
    optimizer's update, which is then a slow transposition of four float32 arrays and
    cannot write over what it reads: 1.5 of 6.9 ms of a step of `original`.
    """
    flat = jax.lax.optimization_barrier(dkernel.reshape(-1))
    return flat.reshape(dkernel.shape)


# The product of the dense layers


@jax.custom_vjp
def _matmul(x: Array, kernel: Array) -> Array:
    return dot(x, kernel, (1,), (0,)).astype(x.dtype)


def _matmul_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _matmul(x, kernel), (x, kernel)


# The rule that JAX derives would multiply a float32 `dy` with bfloat16 operands.
def _matmul_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = dot(dy, kernel, (1,), (1,)).astype(x.dtype)
    return dx, dot(x, dy, (0,), (0,)).astype(kernel.dtype)


_matmul.defvjp(_matmul_forward, _matmul_backward)
