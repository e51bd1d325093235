"""How much each face counts where two people are compared with each other.

One person's eyes may be shut in a third of the footage and the other's hardly ever.
The mean of the one's codes is then of half-shut eyes, and a swap that moves means onto
each other shuts the eyes of the other. So means are taken over faces that count the
more, the likelier the *other* person does the same: these weighted means of what both
do with eyes and mouth are equal.

Reference:
    Li, Morgan and Zaslavsky 2018, "Balancing covariates via propensity score
    weighting", of overlap weights; with a logistic model they balance means exactly
    (theorem 3).
"""

import logging
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int

from deepfake_jax.evaluation.following import read_eye
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.faces.judging_networks import make_eye_network
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.types import SIDES, Side

_RIDGE = 1e-3  # keeps the model finite where nobody does what the other does
_ROUNDS = 30  # of Newton's method; it converges in some six
_FEWEST = 20  # faces that must count, by their effective number
_READ = 1500  # faces whose lids are read, at most; those between are interpolated
_TINY = 1e-12  # keeps a matrix invertible
_EYES = (36, 45)  # outer corners, of 68 landmarks
_LIPS = (62, 66)  # inner edges in the middle

_log = logging.getLogger("deepfake_jax")


def weigh_alike(
    sets: Mapping[Side, FaceSet],
    landmarks: Mapping[Side, Float64[np.ndarray, "_ 68 2"]],
    among: Mapping[Side, Int[np.ndarray, "_"]],
) -> dict[Side, Float64[np.ndarray, "_"]]:
    """Weights of all faces of both sides, by what their eyes and mouths do.

    Args:
        sets: of both sides.
        landmarks: of all faces, in the pixels of their pictures.
        among: which faces are trained on; the others weigh nothing.

    Returns:
        One weight a face of each set, at least 0, with the sum 1.
    """
    doings: dict[Side, np.ndarray] = {}
    for side in SIDES:
        own = landmarks[side][among[side]]
        lids = _read_lids(sets[side], own, among[side])
        doings[side] = np.column_stack([_open_mouths(own), *lids])
    if len({own.shape[1] for own in doings.values()}) > 1:
        doings = {side: own[:, :1] for side, own in doings.items()}
    weights: dict[Side, np.ndarray] = {}
    for side, own in weigh_overlap(doings).items():
        weights[side] = np.zeros(len(landmarks[side]))
        weights[side][among[side]] = own
    return weights


def weigh_overlap(
    doings: Mapping[Side, Float64[np.ndarray, "_ k"]],
) -> dict[Side, Float64[np.ndarray, "_"]]:
    """The overlap weights of both sides' faces: how likely each is the other's.

    Args:
        doings: some numbers of each face, which mean the same of both people.

    Returns:
        Weights of each side, with the sum 1. Where hardly any face would count they are
        drawn nearer to equal ones.
    """
    both = np.concatenate([doings[side] for side in SIDES])
    spread = both.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    inputs = np.column_stack([(both - both.mean(axis=0)) / spread, np.ones(len(both))])
    counts = [len(doings[side]) for side in SIDES]
    is_b = np.repeat([0.0, 1.0], counts)
    share = np.repeat([1 / counts[0], 1 / counts[1]], counts)  # both sides weigh alike
    ridge = _RIDGE * np.diag([*np.ones(both.shape[1]), 0.0])
    model = np.zeros(inputs.shape[1])
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-inputs @ model))
        slope = inputs.T @ (share * (chance - is_b)) + ridge @ model
        bend = (inputs * (share * chance * (1 - chance))[:, None]).T @ inputs + ridge
        model = model - np.linalg.solve(bend + _TINY * np.eye(len(model)), slope)
    chance = 1 / (1 + np.exp(-inputs @ model))
    return {
        "a": _keep_enough(chance[: counts[0]]),
        "b": _keep_enough(1 - chance[counts[0] :]),
    }


def _keep_enough(weights: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Weights with the sum 1, flattened until they are of enough faces."""
    weights = weights / weights.sum()
    while 1 / np.square(weights).sum() < min(_FEWEST, len(weights) / 4):
        weights = np.sqrt(weights)
        weights = weights / weights.sum()
    return weights


def _open_mouths(landmarks: Float64[np.ndarray, "n 68 2"]) -> Float64[np.ndarray, "n"]:
    """How far lips are apart, for how far the eyes' outer corners are."""
    upper, lower = (landmarks[:, index] for index in _LIPS)
    left, right = (landmarks[:, index] for index in _EYES)
    return np.linalg.norm(lower - upper, axis=1) / np.linalg.norm(right - left, axis=1)


def _read_lids(
    faces: FaceSet,
    landmarks: Float64[np.ndarray, "n 68 2"],
    among: Int[np.ndarray, "n"],
) -> list[Float64[np.ndarray, "n"]]:
    """How far eyes are open, for how wide they are; nothing where nothing reads it.

    By the eye network: landmarks of the face mesh stay open where eyes close.
    """
    try:
        find = make_eye_network()
    except (AssetError, ImportError) as error:
        _log.info("how far eyes are open is not looked at (%s)", error)
        return []
    count = len(among)
    read = np.linspace(0, count - 1, min(count, _READ)).round().astype(int)
    openings = [
        np.mean([read_eye(eye).opening for eye in find(faces.faces[index], own)])
        for index, own in zip(among[read].tolist(), landmarks[read], strict=True)
    ]
    return [np.interp(np.arange(count), read, openings)]
