"""The look of swapped faces over time: masks and colors without flicker or lag.

Where faces lie is steadied by `steady_tracks`; here it is what is painted there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float64, Int64

from deepfake_jax.conversion.frame_swapper import SwappedFace, SwappedFrame
from deepfake_jax.faces.steady_tracks import RADIUS
from deepfake_jax.pipeline import windows
from deepfake_jax.types import DrawnFace, Mask

_COLOR_SIGMA = 3.5  # frames
_MASK_SIGMA = 1.5  # frames; masks follow the mouth and the turn of the head
# Grey levels by which old and new may differ from frame to frame before they count as
# another light: a flash stays in its frame.
_LIGHT_SIGMA = 8.0
_LEAST = 0.01  # weight below which a frame is not worth its cost
# Grey levels by which a cell may differ from frame to frame before it counts as a
# change of the face, such as a mouth that the network does not open.
_CELL_SIGMA = 8.0


def steady_looks(
    frames: Iterable[SwappedFrame], *, radius: int = RADIUS
) -> Iterator[SwappedFrame]:
    """Averages each face's mask, color and sharpness with its track's other frames.

    Frames count by their distance (Gaussian, both ways, so nothing lags) and by how
    like their light is. Color statistics may be averaged for every method (`color`). If
    the stream raises, what was read is given first and the error after it.

    Args:
        frames: frames of one source, in order.
        radius: frames to each side; 0 leaves everything as it is.
    """
    for window, middle in windows(frames, radius):
        faces = [_settle(face, window, middle) for face in window[middle].faces]
        yield replace(window[middle], faces=tuple(faces))


def _settle(
    face: SwappedFace, window: Sequence[SwappedFrame], middle: int
) -> SwappedFace:
    """A face of the middle frame, averaged with its track's others."""
    around = [
        (place - middle, other)
        for place, near in enumerate(window)
        for other in near.faces
        if other.placed.track == face.placed.track
    ]
    return face if len(around) < 2 else _average(face, around)


def _average(face: SwappedFace, around: list[tuple[int, SwappedFace]]) -> SwappedFace:
    away = np.array([offset for offset, _ in around])
    lights = np.array([other.light for _, other in around])
    off = np.mean((lights - face.light) ** 2, axis=1)
    alike = np.exp(-0.5 * off / _LIGHT_SIGMA**2)
    colors = alike * np.exp(-0.5 * (away / _COLOR_SIGMA) ** 2)
    colors /= colors.sum()
    masks = np.exp(-0.5 * (away / _MASK_SIGMA) ** 2)
    masks = np.where(masks < _LEAST, 0, masks / masks.sum())
    masks /= masks.sum()
    others = [other for _, other in around]
    covers = [other.cover for other in others if other.cover is not None]
    return replace(
        face,
        new=_even_out(face, away, others),
        mask=_mix([other.mask for other in others], masks),
        cover=_mix(covers, masks) if covers else None,
        old_color=colors @ np.array([other.old_color for other in others]),
        new_color=colors @ np.array([other.new_color for other in others]),
        sharpen=float(colors @ np.array([other.sharpen for other in others])),
    )


def _mix(masks: list[Mask], weights: Float64[np.ndarray, "n"]) -> Mask:
    mixed = np.zeros_like(masks[0])
    for weight, mask in zip(weights, masks, strict=True):
        if weight > 0:
            mixed += np.float32(weight) * mask
    return np.minimum(mixed, 1)


def _even_out(
    face: SwappedFace, away: Int64[np.ndarray, "n"], around: list[SwappedFace]
) -> DrawnFace:
    """The new face without the restlessness of its shading.

    What the network paints differs from the old face by person, which lasts, and by
    chance from frame to frame, which flickers. The difference of the two, coarse, is
    averaged over time and the new face moved to it.
    """
    cells = np.array([other.shading for other in around])
    centre = face.shading
    alike = np.exp(-0.5 * ((cells - centre) / _CELL_SIGMA) ** 2)
    weights = alike * np.exp(-0.5 * (away / _COLOR_SIGMA) ** 2)[:, None, None, None]
    moved = (weights * cells).sum(axis=0) / weights.sum(axis=0) - centre
    size = face.new.shape[1::-1]
    tint = cv2.resize(moved.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.clip(face.new + tint, 0, 255)
