"""A network for CPUs: the classic's plan with half of its operations, 64 px in and out.

Most of the classic network's time goes into layers that work on large pictures with few
channels. Here the picture lies in blocks of 2 x 2 pixels from the start and to the end,
so that no layer works on more than 32 x 32 places, and all windows are 3 x 3. The
bottleneck is a quarter as wide as the classic's: the less a code can say, the less it
says about who it is. Faces are float32 in [0, 1], NHWC. At `width` 32 the network has
2.8 million parameters with both decoders.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from deepfake_jax.models import original
from deepfake_jax.models.conv import Conv, Dense
from deepfake_jax.models.conv_blocks import to_blocks
from deepfake_jax.models.original import LEAK, PLACES, Upscale

CROP_SIZE = 64


class Encoder(original.Encoder):
    """Faces of 64 px to a code of 8 x 8 places, 4 `width` channels."""

    width: int = 32
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Names the layers."""
        width, dtype = self.width, self.dtype
        self.conv0 = Conv(2 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.conv1 = Conv(4 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.conv2 = Conv(8 * width, (3, 3), stride=2, leak=LEAK, dtype=dtype)
        self.bottleneck = Dense(2 * width, dtype=dtype)
        self.expand = Dense(PLACES**2 * 8 * width, dtype=dtype)
        self.upscale = Upscale(4 * width, dtype=dtype)

    def compress(self, faces: Float32[Array, "n 64 64 3"]) -> Float[Array, "n d"]:
        """Faces to the vectors of the bottleneck, 2 `width` numbers each."""
        x = to_blocks(faces)
        for layer in (self.conv0, self.conv1, self.conv2):
            x = layer(x)
        return self.bottleneck(x.reshape(len(x), -1))


class Decoder(nn.Module):
    """A code to faces of 64 px, one such network a person."""

    width: int = 32
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, code: Float[Array, "n 8 8 c"]) -> Float32[Array, "n 64 64 3"]:
        x = code
        for index, features in enumerate((2 * self.width, self.width)):
            x = Upscale(features, dtype=self.dtype, name=f"upscale{index}")(x)
        x = Conv(12, (3, 3), block=2, dtype=self.dtype, name="output")(x)
        return jax.nn.sigmoid(x.astype(jnp.float32))
