"""Masks of hands, drawn from their points.

A hand is 21 points (x, y): the wrist, then from the thumb on four of each finger, from
its root to its tip, as MediaPipe numbers them.
"""

import cv2
import numpy as np

from deepfake_jax.types import Hands, Mask

_PALM = [0, 1, 5, 9, 13, 17]
_FINGERS = [[0, 1, 2, 3, 4], *([r, r + 1, r + 2, r + 3] for r in (5, 9, 13, 17))]
# Fingers' width over the distance of two knuckles, and the soft border's over it.
_WIDTH, _BORDER = 1.0, 0.12
_SHIFT = 4  # binary digits of the points' fractions as OpenCV draws them


def no_hands() -> Hands:
    """Where there are none."""
    return np.zeros((0, 21, 2))


def hand_mask(hands: Hands, mask_size: int) -> Mask:
    """1 where hands are, 0 elsewhere, with a soft border.

    Args:
        hands: in the mask's pixels; they may reach out of it.
        mask_size: side of the mask.
    """
    mask = np.zeros((mask_size, mask_size), np.float32)
    for hand in hands:
        # Seen from its edge a palm is narrow, and its fingers are not.
        across = np.linalg.norm(hand[5] - hand[17]) / 3
        along = np.linalg.norm(hand[[5, 9, 13, 17]] - hand[0], axis=1).max() / 4.5
        width = max(_WIDTH * float(max(across, along)), 1.0)
        drawn = np.zeros((mask_size, mask_size), np.uint8)
        points = np.rint(hand * 2**_SHIFT).astype(np.int32)
        cv2.fillConvexPoly(drawn, cv2.convexHull(points[_PALM]), 255, shift=_SHIFT)
        lines = [points[finger] for finger in [*_FINGERS, [*_PALM, 0]]]
        for line in lines:
            cv2.polylines(drawn, [line], False, 255, round(width), shift=_SHIFT)
        soft = cv2.GaussianBlur(drawn, (0, 0), max(_BORDER * width, 0.6))
        mask = np.maximum(mask, soft.astype(np.float32) / 255)
    return mask
