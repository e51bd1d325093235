"""Scene cuts: two neighbouring frames that show different pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.media.frame_parts import reduce_roughly
from deepfake_jax.media.timed_frames import TimedFrame

_HEIGHT, _WIDTH = 18, 32
# Measured on real footage: within a scene the likeness stays above 0.5 also when the
# camera pans fast or a hand passes, across its cuts it is below 0.25.
CUT_LIKENESS = 0.35
# A cut between two pictures of like layout shows in their colours.
_DOUBTFUL_LIKENESS, _SHARED_COLOURS = 0.6, 0.7


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A frame reduced to what tells scenes apart.

    Attributes:
        grey: brightness, zero mean and unit deviation.
        colours: share of the frame in each of 512 colours.
    """

    grey: Float32[np.ndarray, "18 32"]
    colours: Float32[np.ndarray, "512"]


def make_thumbnail(timed: TimedFrame) -> Thumbnail:
    """Reduces a frame for `is_cut`."""
    small = reduce_roughly(timed, height=2 * _HEIGHT, width=2 * _WIDTH)
    colours = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    grey = grey.astype(np.float32)
    # Some grey levels are added so that noise in a black frame is no picture.
    grey = (grey - grey.mean()) / (grey.std() + 4)
    return Thumbnail(grey, colours / colours.sum())


def is_cut(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether a new scene begins between two neighbouring frames."""
    likeness = float((before.grey * after.grey).mean())
    flat = min(before.grey.std(), after.grey.std()) < 0.5
    if flat and before.grey.std() + after.grey.std() < 1:
        return False
    if likeness < CUT_LIKENESS:
        return True
    shared = float(np.minimum(before.colours, after.colours).sum())
    return likeness < _DOUBTFUL_LIKENESS and shared < _SHARED_COLOURS
