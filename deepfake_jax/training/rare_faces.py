"""How rarely a face's eyes, mouth and pose are as they are, among its person's faces.

Footage is mostly of open eyes and calm mouths. A blink is one face in thirty, and a
network that opens its eyes loses next to nothing by it. Drawn more often, it counts.
Nothing is recognised: looks are compared with those of the person's other faces, since
the landmarks of the face mesh stay open where eyes close.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from deepfake_jax.imaging.affine import umeyama
from deepfake_jax.types import Affine, Face, Landmarks

_WIDTH, _HEIGHT = 24, 16  # pixels of the small pictures that are compared
_EYES = ((36, 39), (42, 45))  # corners of each, image-left first
_LIPS = slice(48, 68)
_REFERENCES = 1000  # faces that each is compared with, at most
# A face is as dense as others lie within this share of the median distance of any two.
_NEAR = 0.35
_MOST = 10.0  # how much oftener than the median face one is drawn, at most
_CONTRAST = 4.0  # grey levels; flat eyes in the dark are not all noise


def weigh_rare(
    faces: UInt8[np.ndarray, "_ h w 3"],
    landmarks: Float64[np.ndarray, "_ 68 2"],
    among: Int[np.ndarray, "n"],
) -> Float64[np.ndarray, "n"]:
    """Probabilities to draw some of a person's faces by: the rarer, the higher.

    The mean of three, by the looks of the eyes, the looks of the mouth and by where the
    landmarks lie; each one over the density of alike faces, up to ten times the
    median's.

    Args:
        faces: of one person.
        landmarks: of all of them, in the pixels of their pictures.
        among: which of them.
    """
    own = landmarks[among]
    eyes, mouths = [], []
    for index, shown in zip(among.tolist(), own, strict=True):
        eyes.append([_look(faces[index], matrix) for matrix in _eye_windows(shown)])
        mouths.append(_look(faces[index], _mouth_window(shown)))
    shapes = own[:, 17:] - own[:, 17:].mean(axis=0)
    looks = (np.array(eyes), np.array(mouths), shapes)
    return np.mean([_invert_density(_flatten(look)) for look in looks], axis=0)


def _eye_windows(landmarks: Landmarks) -> list[Affine]:
    ends = np.array([[0.2 * _WIDTH, _HEIGHT / 2], [0.8 * _WIDTH, _HEIGHT / 2]])
    return [umeyama(landmarks[list(corners)], ends) for corners in _EYES]


def _mouth_window(landmarks: Landmarks) -> Affine:
    """Around the mouth's middle, as wide as the eyes lie apart, whatever it does."""
    apart = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    scale = _WIDTH / (0.9 * apart)
    middle = landmarks[_LIPS].mean(axis=0)
    offset = np.array([_WIDTH, _HEIGHT]) / 2 - scale * middle
    return np.column_stack([scale * np.eye(2), offset])


def _look(face: Face, window: Affine) -> Float32[np.ndarray, "16 24"]:
    """A small grey picture without its brightness and contrast."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Shrunk some four times: blurred first, or single pixels would speak for all.
    scale = float(np.hypot(*window[:, 0]))
    grey = cv2.GaussianBlur(grey, (0, 0), 0.5 / scale)
    small = cv2.warpAffine(grey, window, (_WIDTH, _HEIGHT))
    return (small - small.mean()) / (small.std() + _CONTRAST)


def _flatten(looks: np.ndarray) -> Float32[np.ndarray, "n m"]:
    return looks.reshape(len(looks), -1).astype(np.float32)


def _invert_density(looks: Float32[np.ndarray, "n m"]) -> Float64[np.ndarray, "n"]:
    count = len(looks)
    picked = np.linspace(0, count - 1, min(count, _REFERENCES)).round().astype(int)
    others = looks[picked]
    squares = (looks**2).sum(1)[:, None] + (others**2).sum(1) - 2 * looks @ others.T
    squares = np.maximum(squares.astype(np.float64), 0)
    near = _NEAR**2 * max(float(np.median(squares)), 1e-12)
    rarity = 1 / np.exp(-squares / (2 * near)).mean(axis=1)
    rarity = np.minimum(rarity, _MOST * float(np.median(rarity)))
    return rarity / rarity.sum()
