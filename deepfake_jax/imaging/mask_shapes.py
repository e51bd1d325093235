"""Masks of plain geometry; NumPy alone, so that the networks' side can use them.

Like all masks float32 in [0, 1], height width, see `mask`.
"""

import numpy as np

from deepfake_jax.types import Mask


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
