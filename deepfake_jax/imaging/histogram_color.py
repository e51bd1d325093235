"""Colours by the histograms of the channels, as `color`; the method ``histogram``."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float64

from deepfake_jax.imaging.color import MAX_GAIN, ColorMethod, Stats, flat_weights
from deepfake_jax.types import DrawnFace, Face, Mask

_COUNT = 64
# Shares of the pixels whose levels describe a histogram. The outermost percent is left
# out: single pixels would move it.
_QUANTILES = (np.arange(_COUNT) + 0.5) / _COUNT


class HistogramColor(ColorMethod):
    """Quantiles of red, then of green and blue.

    The average of quantile functions is the Wasserstein barycentre of their histograms.

    Reference:
        The monotone map between two cumulative histograms, for each channel: Gonzalez
        and Woods, "Digital image processing", histogram specification.
    """

    count = 3 * _COUNT

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """The quantiles of each face's channels."""
        return [_measure_quantiles(face, mask) for face in faces]

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """Maps the levels of each channel by a table."""
        channels = zip(old.reshape(3, _COUNT), new.reshape(3, _COUNT), strict=True)
        tables = [np.clip(_map_levels(*pair), 0, 255) for pair in channels]
        if new_face.dtype == np.uint8:
            table = np.rint(np.stack(tables, axis=1)).astype(np.uint8)
            return cv2.LUT(new_face, table[:, None])
        drawn = zip(cv2.split(new_face), tables, strict=True)
        matched = [np.interp(face, np.arange(256), table) for face, table in drawn]
        return np.rint(np.stack(matched, axis=2)).astype(np.uint8)


def _measure_quantiles(face: DrawnFace, mask: Mask | None) -> Stats:
    weights = flat_weights(mask)
    quantiles = []
    for channel in cv2.split(np.rint(face).astype(np.uint8)):
        counts = np.bincount(channel.ravel(), weights=weights, minlength=256)
        # A level stands for the half levels around it, so that the cumulative
        # histogram is continuous and can be inverted.
        shares = np.concatenate([[0], np.cumsum(counts)])
        edges = np.arange(257) - 0.5
        quantiles.append(np.interp(_QUANTILES, shares / shares[-1], edges))
    return np.concatenate(quantiles)


def _map_levels(old: Stats, new: Stats) -> Float64[np.ndarray, "256"]:
    """What each level of a channel becomes, by its quantiles and those wanted."""
    # A dense spot of the new histogram would be torn apart: its slope is limited,
    # counted from the median, which is met.
    steps = np.minimum(np.diff(old), MAX_GAIN * np.diff(new))
    moved = np.concatenate([[0], np.cumsum(steps)])
    moved += old[_COUNT // 2] - moved[_COUNT // 2]
    # Beyond the outermost quantiles all levels move as these do.
    levels = np.concatenate([[new[0] - 256], new, [new[-1] + 256]])
    moved = np.concatenate([[moved[0] - 256], moved, [moved[-1] + 256]])
    return np.interp(np.arange(256), levels, moved)
