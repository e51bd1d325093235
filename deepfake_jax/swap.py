"""Faces to the other person's faces: the encoder, then the other decoder.

Faces are float32 in [0, 1], NHWC, aligned and cropped as the training targets were.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.detail import MOST_GAIN, Energies, match_detail
from deepfake_jax.models.autoencoder import Autoencoder, Params, Side

# Batches are padded to one of these, so that nothing recompiles in the middle.
BATCH_SIZES = (1, 8, 32)


def swap_faces(
    model: Autoencoder,
    params: Params,
    faces: Float32[Array, "n h w 3"],
    *,
    to: Side = "b",
    source: Side | None = None,
) -> Float32[Array, "n h w 3"]:
    """Redraws faces as person `to`, keeping pose and expression; pure.

    Args:
        model: the network.
        params: its parameters.
        faces: to redraw.
        to: as whom.
        source: who they show; None is the other person. Given `to`, its faces are
            reconstructed.
    """
    code = model.encode(params, faces, source=source or other_side(to), to=to)
    return model.decode(params, code, to)


def other_side(side: Side) -> Side:
    """B of A, and A of B."""
    return "a" if side == "b" else "b"


@partial(jax.jit, static_argnames=("model", "to", "source"))
def _swap_uint8(
    params: Params,
    faces: UInt8[Array, "n h w 3"],
    *,
    model: Autoencoder,
    to: Side,
    source: Side | None,
    energies: Float32[Array, "2"] | None,
    most: float | Array,
) -> UInt8[Array, "n h w 3"]:
    scaled = faces.astype(jnp.float32) * jnp.float32(1 / 255)
    swapped = swap_faces(model, params, scaled, to=to, source=source)
    if energies is not None:
        swapped = match_detail(swapped, energies, most)
    return jnp.round(jnp.clip(swapped, 0, 1) * 255).astype(jnp.uint8)


def make_swapper(
    model: Autoencoder,
    params: Params,
    *,
    to: Side = "b",
    source: Side | None = None,
    energies: Energies | None = None,
    most_detail: float = MOST_GAIN,
) -> Callable[[UInt8[np.ndarray, "n h w 3"]], UInt8[np.ndarray, "n h w 3"]]:
    """A compiled function from any number of uint8 faces to their swaps.

    Faces go to the device as uint8 in batches of a few fixed sizes; the answer is
    rounded to uint8 there. For `to` and `source` see `swap_faces`.

    Args:
        model: the network.
        params: its parameters.
        to: as whom.
        source: who the faces show.
        energies: of the target's real faces, to match the swaps' fine detail with, see
            `detail.match_detail`; None leaves them as the network draws them.
        most_detail: the largest factor of that.
    """
    if most_detail == 1:
        energies = None
    if not model.align_codes:
        source = None  # makes no difference: one program for both

    def swapper(faces: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
        pieces = []
        for start in range(0, len(faces), BATCH_SIZES[-1]):
            piece = faces[start : start + BATCH_SIZES[-1]]
            size = next(size for size in BATCH_SIZES if size >= len(piece))
            padding = [(0, size - len(piece))] + [(0, 0)] * 3
            padded = np.pad(piece, padding)
            swapped = _swap_uint8(
                params,
                padded,
                model=model,
                to=to,
                source=source,
                energies=energies,
                most=most_detail,
            )
            pieces.append(np.asarray(swapped)[: len(piece)])
        return np.concatenate(pieces) if pieces else np.empty_like(faces)

    return swapper
