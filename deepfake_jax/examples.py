"""Real faces of both people for a bank of codes, and the shape that each face has.

See `recall` for what a bank is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int64, UInt8

from deepfake_jax.align import FACE_SIZE, crop_faces
from deepfake_jax.data import shift_color
from deepfake_jax.faceset import FaceSet
from deepfake_jax.likeness import face_points
from deepfake_jax.meanface import five_points
from deepfake_jax.models.autoencoder import Autoencoder, Params, Side
from deepfake_jax.recall import INNER, Bank, build_bank, flatten_landmarks
from deepfake_jax.types import Landmarks

MOST_FACES = 128  # a side; with their mirror images twice as many codes
_KEPT = 64  # of them are kept as pictures
_BATCH = 64  # faces encoded at once
_MIRRORED_5 = (1, 0, 2, 4, 3)
_MIRRORED_68 = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


@dataclass(frozen=True, eq=False)
class Examples:
    """Faces of one person for a bank, each with its mirror image.

    Attributes:
        crops: what the network is given, mirror images last.
        landmarks: theirs, see `recall.flatten_landmarks`; None where faces have neither
            68 nor 5 of them.
    """

    crops: UInt8[np.ndarray, "k h w 3"]
    landmarks: Float64[np.ndarray, "k m"] | None


def gather_examples(
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int64[np.ndarray, "_"]],
    face_size: int,
    *,
    color_shift: Float64[Any, "3"],
    most: int = MOST_FACES,
) -> dict[Side, Examples]:
    """Up to `most` faces of each set, evenly over its record.

    Args:
        sets: of both sides, ``"a"`` and ``"b"``, in their own colors.
        among: which faces of each may be taken: those that are trained on.
        face_size: side of the network's faces, pixels.
        color_shift: added to A's faces in training.
        most: how many faces of a side.

    Returns:
        The sides' examples.
    """
    picked = {side: _spread(among[side], most) for side in sets}
    points = {
        side: [face_points(faces.records[i]) for i in picked[side]]
        for side, faces in sets.items()
    }
    counts = {
        len(faces.records[i].landmarks)
        for side, faces in sets.items()
        for i in picked[side]
    }
    examples: dict[Side, Examples] = {}
    for side, faces in sets.items():
        pictures = np.asarray(faces.faces[picked[side]])
        if side == "a":
            pictures = shift_color(pictures, color_shift)
        crops = crop_faces(pictures, face_size)
        crops = np.concatenate([crops, crops[:, :, ::-1]])
        known = None
        if counts <= {5, 68}:
            known = _mirror(points[side], whole=counts == {68})
        examples[side] = Examples(crops, known)
    return examples


def _spread(among: Int64[np.ndarray, "n"], most: int) -> Int64[np.ndarray, "k"]:
    count = min(most, len(among))
    return among[np.linspace(0, len(among) - 1, count).round().astype(int)]


def _mirror(points: Sequence[Landmarks], *, whole: bool) -> Float64[np.ndarray, "k m"]:
    """Flat landmarks of faces and of their mirror images."""
    if not whole:
        points = [five_points(each) if len(each) == 68 else each for each in points]
    found = np.stack(points)
    mirrored = found[:, list(_MIRRORED_68 if whole else _MIRRORED_5)].copy()
    mirrored[..., 0] = FACE_SIZE - 1 - mirrored[..., 0]
    count = INNER if whole else 2 * len(_MIRRORED_5)
    flat = [flatten_landmarks(each, count) for each in (*found, *mirrored)]
    return np.stack([each for each in flat if each is not None])


def remember(
    model: Autoencoder, params: Params, examples: Mapping[Side, Examples]
) -> Params:
    """Parameters with the bank of some examples.

    Args:
        model: the network.
        params: its parameters; a bank that they have is replaced.
        examples: of both sides.
    """
    bank: dict[str, Bank] = {}
    for side, own in examples.items():
        real = own.crops[: len(own.crops) // 2]
        bank[side] = {"faces": real[_spread(np.arange(len(real)), _KEPT)]}
        if model.align_codes and own.landmarks is not None:
            codes = _encode(model, params, own.crops)
            bank[side] |= build_bank(codes, own.landmarks)
    return {**params, "bank": bank}


def _encode(
    model: Autoencoder, params: Params, crops: UInt8[np.ndarray, "k h w 3"]
) -> Float32[np.ndarray, "k d"]:
    """Codes of faces, in batches of one size: one program for sets of any."""
    codes = []
    for start in range(0, len(crops), _BATCH):
        piece = crops[start : start + _BATCH]
        padded = np.pad(piece, [(0, _BATCH - len(piece))] + [(0, 0)] * 3)
        found = _compress(params, padded, model=model)
        codes.append(np.asarray(found, np.float32)[: len(piece)])
    return np.concatenate(codes)


@partial(jax.jit, static_argnames="model")
def _compress(
    params: Params, crops: UInt8[Array, "n h w 3"], *, model: Autoencoder
) -> Float[Array, "n d"]:
    return model.compress(params, crops.astype(jnp.float32) * jnp.float32(1 / 255))
