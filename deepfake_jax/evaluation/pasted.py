"""What is seen of the pasting: the source's features that show beside it, and its tint.

Faces are aligned pictures, uint8 RGB; masks are those that a conversion pastes by, in
the same pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from deepfake_jax.conversion.face_mask import (
    draw_mask,
    finish_mask,
    mask_options,
    split_answer,
)
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.evaluation.drawn_detail import RealCrops
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.color import transfer_color
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.imaging.fringe_mask import leave_fringes
from deepfake_jax.imaging.glasses import Glasses, glasses_mask
from deepfake_jax.imaging.landmark_masks import features_mask
from deepfake_jax.types import Crops, Face, Landmarks, Mask

_SMOOTH = 1 / 24  # of the side: colors are compared without the features' edges
_HAIR = 15.0  # of L*, by which hair is darker than skin; shaded skin seldom is


def measure_leak(masks: Sequence[Mask], landmarks: Sequence[Landmarks]) -> float:
    """Share of the sources' mouths, eyes and brows that masks leave visible.

    In [0, 1]; 0 is best. What shines through a soft border counts by how much.

    Args:
        masks: of one swap each.
        landmarks: 68 of each source, in its mask's pixels.
    """
    seen = whole = 0.0
    for mask, own in zip(masks, landmarks, strict=True):
        features = features_mask(own, mask.shape[0])
        seen += float((features * (1 - mask)).sum())
        whole += float(features.sum())
    return seen / whole if whole else 0.0


def measure_tint(
    results: Sequence[Face],
    sources: Sequence[Face],
    masks: Sequence[Mask],
    landmarks: Sequence[Landmarks],
) -> float:
    """Difference in color of swapped skin from the skin that it replaces, Delta E.

    The mean over the mask and its rim, features left out, of the distance in CIELAB
    after both pictures are smoothed; 0 is best, 2 is hardly seen. What is much darker
    than the rest of a face is hair: one man's beard is no tint of the other's chin.

    Reference:
        CIE 15:2004, Delta E*ab of 1976.
    """
    found = []
    for result, source, mask, own in zip(
        results, sources, masks, landmarks, strict=True
    ):
        skin = mask * (1 - features_mask(own, mask.shape[0]))
        if skin.sum() < 1:
            continue
        one, other = _smooth_lab(result, skin), _smooth_lab(source, skin)
        skin = skin * ~(_is_hair(one, skin) | _is_hair(other, skin))
        distance = np.linalg.norm(one - other, axis=2)
        found.append(float((distance * skin).sum() / max(float(skin.sum()), 1e-6)))
    return float(np.mean(found)) if found else 0.0


def _is_hair(
    lab: Float32[np.ndarray, "height width 3"], weights: Mask
) -> Bool[np.ndarray, "height width"]:
    light = lab[..., 0]
    return light < np.median(light[weights >= 0.5 * weights.max()]) - _HAIR


def _smooth_lab(face: Face, weights: Mask) -> Float32[np.ndarray, "height width 3"]:
    """CIELAB of a face, smoothed over the places that have a weight alone."""
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    sigma = _SMOOTH * face.shape[0]
    weighed = cv2.GaussianBlur(lab * weights[..., None], (0, 0), sigma)
    return (
        weighed / np.maximum(cv2.GaussianBlur(weights, (0, 0), sigma), 1e-3)[..., None]
    )


class Pasted(NamedTuple):
    """Crops with their swaps pasted.

    Attributes:
        crops: as a conversion would leave them.
        leak: see `measure_leak`.
        tint: see `measure_tint`.
    """

    crops: Crops
    leak: float
    tint: float


def paste_swaps(
    answers: Float32[np.ndarray, "k size size c"],
    real: RealCrops,
    landmarks: Float64[np.ndarray, "k 68 2"],
    glasses: Glasses | None = None,
) -> Pasted:
    """Crops pasted by the default mask and color, not sharpened.

    What glasses cover of eyes and brows is no leak.

    Args:
        answers: the network's, levels, with its mask where it draws one; see
            `Swapper.draw_levels`.
        real: the crops that they were made of.
        landmarks: of each, in the pixels of the face pictures.
        glasses: those of the sources that stay before the new face, or None.
    """
    config, size = ConvertConfig(), real.shape[1]
    options = mask_options(config)
    results, masks, shapes = [], [], []
    for answer, old, own in zip(answers, real, landmarks, strict=True):
        moved = apply_affine(crop_matrix(size), own)
        new, seen = split_answer(answer, options)
        drawn = draw_mask(options, face=old, landmarks=moved, mask_size=size, seen=seen)
        new, mask, cover = leave_fringes(old, new, moved, drawn.mask, drawn.cover)
        matched = transfer_color(old, new, config.color, mask=mask)
        mask = finish_mask(mask, options, cover=cover)
        free = 1.0 if glasses is None else 1 - glasses_mask(old, moved, glasses, size)
        opacity = (mask * free)[..., None]
        results.append(np.rint(old + opacity * (matched.astype(float) - old)))
        masks.append(mask)
        shapes.append(moved)
    pasted = np.stack(results).astype(np.uint8)
    return Pasted(
        pasted,
        measure_leak(masks, shapes),
        measure_tint(list(pasted), list(real), masks, shapes),
    )
