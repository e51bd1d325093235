"""Layers of the networks that draw 128 pixels and more: pictures in blocks of pixels.

Such a network works on fewer places than its pictures have pixels: a place's channels
are a block of pixels, which `to_blocks` and `pixel_shuffle` lay out alike. Kernels that
read or write blocks start alike for all pixels of one, or a fresh network would draw a
lattice.

Reference:
    Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution", section 3.2,
    of starting alike.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from deepfake_jax.models.conv import Conv, Layer, conv_layer
from deepfake_jax.models.conv_blocks import to_blocks

RESIDUAL_LEAK = 0.2  # slope below zero within residual blocks
DRAWN = 4  # channels that a head draws: red, green, blue and the mask


class Residual(nn.Module):
    """Adds two 3x3 convolutions' answer to what they see.

    Reference:
        He et al. 2016, "Deep residual learning for image recognition", figure 2; with
        leaky ReLUs, the last of them after the sum, as DeepFaceLab has it.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        features, leak = x.shape[-1], RESIDUAL_LEAK
        y = Conv(features, (3, 3), leak=leak, dtype=self.dtype, name="conv0")(x)
        y = Conv(features, (3, 3), dtype=self.dtype, name="conv1")(y)
        return nn.leaky_relu(x + y, leak)


class Stem(nn.Module):
    """A 3x3 convolution over blocks of pixels, with a leaky ReLU of slope `leak`."""

    features: int
    block: int
    leak: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, crops: Float[Array, "n h w 3"]) -> Float[Array, "n p p f"]:
        shape = (3, 3, 3 * self.block**2, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = to_blocks(crops, block=self.block)
        return conv_layer(x, kernel, bias, Layer(leak=self.leak), dtype=self.dtype)


class Head(nn.Module):
    """A 3x3 convolution to blocks of pixels, four numbers each; float32, no sigmoid."""

    block: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n p q c"]) -> Float32[Array, "n h w 4"]:
        shape = (3, 3, x.shape[-1], DRAWN * self.block**2)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        layer = Layer(block=self.block)
        y = conv_layer(x, kernel, bias, layer, dtype=self.dtype)
        return y.astype(jnp.float32)


def shrink(crops: Float[Array, "n h w c"], size: int) -> Float[Array, "n p q c"]:
    """Crops of a whole multiple of `size`, averaged to it; others as they are.

    Raises:
        ValueError: they are larger, and no multiple.
    """
    n, height, _, channels = crops.shape
    if height <= size:
        return crops
    if height % size:
        raise ValueError(f"crops of {height} px are no multiple of {size} px")
    block = height // size
    crops = crops.reshape(n, size, block, size, block, channels)
    return crops.mean((2, 4))


def split_drawn(
    drawn: Float32[Array, "n h w 4"],
) -> tuple[Float32[Array, "n h w 3"], Float32[Array, "n h w"]]:
    """A head's answer as crops in [0, 1] and the mask's logits."""
    crops, mask = _part(drawn)
    return jax.nn.sigmoid(crops), mask


@jax.custom_vjp
def _part(drawn: Array) -> tuple[Array, Array]:
    return drawn[..., :-1], drawn[..., -1]


def _part_forward(drawn: Array) -> tuple[tuple[Array, Array], None]:
    return _part(drawn), None


# The rule that JAX derives adds two padded arrays: 8 ms of a step of 500 for each head.
def _part_backward(saved: None, answers: tuple[Array, Array]) -> tuple[Array]:
    del saved
    crops, mask = answers
    return (jnp.concatenate([crops, mask[..., None]], -1),)


_part.defvjp(_part_forward, _part_backward)


def start_alike(params: Any) -> Any:
    """Drawn parameters of one of these networks with kernels alike within blocks.

    By the layers' names: ``stem`` reads blocks, ``output`` writes them, and within
    ``upscale...`` there are 2 x 2 pixels to a place.
    """

    def tie(path: tuple[Any, ...], leaf: Array) -> Array:
        name = path[0].key
        if leaf.ndim != 4:
            return leaf
        if name == "stem":
            return jnp.tile(leaf[:, :, :3], (1, 1, leaf.shape[2] // 3, 1))
        if name == "output":
            return jnp.tile(leaf[..., :DRAWN], leaf.shape[-1] // DRAWN)
        if name.startswith("upscale"):
            return jnp.tile(leaf[..., : leaf.shape[-1] // 4], 4)
        return leaf

    return jax.tree_util.tree_map_with_path(tie, params)
