"""A drawing of a face, so that the examples need no footage of anyone."""

import cv2
import numpy as np

from deepfake_jax.types import Face


def draw_face(
    rng: np.random.Generator, *, skin: tuple[int, int, int] = (210, 160, 130)
) -> Face:
    """An oval with eyes and a mouth, uint8 RGB of 256 pixels; both move at random."""
    face = np.full((256, 256, 3), 60, np.uint8)
    x, y = rng.integers(-4, 5, 2).tolist()
    cv2.ellipse(face, (128 + x, 132 + y), (78, 100), 0, 0, 360, skin, -1)
    for eye in (98, 158):
        cv2.circle(face, (eye + x, 92 + y), 11, (50, 40, 40), -1)
    opening = int(rng.integers(4, 20))
    cv2.ellipse(face, (128 + x, 165 + y), (32, opening), 0, 0, 360, (150, 50, 50), -1)
    return cv2.GaussianBlur(face, (0, 0), 2)
