"""Masks in face space: which part of a swapped face is shown.

Masks are float32 in [0, 1], height width. Sizes are shares of the face's side, so that
a mask looks alike at any resolution.
"""

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.types import Face, Mask


def rectangle_mask(face_size: int, *, inset: float = 1 / 15) -> Mask:
    """A box of ones, `inset` of the side away from every edge.

    Raises:
        ValueError: inset leaves nothing.
    """
    if not 0 <= inset < 0.5:
        raise ValueError(f"inset must be in [0, 0.5), got {inset}")
    border = int(face_size * inset)
    mask = np.zeros((face_size, face_size), np.float32)
    mask[border : face_size - border, border : face_size - border] = 1
    return mask


def oval_mask(
    face_size: int,
    *,
    width: float = 0.94,
    height: float = 0.94,
    exponent: float = 2.5,
) -> Mask:
    """A centred superellipse of ones: the outline of an aligned face, brow to chin.

    Args:
        face_size: side of the mask in pixels.
        width: of the figure, as a share of the side.
        height: likewise.
        exponent: 2 is an ellipse, larger ones tend to a rectangle.
    """
    line = (np.arange(face_size) + 0.5) / face_size * 2 - 1
    radius = np.abs(line / width) ** exponent
    distance = radius[None, :] + np.abs(line[:, None] / height) ** exponent
    return (distance <= 1).astype(np.float32)


def feather_mask(mask: Mask, share: float) -> Mask:
    """Softens a mask's border inwards over about `share` of its side.

    The mask is eroded by half the width and blurred by as much, so that it ends where
    it ended before; a mask that fills the picture fades to 0 at the picture's edges.

    Args:
        mask: the mask.
        share: width of the border as a share of the side; 0 returns the mask.
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"share must be in [0, 0.5), got {share}")
    radius = round(share * mask.shape[0] / 2)
    if radius == 0:
        return mask
    padded = np.pad(mask, 2 * radius)
    side = 2 * radius + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    eroded = cv2.erode(padded, kernel)
    blurred = cv2.GaussianBlur(eroded, (side, side), radius / 2)
    inner = slice(2 * radius, -2 * radius)
    # The blur's window is square, the eroded border round: at slants it would reach
    # beyond the mask, by up to 2 %.
    return np.clip(blurred[inner, inner], 0, mask)


def classic_mask(height: int, width: int) -> Float32[np.ndarray, "height width"]:
    """The mask inside `smooth_mask`: a box inset by a fifteenth, Gaussian 15 px, 10."""
    mask = np.zeros((height, width), np.float32)
    mask[height // 15 : height - height // 15, width // 15 : width - width // 15] = 1
    return np.clip(cv2.GaussianBlur(mask, (15, 15), 10), 0, 1)


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
    mask = classic_mask(*old_face.shape[:2])[:, :, None]
    blended = mask * new_face + (1 - mask) * old_face
    return np.rint(np.clip(blended, 0, 255)).astype(np.uint8)
