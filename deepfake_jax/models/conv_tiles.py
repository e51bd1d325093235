"""Convolutions of bfloat16 by our own kernels, for processors that have tiles (AMX).

A layer's bias, leaky ReLU and pixel shuffle are part of the kernel: what XLA for CPUs
does to bfloat16 between products costs more than the products. Sums are float32, and
only a layer's result is rounded. The same operands give the same bits on any number of
threads. `kernels/library.py` says where the kernels can be had.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from deepfake_jax.kernels.library import Kernels


class Layer(NamedTuple):
    """What the layer of a convolution does.

    Attributes:
        stride: of the windows.
        leak: slope below zero of the leaky ReLU; None has none.
        block: side of the blocks of pixels that the channels become at last.
    """

    stride: int = 1
    leak: float | None = None
    block: int = 1


class How(NamedTuple):
    """A layer, and what computes it.

    Attributes:
        layer: what it does.
        kernels: on a CPU.
        plain: elsewhere; of pictures, kernel, bias and layer.
    """

    layer: Layer
    kernels: Kernels
    plain: Callable[[Array, Array, Array, Layer], Array]


# Any: the decorator's type does not keep what the function returns.
_with_gradients: Any = partial(jax.custom_vjp, nondiff_argnums=(3,))


@_with_gradients
def conv_tiles(x: Array, kernel: Array, bias: Array, how: How) -> Array:
    """A layer of bfloat16 pictures; kernel, bias and their gradients are float32.

    Args:
        x: pictures NHWC, at least one.
        kernel: HWIO.
        bias: one number a channel of the kernel's.
        how: static.
    """
    n, h, w, _ = x.shape
    stride, _, block = how.layer
    places = (block * -(-h // stride), block * -(-w // stride))
    shape = (n, *places, kernel.shape[3] // block**2)

    def compute(x: Array, kernel: Array, bias: Array) -> Array:
        return _call(how.kernels.value, shape, how.layer)(x, kernel, bias)

    def compute_plain(x: Array, kernel: Array, bias: Array) -> Array:
        return how.plain(x, kernel, bias, how.layer)

    return lax.platform_dependent(
        *(x, kernel, bias), cpu=compute, default=compute_plain
    )


def _conv_tiles_forward(
    x: Array, kernel: Array, bias: Array, how: How
) -> tuple[Array, tuple[Array | None, ...]]:
    y = conv_tiles(x, kernel, bias, how)
    # Its signs say where the ReLU leaks.
    return y, (x, kernel, bias, None if how.layer.leak is None else y)


def _conv_tiles_backward(
    how: How, saved: tuple[Array, Array, Array, Array | None], dy: Array
) -> tuple[Array, Array, Array]:
    x, kernel, bias, y = saved

    # Two calls: the first layer's has no use for the gradient of the pictures.
    def compute(
        x: Array, kernel: Array, bias: Array, y: Array, dy: Array
    ) -> tuple[Array, Array, Array]:
        dx = _call(how.kernels.pictures, x.shape, how.layer)(kernel, y, dy)
        shapes = kernel.shape, bias.shape
        dkernel, dbias = _call(how.kernels.parameters, shapes, how.layer)(x, y, dy)
        return dx, dkernel, dbias

    def differentiate(
        x: Array, kernel: Array, bias: Array, y: Array, dy: Array
    ) -> tuple[Array, Array, Array]:
        del y

        def compute_plain(x: Array, kernel: Array, bias: Array) -> Array:
            return how.plain(x, kernel, bias, how.layer)

        return jax.vjp(compute_plain, x, kernel, bias)[1](dy)

    return lax.platform_dependent(
        *(x, kernel, bias, dy if y is None else y, dy),
        cpu=compute,
        default=differentiate,
    )


conv_tiles.defvjp(_conv_tiles_forward, _conv_tiles_backward)


def _call(name: str, shapes: Any, layer: Layer) -> Callable[..., Any]:
    """A kernel that gives bfloat16 pictures, or float32 of two shapes."""
    answers: Any = jax.ShapeDtypeStruct(shapes, jnp.bfloat16)
    if isinstance(shapes[0], tuple):
        answers = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(name, answers, vmap_method="sequential")
    leak = 1.0 if layer.leak is None else layer.leak
    return partial(
        call,
        stride=np.int64(layer.stride),
        block=np.int64(layer.block),
        leak=np.float32(leak),
    )
