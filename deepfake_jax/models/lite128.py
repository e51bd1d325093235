"""A network that a CPU trains: 128 px in and out, 0.42 billion multiplications a face.

Four times the pixels of `lite` for six times its work, because no layer works on more
than 32 x 32 places: the picture lies in blocks of 4 x 4 pixels from the start and to
the end. The first levels after the bottleneck are shared by both people, as what an
expression does to a face is common; a person's head is small. It draws a mask beside
the picture. Crops are float32 in [0, 1], NHWC. At `width` 64 there are 5.58 million
parameters with both heads, 0.41 million of them a head's.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from deepfake_jax.models.conv import Conv, Dense
from deepfake_jax.models.original import LEAK, PLACES, Upscale
from deepfake_jax.models.subpixels import Head, Residual, Stem, split_drawn

CROP_SIZE = 128
_GRID = 32  # places of the finest layers
_BLOCK = CROP_SIZE // _GRID


class Encoder(nn.Module):
    """Crops of 128 px to a code of 16 x 16 places, 2 `width` channels."""

    width: int = 64
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Names the layers."""
        width, dtype = self.width, self.dtype
        self.stem = Stem(width, block=_BLOCK, leak=LEAK, dtype=dtype)
        self.conv1 = Conv(2 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.conv2 = Conv(3 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.conv3 = Conv(4 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.bottleneck = Dense(2 * width, dtype=dtype)
        self.expand = Dense(PLACES**2 * 4 * width, dtype=dtype)
        self.upscale0 = Upscale(3 * width, dtype=dtype)
        self.upscale1 = Upscale(2 * width, dtype=dtype)
        self.residual = Residual(dtype=dtype)

    def compress(self, crops: Float32[Array, "n h w 3"]) -> Float[Array, "n d"]:
        """Crops to the vectors of the bottleneck, 2 `width` numbers each."""
        x = self.stem(crops)
        for layer in (self.conv1, self.conv2, self.conv3):
            x = layer(x)
        return self.bottleneck(x.reshape(len(x), -1))

    def widen(self, vectors: Float[Array, "n d"]) -> Float[Array, "n 16 16 c"]:
        """The bottleneck's vectors to the code that both people's heads read."""
        x = self.expand(vectors)
        x = self.upscale0(x.reshape(len(x), PLACES, PLACES, -1))
        return self.residual(self.upscale1(x))

    def __call__(self, crops: Float32[Array, "n h w 3"]) -> Float[Array, "n 16 16 c"]:
        """Crops to their codes."""
        return self.widen(self.compress(crops))


class Decoder(nn.Module):
    """A person's head: a code to crops of 128 px and mask logits."""

    width: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, code: Float[Array, "n 16 16 c"]
    ) -> tuple[Float32[Array, "n h w 3"], Float32[Array, "n h w"]]:
        x = Upscale(self.width, dtype=self.dtype, name="upscale0")(code)
        x = Residual(dtype=self.dtype, name="residual0")(x)
        head = Head(block=_BLOCK, dtype=self.dtype, name="output")
        return split_drawn(head(x))
