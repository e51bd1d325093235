"""Colour of a swapped face, matched to the face that it replaces.

Faces are RGB; statistics and sums are float, rounded once at the end.
"""

import numpy as np

from deepfake_jax.types import Face, Mask


def adjust_avg_color(
    old_face: Face, new_face: Face, *, mask: Mask | None = None
) -> Face:
    """Gives a new face the mean colour of the old one, channel by channel.

    The classic takes the whole square; with a mask, pixels weigh as much as they show.
    ``adjust_avg_color(x, x)`` is ``x``.

    Args:
        old_face: the face of the frame, uint8.
        new_face: the swapped face, uint8, same shape.
        mask: weights in [0, 1], or None for all alike.

    Returns:
        The new face, moved in colour, clipped to 0 to 255 and rounded.

    Raises:
        ValueError: the shapes differ.
    """
    if old_face.shape != new_face.shape:
        raise ValueError(
            f"old_face and new_face must have one shape, got {old_face.shape} and "
            f"{new_face.shape}"
        )
    if mask is not None and mask.shape != old_face.shape[:2]:
        raise ValueError(
            f"mask must have the faces' height and width {old_face.shape[:2]}, got "
            f"{mask.shape}"
        )
    if mask is None or not mask.any():
        weights = np.full(old_face.shape[:2], 1 / old_face[..., 0].size)
    else:
        weights = mask / mask.sum(dtype=np.float64)
    difference = old_face.astype(np.float64) - new_face
    shift = np.tensordot(weights, difference, axes=2)
    return np.rint(np.clip(new_face + shift, 0, 255)).astype(np.uint8)
