"""Masks drawn from 68 landmarks: the face, with the forehead, or only its features.

Landmarks are in pixels of the mask, in iBUG's order. Masks are float32 in [0, 1],
height width. They follow the landmarks continuously: the border is shaded by its
distance, so a landmark that moves by a hundredth of a pixel changes no value by more
than a few hundredths.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix, template_landmarks
from deepfake_jax.types import Landmarks, Mask

_BROWS = slice(17, 27)
_EYES = slice(36, 48)
_NOSE = slice(27, 36)
_NOSTRILS = slice(31, 36)
_LIPS = slice(48, 68)
# How far brows are raised, in heights of the forehead: a flat arch over the face. At
# the middle a quarter of the forehead is left out, for fringes and the hairline.
_LIFT = np.array([0.36, 0.56, 0.68, 0.74, 0.76, 0.76, 0.74, 0.68, 0.56, 0.36])
# Skin around eyes and lips, in distances of the eyes: they move with it, and a soft
# border, which runs inwards, must not eat them.
_MARGIN = 0.25
_BROW = 0.05  # half the height of a brow, in distances of the eyes
_SHIFT = 4  # binary digits of the corners' fractions as OpenCV draws them
_JOIN = 0.02  # rounding where eyes and nose meet, as a share of the side


def mean_landmarks(mask_size: int) -> Float64[np.ndarray, "68 2"]:
    """The mean face in pixels of a mask, for faces without landmarks of their own."""
    return apply_affine(crop_matrix(mask_size), template_landmarks(count=68))


def hull_mask(landmarks: Landmarks, mask_size: int) -> Mask:
    """The convex hull of all landmarks: from brows to chin, without the forehead.

    Raises:
        ValueError: landmarks are not 68.
    """
    return fill_hull(check_landmarks(landmarks), mask_size)


def extended_mask(landmarks: Landmarks, mask_size: int) -> Mask:
    """The hull with three quarters of the forehead.

    The brows are raised towards the hairline. A forehead is taken to be as high as the
    nose is long, so the way up is from below the nose (point 33) to its root (27),
    from there on by `_LIFT` of that length. Brows that rise with a look of surprise
    hardly raise the mask's top: it follows the nose.

    The crop that the network redraws ends little above this arch, so on a face that
    looks up the mask may be cut by the crop's edge; `feather_mask` lets it fade there.

    Raises:
        ValueError: landmarks are not 68.

    Reference:
        The neoclassical canon of equal thirds, hairline to nasion = nasion to
        subnasale: Farkas et al. 1985, "Vertical and horizontal proportions of the face
        in young adult North American Caucasians", Plastic and Reconstructive Surgery
        75(3). They found it to vary widely, hence the quarter left out.
    """
    landmarks = check_landmarks(landmarks)
    forehead = landmarks[27] - landmarks[33]
    up = forehead / max(float(np.linalg.norm(forehead)), 1e-6)
    brows = landmarks[_BROWS]
    # Along the face's vertical, brows count from the nose's root; across it they keep
    # their place.
    height = (brows - landmarks[27]) @ up
    target = _LIFT * np.linalg.norm(forehead)
    raised = brows + np.maximum(target - height, 0)[:, None] * up
    return fill_hull(np.concatenate([landmarks, raised]), mask_size)


def eyes_mask(landmarks: Landmarks, mask_size: int) -> Mask:
    """Both eyes with their brows and what lies between, with a margin of skin.

    Raises:
        ValueError: landmarks are not 68.
    """
    landmarks = check_landmarks(landmarks)
    corners = np.concatenate([landmarks[_BROWS], landmarks[_EYES]])
    return fill_hull(corners, mask_size, margin=_margin(landmarks))


def eyes_mouth_mask(landmarks: Landmarks, mask_size: int) -> Mask:
    """Eyes with brows, and nose with mouth: a T whose inner corners are rounded.

    Cheeks, chin and outline stay the frame's own.

    Raises:
        ValueError: landmarks are not 68.
    """
    landmarks = check_landmarks(landmarks)
    corners = np.concatenate([landmarks[_NOSE], landmarks[_LIPS]])
    lower = fill_hull(corners, mask_size, margin=_margin(landmarks))
    joined = np.maximum(eyes_mask(landmarks, mask_size), lower)
    # Blurring rounds corners; the gain makes the border a pixel wide again.
    sigma = max(_JOIN * mask_size, 0.5)
    blurred = cv2.GaussianBlur(joined, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    gain = np.float32(sigma * np.sqrt(2 * np.pi))
    return np.clip((blurred - 0.5) * gain + 0.5, 0, 1)


def features_mask(landmarks: Landmarks, mask_size: int, *, margin: float = 0.0) -> Mask:
    """Eyes with brows, and mouth up to the nostrils: what tells whose face it is.

    Args:
        landmarks: 68, in the mask's pixels.
        mask_size: side of the mask.
        margin: pixels that both parts are grown by.

    Raises:
        ValueError: landmarks are not 68.
    """
    landmarks = check_landmarks(landmarks)
    brows = landmarks[_BROWS]
    # Landmarks run along the middle of the brows.
    thick = np.array([0.0, _BROW * eye_span(landmarks)])
    upper = np.concatenate([brows - thick, brows + thick, landmarks[_EYES]])
    lower = np.concatenate([landmarks[_NOSTRILS], landmarks[_LIPS]])
    parts = [fill_hull(part, mask_size, margin=margin) for part in (upper, lower)]
    return np.maximum(*parts)


def fill_hull(
    points: Float[Any, "n 2"], mask_size: int, *, margin: float = 0.0
) -> Mask:
    """The convex hull of points, its border shaded over a pixel.

    A pixel's value is 0.5 less its distance to the hull's outline, in [0, 1]. OpenCV's
    antialiased fill is no choice: it draws 0.7 pixels too large, and a pixel of it
    jumped by 0.36 when the points moved by 0.02.

    Args:
        points: (x, y) in pixels; fewer than three corners give an empty mask.
        mask_size: side of the mask in pixels.
        margin: pixels that the hull is grown by, with round corners.
    """
    points = np.asarray(points, np.float32)
    if margin > 0:
        angles = np.arange(16) * (np.pi / 8)
        ring = margin * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = (points[:, None] + ring.astype(np.float32)).reshape(-1, 2)
    hull = cv2.convexHull(points)[:, 0].astype(np.float64)
    inside = np.zeros((mask_size, mask_size), np.uint8)
    if len(hull) < 3 or cv2.contourArea(hull.astype(np.float32)) < 1e-3:
        return inside.astype(np.float32)
    corners = np.rint(hull * 2**_SHIFT).astype(np.int32)
    cv2.fillConvexPoly(inside, corners, 1, shift=_SHIFT)
    mask = inside.astype(np.float32)
    # Distances are needed at the border only: a fraction of the picture.
    cv2.polylines(inside, [corners], True, 2, thickness=4, shift=_SHIFT)
    y, x = np.nonzero(inside == 2)
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    normals /= np.linalg.norm(edges, axis=1, keepdims=True)
    offsets = (normals * hull).sum(axis=1, keepdims=True)
    planes = np.concatenate([normals, -offsets], axis=1)
    if planes[0, :2] @ hull.mean(axis=0) + planes[0, 2] > 0:
        planes = -planes  # they look outwards
    pixels = np.stack([x, y, np.ones_like(x)]).astype(np.float32)
    distance = (planes.astype(np.float32) @ pixels).max(axis=0)
    mask[y, x] = np.clip(0.5 - distance, 0, 1)
    return mask


def _margin(landmarks: Landmarks) -> float:
    return _MARGIN * eye_span(landmarks)


def eye_span(landmarks: Landmarks) -> float:
    """Distance of the middles of the eyes."""
    distance = landmarks[36:42].mean(axis=0) - landmarks[42:48].mean(axis=0)
    return float(np.linalg.norm(distance))


def check_landmarks(landmarks: Landmarks) -> Landmarks:
    """68 landmarks as float64.

    Raises:
        ValueError: they are not 68.
    """
    if landmarks.shape != (68, 2):
        raise ValueError(
            f"landmarks must be 68 points of (x, y), got {landmarks.shape}; a set "
            "extracted with `--landmarks none` has none"
        )
    return np.asarray(landmarks, np.float64)
