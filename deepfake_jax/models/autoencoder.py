"""The pair of autoencoders that all networks of this package form.

Parameters are one dict, ``{"encoder": ..., "decoder_a": ..., "decoder_b": ...}``, so
that every function of the package is pure in them. Faces are float32 in [0, 1], NHWC.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Float32, PRNGKeyArray

from deepfake_jax.config import ModelConfig
from deepfake_jax.models import original

Params = dict[str, Any]
Side = Literal["a", "b"]


@dataclass(frozen=True)
class Autoencoder:
    """The functions of a network; it holds no parameters.

    Attributes:
        encoder: faces to code, shared by both sides.
        decoder: code to faces, applied with each side's own parameters.
        face_size: side of the faces in pixels.
    """

    encoder: nn.Module
    decoder: nn.Module
    face_size: int

    def init(self, key: PRNGKeyArray) -> Params:
        """Draws the parameters of the encoder and of both decoders, float32."""
        encoder_key, key_a, key_b = jax.random.split(key, 3)
        faces = jnp.zeros((1, self.face_size, self.face_size, 3), jnp.float32)
        code, encoder = self.encoder.init_with_output(encoder_key, faces)
        return {
            "encoder": encoder["params"],
            "decoder_a": self.decoder.init(key_a, code)["params"],
            "decoder_b": self.decoder.init(key_b, code)["params"],
        }

    def encode(
        self, params: Params, faces: Float32[Array, "n h w 3"]
    ) -> Float[Array, "n ch cw c"]:
        """Faces of either person to their codes."""
        return jnp.asarray(self.encoder.apply({"params": params["encoder"]}, faces))

    def decode(
        self, params: Params, code: Float[Array, "n ch cw c"], side: Side
    ) -> Float32[Array, "n h w 3"]:
        """Codes to faces of person `side`.

        Raises:
            ValueError: side is neither "a" nor "b".
        """
        if side not in get_args(Side):
            raise ValueError(f'side must be "a" or "b", got {side!r}')
        return jnp.asarray(
            self.decoder.apply({"params": params[f"decoder_{side}"]}, code)
        )


def make_autoencoder(config: ModelConfig) -> Autoencoder:
    """Builds the network that a config names."""
    dtype = jnp.dtype(config.precision)
    return Autoencoder(
        encoder=original.Encoder(width=config.width, dtype=dtype),
        decoder=original.Decoder(width=config.width, dtype=dtype),
        face_size=original.FACE_SIZE,
    )


def count_parameters(params: Params) -> int:
    """How many numbers a tree of parameters holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
