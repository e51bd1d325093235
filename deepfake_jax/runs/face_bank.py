"""Real faces of both people for a bank of codes, and the shape that each face has.

See `recall` for what a bank is for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int64, UInt8

from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import (
    FIVE,
    INNER,
    flatten_landmarks,
    stack_landmarks,
)
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.face_template import FACE_SIZE, MIRRORED
from deepfake_jax.models.autoencoder import Autoencoder, to_float
from deepfake_jax.models.code_bank import build_bank
from deepfake_jax.models.network import Bank, Network, SwapParams
from deepfake_jax.types import Side, spread

MOST_FACES = 128  # a side; with their mirror images twice as many codes
_BATCH = 64  # faces encoded at once


@dataclass(frozen=True, eq=False)
class Examples:
    """Faces of one person for a bank, each with its mirror image.

    Attributes:
        crops: what the network is given, mirror images last.
        landmarks: theirs, see `faceshape.flatten_landmarks`; None where faces have
            neither 68 nor 5 of them.
    """

    crops: UInt8[np.ndarray, "k h w 3"]
    landmarks: Float64[np.ndarray, "k m"] | None


def gather_examples(
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int64[np.ndarray, "_"]],
    crop_size: int,
    *,
    color_shift: Float64[Any, "3"],
    most: int = MOST_FACES,
) -> dict[Side, Examples]:
    """Up to `most` faces of each set, evenly over its record.

    Args:
        sets: of both sides, ``"a"`` and ``"b"``, in their own colors.
        among: which faces of each may be taken: those that are trained on.
        crop_size: side of what the network is given, pixels.
        color_shift: added to A's faces in training.
        most: how many faces of a side.

    Returns:
        The sides' examples.
    """
    picked = {side: among[side][spread(len(among[side]), most)] for side in sets}
    records: dict[Side, list[FaceRecord]] = {
        s: [faces.records[i] for i in picked[s]] for s, faces in sets.items()
    }
    landmarks = stack_landmarks(records)
    examples: dict[Side, Examples] = {}
    for side, faces in sets.items():
        pictures = np.asarray(faces.faces[picked[side]])
        if side == "a":
            pictures = shift_color(pictures, color_shift)
        crops = crop_faces(pictures, crop_size)
        crops = np.concatenate([crops, crops[:, :, ::-1]])
        known = None if landmarks is None else _mirror(landmarks[side])
        examples[side] = Examples(crops, known)
    return examples


def _mirror(landmarks: Float64[np.ndarray, "k p 2"]) -> Float64[np.ndarray, "n m"]:
    """Flat landmarks of faces and of their mirror images."""
    count = landmarks.shape[1]
    mirrored = landmarks[:, list(MIRRORED[count])].copy()
    mirrored[..., 0] = FACE_SIZE - 1 - mirrored[..., 0]
    numbers = INNER if count == 68 else FIVE
    flat = [flatten_landmarks(each, numbers) for each in (*landmarks, *mirrored)]
    return np.stack([each for each in flat if each is not None])


def remember(
    model: Autoencoder,
    params: SwapParams,
    examples: Mapping[Side, Examples],
    *,
    pictures: int = 64,
) -> SwapParams:
    """Parameters with the bank and the real faces of some examples.

    Args:
        model: the network.
        params: its parameters; what they remember is replaced.
        examples: of both sides.
        pictures: how many faces of a side are kept as pictures, at most.
    """
    bank: dict[Side, Bank] = {}
    faces: dict[Side, np.ndarray] = {}
    for side, own in examples.items():
        real = own.crops[: len(own.crops) // 2]
        if pictures:
            faces[side] = real[spread(len(real), pictures)]
        if model.align_codes and own.landmarks is not None:
            codes = _encode(model, params.network, own.crops)
            bank[side] = build_bank(codes, own.landmarks)
    return replace(params, bank=bank, faces=faces)


def _encode(
    model: Autoencoder, network: Network, crops: UInt8[np.ndarray, "k h w 3"]
) -> Float32[np.ndarray, "k d"]:
    """Codes of faces, in batches of one size: one program for sets of any."""
    codes = []
    for start in range(0, len(crops), _BATCH):
        piece = crops[start : start + _BATCH]
        padded = np.pad(piece, [(0, _BATCH - len(piece))] + [(0, 0)] * 3)
        found = _compress(network, padded, model=model)
        codes.append(np.asarray(found, np.float32)[: len(piece)])
    return np.concatenate(codes)


@partial(jax.jit, static_argnames="model")
def _compress(
    network: Network, crops: UInt8[Array, "n h w 3"], *, model: Autoencoder
) -> Float[Array, "n d"]:
    return model.compress(network, to_float(crops))
