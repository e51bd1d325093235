"""The classic network of the field: 64 px in and out, one encoder, a decoder a side.

Faces are float32 in [0, 1], NHWC. At `width` 128 the layers are exactly those of the
first public program: 82,062,470 parameters with both decoders. Other widths scale every
channel count, so a quarter of the width is about a sixteenth of the work.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from deepfake_jax.models.conv import Conv, Dense

CROP_SIZE = 64
LEAK = 0.1  # slope of the leaky ReLUs below zero
PLACES = 4  # side of the picture at the bottleneck


class Upscale(nn.Module):
    """Doubles height and width: 3x3 convolution, leaky ReLU, pixel shuffle."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        features, dtype = 4 * self.features, self.dtype
        conv = Conv(features, (3, 3), leak=LEAK, block=2, dtype=dtype, name="conv")
        return conv(x)


class Encoder(nn.Module):
    """Faces of 64 px to a code of 8 x 8 places, 4 `width` channels."""

    width: int = 128
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Names the layers."""
        width, dtype = self.width, self.dtype
        self.conv0 = Conv(width, (5, 5), stride=2, leak=LEAK, dtype=dtype)
        self.conv1 = Conv(2 * width, (5, 5), stride=2, leak=LEAK, dtype=dtype)
        self.conv2 = Conv(4 * width, (5, 5), stride=2, leak=LEAK, dtype=dtype)
        self.conv3 = Conv(8 * width, (5, 5), stride=2, leak=LEAK, dtype=dtype)
        self.bottleneck = Dense(8 * width, dtype=dtype)
        self.expand = Dense(PLACES**2 * 8 * width, dtype=dtype)
        self.upscale = Upscale(4 * width, dtype=dtype)

    def compress(self, faces: Float32[Array, "n 64 64 3"]) -> Float[Array, "n d"]:
        """Faces to the vectors of the bottleneck, 8 `width` numbers each."""
        x = faces
        for layer in (self.conv0, self.conv1, self.conv2, self.conv3):
            x = layer(x)
        return self.bottleneck(x.reshape(len(x), -1))

    def widen(self, vectors: Float[Array, "n d"]) -> Float[Array, "n 8 8 c"]:
        """The bottleneck's vectors to the code that decoders read."""
        x = self.expand(vectors)
        return self.upscale(x.reshape(len(x), PLACES, PLACES, -1))

    def __call__(self, faces: Float32[Array, "n 64 64 3"]) -> Float[Array, "n 8 8 c"]:
        """Faces to their codes."""
        return self.widen(self.compress(faces))


class Decoder(nn.Module):
    """A code to faces of 64 px, one such network a person."""

    width: int = 128
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, code: Float[Array, "n 8 8 c"]) -> Float32[Array, "n 64 64 3"]:
        x = code
        for index, features in enumerate((2 * self.width, self.width, self.width // 2)):
            x = Upscale(features, dtype=self.dtype, name=f"upscale{index}")(x)
        x = Conv(3, (5, 5), dtype=self.dtype, name="output")(x)
        return jax.nn.sigmoid(x.astype(jnp.float32))
