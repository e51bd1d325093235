"""Masks in face space: which part of a swapped face is shown.

Masks are float32 in [0, 1], height width. Sizes are shares of the face's side, so that
a mask looks alike at any resolution.
"""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from deepfake_jax.convert_config import Combine
from deepfake_jax.imaging.mask_shapes import rectangle_mask
from deepfake_jax.types import DrawnMask, Face, Mask

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_BOX = np.ones((3, 3), np.uint8)


def feather_mask(mask: Mask, share: float) -> Mask:
    """Softens a mask's border inwards over about `share` of its side.

    The mask is eroded by half the width and blurred by as much, so that it ends where
    it ended before; a mask that fills the picture fades to 0 at the picture's edges.

    Args:
        mask: the mask; read to 1/255, which no picture shows.
        share: width of the border as a share of the side; 0 returns the mask.

    Raises:
        ValueError: share is not in [0, 0.5).
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"share must be in [0, 0.5), got {share}")
    radius = round(share * mask.shape[0] / 2)
    if radius == 0:
        return mask
    side = 2 * radius + 1
    eroded = _erode(_to_levels(mask), radius).astype(np.float32) / 255
    blurred = cv2.GaussianBlur(
        eroded, (side, side), radius / 2, borderType=cv2.BORDER_CONSTANT
    )
    # The blur's window is square, the eroded border nearly round: at slants it would
    # reach beyond the mask, by up to 2 %.
    return np.clip(blurred, 0, mask)


def erode_mask(mask: Mask, share: float) -> Mask:
    """Moves a mask's border inwards by `share` of its side; outwards if negative.

    Continuous in `share`: between whole pixels two results are mixed. What lies outside
    the picture counts as 0, so a mask that touches the picture's edge leaves it.

    Args:
        mask: the mask; read to 1/255.
        share: distance as a share of the side; 0 returns the mask.

    Raises:
        ValueError: share is not in (-0.5, 0.5).
    """
    if not -0.5 < share < 0.5:
        raise ValueError(f"share must be in (-0.5, 0.5), got {share}")
    if share == 0:
        return mask
    levels = _to_levels(mask)
    # Dilating is eroding what is not shown, where nothing comes in from outside.
    outside = 0 if share > 0 else 255
    levels = levels if share > 0 else 255 - levels
    radius = abs(share) * mask.shape[0]
    whole = math.floor(radius)
    near = _erode(levels, whole, outside=outside)
    further = _CROSS if _count_crosses(whole + 1) > _count_crosses(whole) else _BOX
    far = _erode_by(near, further, 1, outside)
    near, far = near.astype(np.float32), far.astype(np.float32)
    moved = (near + np.float32(radius - whole) * (far - near)) / 255
    return moved if share > 0 else 1 - moved


def combine_masks(masks: Sequence[Mask], how: Combine) -> Mask:
    """Joins masks of one shape.

    Args:
        masks: one or more.
        how: "product" multiplies; "union" is the product of what they hide, taken from
            1, so that soft borders add up; "minimum" shows what every mask shows.

    Raises:
        ValueError: no mask, or shapes differ.
    """
    if not masks:
        raise ValueError("masks must hold at least one mask")
    shapes = [mask.shape for mask in masks]
    if len(set(shapes)) > 1:
        raise ValueError(f"masks must have one shape, got {shapes}")
    if how == "minimum":
        return functools.reduce(np.minimum, masks)
    if how == "union":
        return 1 - functools.reduce(np.multiply, [1 - mask for mask in masks])
    return functools.reduce(np.multiply, masks)


def resize_mask(
    mask: DrawnMask, size: int
) -> Float32[np.ndarray, "mask_size mask_size"]:
    """A square mask at another size."""
    if len(mask) == size:
        return mask
    shrinks = size < len(mask)
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(mask, (size, size), interpolation=flag)


def _to_levels(mask: Mask) -> UInt8[np.ndarray, "height width"]:
    # OpenCV erodes bytes three times as fast as floats.
    return np.rint(mask * 255).astype(np.uint8)


def _erode(
    levels: UInt8[np.ndarray, "height width"], radius: int, *, outside: int = 0
) -> UInt8[np.ndarray, "height width"]:
    """Erodes by an octagon of that radius: a box, then steps of a cross.

    A disc costs twice as much at 10 pixels, and its cost grows with the radius squared;
    the octagon takes up to 8 % more than a disc halfway between its sides.
    """
    crosses = _count_crosses(radius)
    side = 2 * (radius - crosses) + 1
    levels = _erode_by(levels, np.ones((side, side), np.uint8), 1, outside)
    return _erode_by(levels, _CROSS, crosses, outside)


def _count_crosses(radius: int) -> int:
    return round((2 - math.sqrt(2)) * radius)  # a regular octagon's share


def _erode_by(
    levels: UInt8[np.ndarray, "height width"],
    kernel: UInt8[np.ndarray, "rows columns"],
    times: int,
    outside: int,
) -> UInt8[np.ndarray, "height width"]:
    return cv2.erode(
        levels,
        kernel,
        iterations=times,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=(outside,),
    )


def classic_mask(mask_size: int) -> Mask:
    """The mask inside `smooth_mask`: a box inset by a fifteenth, Gaussian 15 px, 10."""
    box = rectangle_mask(mask_size)
    return np.clip(cv2.GaussianBlur(box, (15, 15), 10), 0, 1)


def smooth_mask(old_face: Face, new_face: Face) -> Face:
    """Lays a new face over an old one with a soft border, as faceswap did in 2018.

    Args:
        old_face: the face of the frame, uint8 RGB; the classic works at 160 pixels.
        new_face: the swapped face, of the same shape.

    Returns:
        uint8 RGB: the new face inside, the old one at the edges.

    Raises:
        ValueError: the shapes differ.
    """
    if old_face.shape != new_face.shape:
        raise ValueError(
            f"old_face and new_face must have one shape, got {old_face.shape} and "
            f"{new_face.shape}"
        )
    mask = classic_mask(len(old_face))[:, :, None]
    blended = mask * new_face + (1 - mask) * old_face
    return np.rint(np.clip(blended, 0, 255)).astype(np.uint8)
