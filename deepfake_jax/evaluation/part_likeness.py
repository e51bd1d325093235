"""Whether the parts of drawn faces are parts of a face: eyes, nose and mouth as wholes.

Fine detail tells blur and noise. It does not tell a mouth that is pulled askew, two
mouths below each other, or patches of a face out of their places: those are made of
real detail. So windows around eyes, nose and mouth are compared with those of the
target's real faces: a part of a good swap looks like some real one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.evaluation.drawn_detail import RealCrops
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.types import Affine, Crops, Landmarks

_WIDTH, _HEIGHT = 32, 24  # pixels of a window
_BLUR = 0.8  # pixels of the crop; what is finer is measured as detail
_CONTRAST = 30.0  # norm of grey levels, below which a window is flat
# Half the width of each window, in distances of the eyes' outer corners.
_REACH = {"left_eye": 0.32, "right_eye": 0.32, "nose": 0.4, "mouth": 0.45}

Windows = Mapping[str, Float32[np.ndarray, "n pixels"]]


class RealParts(NamedTuple):
    """Windows of a person's real faces, and how alike these are among themselves.

    Attributes:
        windows: of each part.
        likeness: of each part, the mean cosine of some faces' windows to the most alike
            of others'.
    """

    windows: Windows
    likeness: Mapping[str, float]


def find_parts(
    crops: RealCrops,
    landmarks: Sequence[Landmarks],
    known: RealCrops,
    known_landmarks: Sequence[Landmarks],
) -> RealParts:
    """The real parts that a person's swaps are compared with.

    Args:
        crops: some faces of the person.
        landmarks: 68 of each, in the pixels of the face pictures.
        known: others.
        known_landmarks: theirs.
    """
    some, others = cut_parts(crops, landmarks), cut_parts(known, known_landmarks)
    return RealParts(others, {part: _match(some[part], others[part]) for part in some})


def part_likeness(
    drawn: Crops, landmarks: Sequence[Landmarks], real: RealParts
) -> float:
    """How near parts of drawn faces come to real ones, of real ones' nearness.

    The mean over the parts. In [0, 1]; 1 is as alike as the person's own faces are.

    Args:
        drawn: the faces.
        landmarks: 68 of each, or of what it was drawn of, in the face pictures' pixels.
        real: of the person who is to be seen.
    """
    found = cut_parts(drawn, landmarks)
    shares = [
        _match(found[part], windows) / max(real.likeness[part], 1e-6)
        for part, windows in real.windows.items()
    ]
    return float(np.mean(np.clip(shares, 0, 1)))


def cut_parts(crops: Crops, landmarks: Sequence[Landmarks]) -> Windows:
    """Grey windows around the parts, upright, each of mean 0 and norm 1.

    Args:
        crops: the faces.
        landmarks: 68 of each, in the pixels of the face pictures.
    """
    matrix = crop_matrix(crops.shape[1])
    shapes = [apply_affine(matrix, own) for own in landmarks]
    greys = [
        cv2.GaussianBlur(
            cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _BLUR
        )
        for crop in crops
    ]
    return {
        part: np.stack(
            [
                _cut(grey, _place(shape, part))
                for grey, shape in zip(greys, shapes, strict=True)
            ]
        )
        for part in _REACH
    }


def _place(landmarks: Landmarks, part: str) -> Affine:
    """From a window's pixels to the crop's."""
    right = landmarks[45] - landmarks[36]
    apart = max(float(np.linalg.norm(right)), 1.0)
    right = right / apart
    axes = np.column_stack([right, [-right[1], right[0]]])
    middle = {
        "left_eye": landmarks[36:42].mean(axis=0) - 0.06 * apart * axes[:, 1],
        "right_eye": landmarks[42:48].mean(axis=0) - 0.06 * apart * axes[:, 1],
        "nose": 0.4 * landmarks[27] + 0.6 * landmarks[30],
        "mouth": landmarks[48:68].mean(axis=0),
    }[part]
    axes = axes * (2 * _REACH[part] * apart / _WIDTH)
    center = np.array([_WIDTH - 1, _HEIGHT - 1]) / 2
    return np.column_stack([axes, middle - axes @ center])


def _cut(
    grey: Float32[np.ndarray, "side side"], matrix: Affine
) -> Float32[np.ndarray, "pixels"]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    window = cv2.warpAffine(
        *(grey, matrix, (_WIDTH, _HEIGHT)), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    window = window.ravel() - window.mean()
    return window / max(float(np.linalg.norm(window)), _CONTRAST)


def _match(
    windows: Float32[np.ndarray, "n pixels"], others: Float32[np.ndarray, "m pixels"]
) -> float:
    return float((windows @ others.T).max(axis=1).mean())
