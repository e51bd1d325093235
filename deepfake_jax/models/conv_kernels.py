"""Convolutions by our own kernels, where the processor and a compiler allow them.

Of bfloat16 for processors that have AMX, or AVX-512 for it; of float32 for those with
AVX2 or AVX-512. A layer's bias, leaky ReLU and pixel shuffle are part of the kernel:
what XLA for CPUs does between products costs as much as the products. Sums are float32,
and of bfloat16 only a layer's result is rounded; without AMX also the transforms of
layers that are filtered. The same operands give the same bits on any number of threads.
`kernels/library.py` says where the kernels can be had.
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
def conv_kernels(x: Array, kernel: Array, bias: Array, how: How) -> Array:
    """A layer; kernel, bias and their gradients are float32.

    Args:
        x: pictures NHWC, at least one, of the type of the kernels in `how`.
        kernel: HWIO.
        bias: one number a channel of the kernel's.
        how: static.
    """
    n, h, w, _ = x.shape
    stride, _, block = how.layer
    places = (block * -(-h // stride), block * -(-w // stride))
    shape = (n, *places, kernel.shape[3] // block**2)

    def compute(x: Array, kernel: Array, bias: Array) -> Array:
        answer = jax.ShapeDtypeStruct(shape, x.dtype)
        return _call(how.kernels.value, answer, how.layer)(x, kernel, bias)

    def compute_plain(x: Array, kernel: Array, bias: Array) -> Array:
        return how.plain(x, kernel, bias, how.layer)

    return lax.platform_dependent(
        *(x, kernel, bias), cpu=compute, default=compute_plain
    )


def _conv_kernels_forward(
    x: Array, kernel: Array, bias: Array, how: How
) -> tuple[Array, tuple[Array | None, ...]]:
    y = conv_kernels(x, kernel, bias, how)
    # Its signs say where the ReLU leaks.
    return y, (x, kernel, bias, None if how.layer.leak is None else y)


def _conv_kernels_backward(
    how: How, saved: tuple[Array, Array, Array, Array | None], dy: Array
) -> tuple[Array, Array, Array]:
    x, kernel, bias, y = saved

    # Two calls: the first layer's has no use for the gradient of the pictures.
    def compute(
        x: Array, kernel: Array, bias: Array, y: Array, dy: Array
    ) -> tuple[Array, Array, Array]:
        pictures = jax.ShapeDtypeStruct(x.shape, x.dtype)
        dx = _call(how.kernels.pictures, pictures, how.layer)(kernel, y, dy)
        parameters = [
            jax.ShapeDtypeStruct(like.shape, jnp.float32) for like in (kernel, bias)
        ]
        dkernel, dbias = _call(how.kernels.parameters, parameters, how.layer)(x, y, dy)
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


conv_kernels.defvjp(_conv_kernels_forward, _conv_kernels_backward)


def _call(name: str, answers: Any, layer: Layer) -> Callable[..., Any]:
    """A kernel that gives arrays of these shapes and types."""
    call = jax.ffi.ffi_call(name, answers, vmap_method="sequential")
    leak = 1.0 if layer.leak is None else layer.leak
    return partial(
        call,
        stride=np.int64(layer.stride),
        block=np.int64(layer.block),
        leak=np.float32(leak),
    )
