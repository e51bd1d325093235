"""The pair of autoencoders that all networks of this package form.

Parameters are one dict, ``{"encoder": ..., "decoder_a": ..., "decoder_b": ...}``, so
that every function of the package is pure in them. Faces are float32 in [0, 1], NHWC.
"""

import math
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
        """Draws the parameters of the encoder and of both decoders, float32.

        Kernels are Glorot uniform, the classic program's choice, and biases zero. All
        come from one long draw: XLA takes a second to compile each random draw for a
        CPU, and a network has some twenty kernels.

        Reference:
            Glorot and Bengio 2010, "Understanding the difficulty of training deep
            feedforward neural networks", equation 16.
        """
        shapes = self.shapes()
        leaves, tree = jax.tree.flatten(shapes)
        kernels = [leaf for leaf in leaves if leaf.ndim > 1]
        draws = jax.random.uniform(
            key, (sum(leaf.size for leaf in kernels),), minval=-1.0, maxval=1.0
        )
        drawn, start = [], 0
        for leaf in leaves:
            if leaf.ndim == 1:
                drawn.append(jnp.zeros(leaf.shape, leaf.dtype))
                continue
            window = math.prod(leaf.shape[:-2])
            limit = math.sqrt(6 / (window * (leaf.shape[-2] + leaf.shape[-1])))
            part = draws[start : start + leaf.size].reshape(leaf.shape)
            drawn.append(part * jnp.float32(limit))
            start += leaf.size
        return jax.tree.unflatten(tree, drawn)

    def shapes(self) -> Params:
        """The tree of parameters as shapes and types; nothing is computed."""

        def build(key: PRNGKeyArray) -> Params:
            faces = jnp.zeros((1, self.face_size, self.face_size, 3), jnp.float32)
            code, encoder = self.encoder.init_with_output(key, faces)
            decoder = self.decoder.init(key, code)["params"]
            sides = {"decoder_a": decoder, "decoder_b": decoder}
            return {"encoder": encoder["params"], **sides}

        return jax.eval_shape(build, jax.random.key(0))

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
