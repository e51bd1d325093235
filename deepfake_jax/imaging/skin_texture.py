"""The fine texture of a frame's own skin, which no network draws.

A run that draws a person's own face draws what it knows of it: what the frame shows
beyond that, of narrow things, is pores, fine lines, the camera's grain and what light
makes of them, in the right place and pose. It says little about whose face it is.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.imaging.affine import affine_scale, compose_affine, resize_affine
from deepfake_jax.imaging.landmark_masks import (
    check_landmarks,
    eye_span,
    features_mask,
    fill_hull,
)
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.types import Affine, DrawnFace, Frame, Landmarks, Mask

_COARSEST = 0.012  # of the crop's side: wider things are light, which colors match
_LATTICE = 0.01  # of the crop's side, over which a drawn face is smoothed
_AROUND = 0.015  # of the crop's side, over which it is said how strong detail is
# Multiples of the skin's usual detail from which on it is no texture of skin: edges of
# hair, glasses, fingers and nostrils, which the two faces have in different places.
_STRONGEST, _SHARPLY = 1.5, 8
_NOISE = 0.5  # levels, below which detail is rounding
_NOSE = slice(29, 36)  # its tip and wings
_FADE, _GROWN = 0.05, 0.06  # of the crop's side; of the distance of the eyes


class KnownFace(NamedTuple):
    """What a run knows of a face.

    Attributes:
        redrawn: the person's own face as the run draws it, grey levels.
        skin: where its skin is bare, see `bare_skin`; over the same square.
    """

    redrawn: Float32[np.ndarray, "side side"]
    skin: Mask


def bare_skin(landmarks: Landmarks, mask_size: int) -> Mask:
    """1 where a face has no eyes, brows, nose or mouth, softly 0 where it has.

    Noses have pores, but also the lines of their wings, which two people have in
    different places.

    Args:
        landmarks: 68, in the mask's pixels.
        mask_size: side of the mask.

    Raises:
        ValueError: landmarks are not 68.
    """
    landmarks = check_landmarks(landmarks)
    fade = _FADE * mask_size
    margin = _GROWN * eye_span(landmarks) + fade
    features = features_mask(landmarks, mask_size, margin=margin)
    nose = fill_hull(landmarks[_NOSE], mask_size, margin=margin)
    return 1 - feather_mask(np.maximum(features, nose), _FADE)


def know_face(redrawn: DrawnFace, landmarks: Landmarks, mask_size: int) -> KnownFace:
    """A face that a run redrew, RGB levels; the rest as in `bare_skin`.

    Networks draw a lattice of their own pixels, too: it is none of the frame's texture.
    """
    grey = cv2.cvtColor(redrawn.astype(np.float32), cv2.COLOR_RGB2GRAY)
    known = cv2.GaussianBlur(grey, (0, 0), _LATTICE * len(grey))
    return KnownFace(known, bare_skin(landmarks, mask_size))


def skin_texture(
    frame: Frame, known: KnownFace, to_frame: Affine
) -> Float32[np.ndarray, "height width"]:
    """What to add to each level of a face that is laid into a frame, for its texture.

    Args:
        frame: the box of the frame where the face is to lie.
        known: the frame's own face.
        to_frame: from the pixels of what is redrawn to those of the box.

    Returns:
        Grey levels, 0 where no skin is.
    """
    redrawn, skin = known
    size, side, scale = frame.shape[1::-1], len(redrawn), affine_scale(to_frame)
    if scale < 1:  # no aliases
        small = max(1, round(side * scale))
        redrawn = cv2.resize(redrawn, (small, small), interpolation=cv2.INTER_AREA)
    own = _lay(redrawn, to_frame, side, size)
    detail = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) - own
    detail -= _blur(detail, _COARSEST * side * scale)
    # How strong it is changes slowly: a smaller picture tells.
    around = _AROUND * side * scale
    ratio = max(1, round(around / 2))
    few = (max(1, size[0] // ratio), max(1, size[1] // ratio))
    to_few = compose_affine(resize_affine(few[0] / size[0], few[1] / size[1]), to_frame)
    shown = _lay(skin, to_few, side, few)
    energy = cv2.resize(detail * detail, few, interpolation=cv2.INTER_AREA)
    energy = _blur(energy, around / ratio)
    bare = shown > 0.5
    usual = float(np.sqrt(np.median(energy[bare]))) if bare.any() else _NOISE
    most = np.float32(_STRONGEST * max(usual, _NOISE))
    shown /= 1 + (energy / most**2) ** (_SHARPLY // 2)
    return np.clip(detail, -most, most) * cv2.resize(shown, size)


def _lay(
    picture: Float32[np.ndarray, "n n"], matrix: Affine, side: int, size: tuple
) -> Float32[np.ndarray, "height width"]:
    """A picture that covers a square of `side` pixels, through the square's matrix."""
    matrix = compose_affine(matrix, resize_affine(side / len(picture)))
    return cv2.warpAffine(
        picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _blur(
    picture: Float32[np.ndarray, "height width"], sigma: float
) -> Float32[np.ndarray, "height width"]:
    return cv2.GaussianBlur(picture, (0, 0), max(sigma, 1.0))
