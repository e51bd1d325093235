"""Crops to finished swaps of any number, as all who show or judge swaps want them.

The network draws in compiled batches of a few sizes. Faces are uint8; what is drawn is
levels, float32 in [0, 255], for whoever works on, or rounded to uint8.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.models.autoencoder import Autoencoder, Drawing, to_float
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.models.swap_faces import draw_swap
from deepfake_jax.types import Side, other_side

# Batches are padded to one of these, so that nothing recompiles in the middle.
BATCH_SIZES = (1, 8, 32)
_SOURCE: Side = "a"  # what a swapper calls them, whoever they are
_TARGET: Side = "b"


@dataclass(frozen=True, eq=False)
class Swapper:
    """From any number of uint8 faces to their swaps; each is what it is alone.

    Faces go to the device as uint8 in batches of a few fixed sizes. Made by
    `make_swapper`.

    Attributes:
        model: the network.
        params: its parameters, as `_take_parts` gives them.
        redraws: whether faces show who they are drawn as.
    """

    model: Autoencoder
    params: SwapParams
    redraws: bool

    def __call__(
        self, faces: UInt8[np.ndarray, "k h w 3"]
    ) -> UInt8[np.ndarray, "k h w 3"]:
        """Swaps faces: crops, as the network learned from; rounded on the device."""
        return self._draw(faces, rounded=True)

    def draw_levels(
        self, faces: UInt8[np.ndarray, "k h w 3"]
    ) -> Float32[np.ndarray, "k h w c"]:
        """The same not rounded, in [0, 255]: what is matched in color rounds later.

        Of a network that draws masks the mask is a fourth channel, 255 where it surely
        is the face.
        """
        return self._draw(faces, rounded=False)

    def _draw(
        self, faces: UInt8[np.ndarray, "k h w 3"], *, rounded: bool
    ) -> np.ndarray:
        source = _TARGET if self.redraws else _SOURCE
        draw = partial(
            _draw, self.params, model=self.model, source=source, rounded=rounded
        )
        return _in_batches(draw, faces)


def make_swapper(
    model: Autoencoder,
    params: SwapParams,
    *,
    to: Side = "b",
    source: Side | None = None,
) -> Swapper:
    """The swapper of one direction; for `to` and `source` see `swap_faces`."""
    source = source or other_side(to)
    return Swapper(model, _take_parts(params, source, to), redraws=source == to)


def make_double_swapper(
    model: Autoencoder, params: SwapParams, *, to: Side = "b"
) -> Callable[[UInt8[np.ndarray, "k h w 3"]], Float32[np.ndarray, "2 k h w c"]]:
    """What gives swaps of faces, and beside them the faces as their own person's.

    Both are as `Swapper.draw_levels` gives them. The encoder works once for both:
    together they cost little more than swaps alone.
    """
    source = other_side(to)
    own = jax.tree.map(jnp.asarray, params.network.decoders[source])
    parts = _take_parts(params, source, to)
    decoders = {_TARGET: parts.network.decoders[_TARGET], _SOURCE: own}
    parts = replace(parts, network=replace(parts.network, decoders=decoders))
    draw = partial(_draw_both, parts, model=model)
    return lambda faces: np.moveaxis(_in_batches(draw, faces), 1, 0)


@partial(jax.jit, static_argnames=("model",))
def _draw_both(
    params: SwapParams, faces: UInt8[Array, "n h w 3"], *, model: Autoencoder
) -> Float32[Array, "n 2 h w c"]:
    scaled, network = to_float(faces), params.network
    if model.align_codes:
        own = model.compress(network, scaled)
        moved = model.move(params, own, source=_SOURCE, to=_TARGET)
        codes = model.widen(network, moved), model.widen(network, own)
    else:
        codes = (model.encode(network, scaled),) * 2
    drawn = [
        _to_levels(model.draw(network, code, side))
        for code, side in zip(codes, (_TARGET, _SOURCE), strict=True)
    ]
    return jnp.stack(drawn, axis=1)


def _to_levels(drawn: Drawing) -> Float32[Array, "n h w c"]:
    channels = jnp.clip(drawn.crops, 0, 1)
    if drawn.mask_logits is not None:
        mask = jax.nn.sigmoid(drawn.mask_logits)[..., None]
        channels = jnp.concatenate([channels, mask], axis=-1)
    return channels * 255


@partial(jax.jit, static_argnames=("model", "source", "rounded"))
def _draw(
    params: SwapParams,
    faces: UInt8[Array, "n h w 3"],
    *,
    model: Autoencoder,
    source: Side,
    rounded: bool,
) -> UInt8[Array, "n h w 3"] | Float32[Array, "n h w c"]:
    scaled = to_float(faces)
    levels = _to_levels(draw_swap(model, params, scaled, to=_TARGET, source=source))
    return jnp.round(levels[..., :3]).astype(jnp.uint8) if rounded else levels


def _take_parts(params: SwapParams, source: Side, to: Side) -> SwapParams:
    """What a swap needs of a network's parameters, as if it were always from A to B.

    So both directions share their compiled programs.
    """
    names: dict[Side, Side] = {_SOURCE: source, _TARGET: to}
    network, known = params.network, params.statistics
    parts = SwapParams(
        network=Network(
            {_TARGET: network.decoders[to]}, network.encoder, network.readout
        ),
        statistics={name: known[side] for name, side in names.items() if known},
    )
    return jax.tree.map(jnp.asarray, parts)


def _in_batches(
    draw: Callable[..., Array],
    faces: UInt8[np.ndarray, "k h w 3"],
) -> np.ndarray:
    """Gives faces to a function in batches of `BATCH_SIZES`, filled up with zeros."""
    pieces = []
    for start in range(0, len(faces), BATCH_SIZES[-1]):
        here = faces[start : start + BATCH_SIZES[-1]]
        size = next(size for size in BATCH_SIZES if size >= len(here))
        padded = np.pad(here, [(0, size - len(here))] + [(0, 0)] * 3)
        pieces.append(np.asarray(draw(padded))[: len(here)])
    if not pieces:
        blank = np.zeros((BATCH_SIZES[0], *faces.shape[1:]), np.uint8)
        some = jax.eval_shape(draw, blank)
        return np.empty((0, *some.shape[1:]), some.dtype)
    return np.concatenate(pieces)
