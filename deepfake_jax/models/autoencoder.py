"""The pair of autoencoders that all networks of this package form.

It holds no parameters: these are a `Network`, in which every function is pure. Faces
are float32 in [0, 1], NHWC.

Nothing in the training makes the codes of A's and of B's faces alike. For networks that
align codes, `CodeStatistics` follow the bottleneck's vectors of each side, and a swap
moves the source's towards the target's, see `code_moves`.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Float32, PRNGKeyArray

from deepfake_jax.models import deep, lite, lite128, original
from deepfake_jax.models.code_moves import move_codes
from deepfake_jax.models.network import (
    CodeStatistics,
    Network,
    SwapParams,
    network_from_tree,
    network_to_tree,
)
from deepfake_jax.models.subpixels import start_alike
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import SIDES, Side


class Drawing(NamedTuple):
    """What a decoder draws.

    Attributes:
        crops: in [0, 1].
        mask_logits: of how surely a pixel is the face's; None without a mask.
    """

    crops: Float32[Array, "n h w 3"]
    mask_logits: Float32[Array, "n h w"] | None = None


@dataclass(frozen=True)
class Autoencoder:
    """The functions of a network; it holds no parameters.

    Attributes:
        encoder: faces to code, shared by both sides.
        decoder: code to faces, applied with each side's own parameters.
        crop_size: side of the crops in pixels.
        align_codes: whether swaps move the source's codes to the target's; the encoder
            then has the methods ``compress`` and ``widen``.
        expression: see `code_moves.move_codes`.
        mouth: likewise.
        masked: whether the decoder draws a mask, too: it then gives crops and logits,
            and kernels start alike within blocks of pixels, see `subpixels`.
    """

    encoder: nn.Module
    decoder: nn.Module
    crop_size: int
    align_codes: bool = False
    masked: bool = False
    expression: float = 1.0
    mouth: float = 1.0

    def init(self, key: PRNGKeyArray) -> Network:
        """Draws the parameters of the encoder and of both decoders, float32.

        Kernels are Glorot uniform, the classic program's choice, and biases zero. All
        come from one long draw: XLA takes a second to compile each random draw for a
        CPU, and a network has some twenty kernels.

        Reference:
            Glorot and Bengio 2010, "Understanding the difficulty of training deep
            feedforward neural networks", equation 16.
        """
        # In the order of the names in a checkpoint, as from the first version on.
        leaves, tree = jax.tree.flatten(network_to_tree(self.shapes()))
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
        params = jax.tree.unflatten(tree, drawn)
        if self.masked:
            params = {name: start_alike(part) for name, part in params.items()}
        return network_from_tree(params)

    def shapes(self) -> Network:
        """The tree of parameters as shapes and types; nothing is computed."""

        def build(key: PRNGKeyArray) -> Network:
            code, encoder = self.encoder.init_with_output(key, self._blank())
            decoder: Any = self.decoder.init(key, code)["params"]
            known: Any = encoder["params"]
            return Network({"a": decoder, "b": decoder}, known)

        return jax.eval_shape(build, jax.random.key(0))

    def begin_statistics(self) -> dict[Side, CodeStatistics]:
        """Moments of no codes yet, zeros; empty where codes are not aligned."""
        if not self.align_codes:
            return {}
        vectors = jax.eval_shape(self.compress, self.shapes(), self._blank())

        def zeros() -> Array:  # each anew, or a step could not take over their memory
            return jnp.zeros(vectors.shape[1], jnp.float32)

        return {side: CodeStatistics(zeros(), zeros()) for side in SIDES}

    def _blank(self) -> Float32[Array, "1 h w 3"]:
        return jnp.zeros((1, self.crop_size, self.crop_size, 3), jnp.float32)

    def encode(
        self, network: Network, faces: Float32[Array, "n h w 3"]
    ) -> Float[Array, "n ch cw c"]:
        """Faces of either person to their codes, which are not moved."""
        return jnp.asarray(self.encoder.apply({"params": network.encoder}, faces))

    def compress(
        self, network: Network, faces: Float32[Array, "n h w 3"]
    ) -> Float[Array, "n d"]:
        """Faces to the vectors of the encoder's bottleneck."""
        variables = {"params": network.encoder}
        return jnp.asarray(self.encoder.apply(variables, faces, method="compress"))

    def widen(
        self, network: Network, vectors: Float[Array, "n d"]
    ) -> Float[Array, "n ch cw c"]:
        """The bottleneck's vectors to codes."""
        variables = {"params": network.encoder}
        return jnp.asarray(self.encoder.apply(variables, vectors, method="widen"))

    def move(
        self,
        params: SwapParams,
        vectors: Float[Array, "n d"],
        *,
        source: Side,
        to: Side,
    ) -> Float[Array, "n d"]:
        """The bottleneck's vectors of `source`'s faces to where those of `to` lie."""
        return move_codes(
            vectors,
            params.statistics[source],
            params.statistics[to],
            expression=self.expression,
            mouth=self.mouth,
            readout=params.network.readout,
        )

    def decode(
        self, network: Network, code: Float[Array, "n ch cw c"], side: Side
    ) -> Float32[Array, "n h w 3"]:
        """Codes to faces of person `side`.

        Raises:
            ValueError: side is neither "a" nor "b".
        """
        return self.draw(network, code, side).crops

    def draw(
        self, network: Network, code: Float[Array, "n ch cw c"], side: Side
    ) -> Drawing:
        """Codes to faces of person `side` and, where the network has one, their mask.

        Raises:
            ValueError: side is neither "a" nor "b".
        """
        if side not in SIDES:
            raise ValueError(f'side must be "a" or "b", got {side!r}')
        drawn: Any = self.decoder.apply({"params": network.decoders[side]}, code)
        return Drawing(*drawn) if self.masked else Drawing(jnp.asarray(drawn))


def make_autoencoder(config: ModelConfig) -> Autoencoder:
    """Builds the network that a config names; `auto` that is not settled is float32."""
    asked = config.precision
    dtype = jnp.dtype("float32" if asked == "auto" else asked)
    width = config.width
    moving = {
        "align_codes": config.align_codes,
        "expression": config.expression,
        "mouth": config.mouth,
    }
    if config.name in deep.PLANS:
        plan = deep.PLANS[config.name]
        return Autoencoder(
            encoder=deep.Encoder(width, sees=plan.sees, dtype=dtype),
            decoder=deep.Decoder(width, levels=plan.levels, dtype=dtype),
            crop_size=plan.crop_size,
            masked=True,
            **moving,
        )
    network = {"original": original, "lite": lite, "lite128": lite128}[config.name]
    return Autoencoder(
        encoder=network.Encoder(width=width, dtype=dtype),
        decoder=network.Decoder(width=width, dtype=dtype),
        crop_size=network.CROP_SIZE,
        masked=network is lite128,
        **moving,
    )


def to_float(faces: Array) -> Array:
    """Scales uint8 faces to float32 in [0, 1]; float32 faces pass unchanged."""
    if faces.dtype == jnp.uint8:
        return faces.astype(jnp.float32) * jnp.float32(1 / 255)
    return faces
