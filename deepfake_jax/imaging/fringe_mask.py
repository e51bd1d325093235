"""Hair that hangs over a forehead: neither person's belongs to a swapped face.

The mask of a face reaches to where a hairline usually is. Of who has hair below it, a
tuft would be drawn on the other's bare forehead, and whose own hair falls there would
lose it; so at the temples. Above the brows and beside them hair is what is far darker
than the same side's cheek. Hair as bright as skin is not found.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.imaging.affine import apply_affine, resize_affine
from deepfake_jax.imaging.drawn_border import TRACE, spread_color
from deepfake_jax.imaging.landmark_masks import (
    check_landmarks,
    eye_span,
    fill_hull,
)
from deepfake_jax.imaging.mask import resize_mask
from deepfake_jax.types import DrawnFace, Face, Landmarks, Mask

_SIDE = 128  # pixels at which it is looked for
# Shares of the cheek's lightness by which hair begins, and surely is, darker. Foreheads
# in shade are darker by up to 0.25, black hair by 0.6.
_LOW, _HIGH = 0.3, 0.45
_BORDER, _BLUR = 7, 1.2  # pixels
_STRAY = 10.0  # of L*, by which what is darker than a fit is a wrinkle, not skin
_ROUNDS = 4
_FEWEST = 50  # pixels of skin, to fit its light
_REACH = 0.05  # of a face's side, from which skin is taken to paint over hair
# Above the old brows, in distances of the eyes, what is dark in a new face is its hair:
# its brows may lie somewhat higher than these.
_OWN_ABOVE, _ABOVE = 0.09, 0.12
_BESIDE = 0.07  # likewise, beyond the brows' ends
_SKIN = 0.6  # of the usual level, below which nothing is taken
_AXIS = np.arange(_SIDE, dtype=np.float64)


def fringe_mask(
    face: DrawnFace, landmarks: Landmarks, mask_size: int, *, above: float = _OWN_ABOVE
) -> Mask:
    """1 above the brows and beside them where hair is, 0 elsewhere.

    Args:
        face: RGB levels, side x side.
        landmarks: 68, in pixels of the mask.
        mask_size: side of the mask, which lies over the whole face.
        above: how far above the brows' middles hair is looked for, in distances of the
            eyes: further where the landmarks are not the face's own.

    Raises:
        ValueError: landmarks are not 68.
    """
    landmarks = check_landmarks(landmarks)
    own = apply_affine(resize_affine(_SIDE / mask_size), landmarks)
    fringe = _hair_in(_find_forehead(own, above), _find_hair(face, own))
    return resize_mask(fringe, mask_size)


def leave_fringes(
    old: Face, new: DrawnFace, landmarks: Landmarks, mask: Mask, cover: Mask | None
) -> tuple[DrawnFace, Mask, Mask | None]:
    """The new face without its own hair over the forehead, where the old one's stays.

    Where hair was drawn the old forehead shows, but for its brows: there it is bare.
    Hair beside the face, which a cover of brows would reach, stays, too.

    Args:
        old: the frame's face.
        new: the one to be shown, of its size.
        landmarks: 68 of `old`, in its pixels.
        mask: what of `new` is shown.
        cover: what of it is shown at least.

    Returns:
        The new face, the mask and the cover.
    """
    landmarks = check_landmarks(landmarks)
    placed = apply_affine(resize_affine(_SIDE / len(old)), landmarks)
    hair, forehead = _find_hair(old, placed), _find_forehead(placed, _OWN_ABOVE)
    own = _hair_in(forehead, hair)
    drawn = resize_mask(fringe_mask(new, landmarks, len(new), above=_ABOVE), _SIDE)
    drawn = np.maximum(drawn - own, 0)
    new = clear_forehead(new, resize_mask(drawn, len(new)))
    if cover is not None:
        beside = _hair_in(np.maximum(forehead, 1 - resize_mask(mask, _SIDE)), hair)
        cover = cover * (1 - resize_mask(beside, len(mask)))
    own, drawn = (1 - resize_mask(one, len(mask)) for one in (own, drawn))
    return new, mask * own * drawn, cover


def clear_forehead(face: DrawnFace, fringe: Mask) -> DrawnFace:
    """A face whose fringe is painted over with the skin around it, smoothly.

    Args:
        face: RGB levels, side x side.
        fringe: `fringe_mask` of it, of its size.
    """
    rows = np.nonzero(fringe.any(axis=1))[0]
    if not len(rows):
        return face
    sigma = _REACH * len(face)
    end = min(int(rows[-1] + 3 * sigma) + 1, len(face))
    upper, hidden = face[:end].astype(np.float32), fringe[:end, :, None]
    # Brows and the hair's own soft border are no skin.
    grey, bare = cv2.cvtColor(upper, cv2.COLOR_RGB2GRAY), hidden[..., 0] == 0
    usual = np.median(grey[bare]) if bare.any() else np.inf
    skin = (bare & (grey > _SKIN * usual)).astype(np.float32)
    painted, weight = spread_color(upper, skin, sigma)
    hidden = np.where(weight > TRACE, hidden, 0)
    cleared = face.astype(np.float32)
    cleared[:end] += hidden * (painted - upper)
    return cleared


def _find_hair(face: DrawnFace, landmarks: Landmarks) -> Mask:
    """How surely each place is hair; landmarks and answer at `_SIDE`."""
    light = _find_light(face)
    return _darker(light, _cheek_light(light, landmarks))


def _hair_in(region: Mask, hair: Mask) -> Mask:
    """The hair of a region, with its own soft border, which would stay as a line."""
    found = hair * region
    if not found.any():
        return found
    found = cv2.dilate(found, np.ones((_BORDER, _BORDER), np.uint8))
    return cv2.GaussianBlur(found, (0, 0), _BLUR) * region


def _find_light(face: DrawnFace) -> Float32[np.ndarray, "side side"]:
    """A face's L* of CIELAB, at `_SIDE`."""
    way = cv2.INTER_AREA if len(face) > _SIDE else cv2.INTER_LINEAR
    small = cv2.resize(face, (_SIDE, _SIDE), interpolation=way)
    return cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]


def _find_forehead(landmarks: Landmarks, above: float) -> Mask:
    """All that lies above the brows, and the temples beside them."""
    up, height = _up(landmarks), _heights(landmarks)
    raised = landmarks[17:27] + above * eye_span(landmarks) * up
    below = fill_hull(np.concatenate([landmarks[:17], raised]), _SIDE)
    forehead = (1 - below) * (height > landmarks[27] @ up)
    across = np.add.outer(_AXIS * up[0], _AXIS * -up[1])
    ends = landmarks[17:27] @ [-up[1], up[0]]
    beyond = np.maximum(ends.min() - across, across - ends.max())
    beyond -= _BESIDE * eye_span(landmarks)
    # Further down beards begin; the end is soft, so that no mask gets a step.
    low, high = landmarks[33] @ up, landmarks[28] @ up
    upper = np.clip((height - low) / max(high - low, 1), 0, 1)
    temples = np.clip(0.5 + beyond, 0, 1) * upper
    return np.maximum(forehead, temples).astype(np.float32)


def _cheek_light(
    light: Float32[np.ndarray, "side side"], landmarks: Landmarks
) -> Float32[np.ndarray, "side side"] | None:
    """The light of cheeks and nose, which may change from side to side; None: unseen.

    Upwards it is taken to stay: a beard below would say that foreheads shine.
    """
    up, height = _up(landmarks), _heights(landmarks)
    skin = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillConvexPoly(skin, cv2.convexHull(np.rint(landmarks[:17]).astype(int)), 1)
    skin = cv2.erode(skin, np.ones((5, 5), np.uint8)) > 0
    # From below the lids to where the nose ends.
    lids = (landmarks[[40, 41, 46, 47]] @ up).min() - 0.1 * eye_span(landmarks)
    skin &= (height > landmarks[33] @ up) & (height < lids)
    if skin.sum() < _FEWEST:
        return None
    across = np.add.outer(_AXIS * up[0], _AXIS * -up[1])
    at, levels = across[skin], light[skin]
    used = levels > np.median(levels) - _STRAY
    fit = np.zeros_like(across)
    for _ in range(_ROUNDS):
        if used.sum() < _FEWEST:
            return None
        x, y = at[used], levels[used]
        slope = np.mean((x - x.mean()) * (y - y.mean())) / max(float(x.var()), 1e-6)
        fit = y.mean() + slope * (across - x.mean())
        used = levels > fit[skin] - _STRAY
    return fit.astype(np.float32)


def _darker(
    light: Float32[np.ndarray, "side side"],
    cheek: Float32[np.ndarray, "side side"] | None,
) -> Float32[np.ndarray, "side side"]:
    """How surely places are hair, by how much darker they are than the cheek."""
    if cheek is None:
        return np.zeros_like(light)
    share = 1 - light / np.maximum(cheek, 10)
    return np.clip((share - _LOW) / (_HIGH - _LOW), 0, 1)


def _heights(landmarks: Landmarks) -> Float64[np.ndarray, "side side"]:
    """How far up each pixel lies."""
    up = _up(landmarks)
    return np.add.outer(_AXIS * up[1], _AXIS * up[0])


def _up(landmarks: Landmarks) -> Float64[np.ndarray, "2"]:
    """The way from below the nose to its root, of length 1."""
    nose = landmarks[27] - landmarks[33]
    return nose / max(float(np.linalg.norm(nose)), 1e-6)
