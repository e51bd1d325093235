"""Colour of a swapped face, matched to the face that it replaces.

Faces are uint8 RGB. What a method knows of a face is a vector of float64 numbers (see
`measure_color`); such vectors may be averaged over frames, so that a face's colour does
not jump. Arithmetic on pixels is float32, clipped and rounded once, at the end.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.convert_config import ColorMethod
from deepfake_jax.types import Face, Mask

# Contrast is at most tripled or divided by three: a flat face, or a mask of a few
# pixels, would have its noise blown up to the other face's contrast.
MAX_GAIN = 3.0
# Added to every variance: what rounding to whole levels leaves of a flat face.
_ROUNDING = 1 / 12
# Shares of the pixels whose levels describe a histogram. The outermost percent is left
# out: single pixels would move it.
_QUANTILES = (np.arange(64) + 0.5) / 64
# Cells along each axis of the grid on which "border" holds colours.
_CELLS = 16
# Where the border of a feathered mask lies inside the mask that it is made of, and how
# far to both sides of it colours count, as shares of the face's side.
_DEPTH, _BAND = 0.07, 0.04
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SOFTEST = 0.5  # factor that "border" softens a face's light by, at the most

_Stats = Float64[np.ndarray, "n"]


def measure_color(
    face: Face, method: ColorMethod, *, mask: Mask | None = None
) -> _Stats:
    """What a method needs to know of a face's colour; may be averaged over frames.

    - "none": nothing, 0 numbers;
    - "avg": the mean of red, green and blue, 3;
    - "border": the colours along the mask's border, carried inwards: what a grid of
      16 x 16 cells has as red, green and blue; and by how much the cells' brightness
      inside of the mask differs from these, root mean square; 769;
    - "reinhard": means, then standard deviations, of L*, a* and b*, 6;
    - "linear": the mean, then the covariance in RGB row by row, 12;
    - "histogram": 64 quantiles of red, then of green and blue, 192. The average of
      quantile functions is the Wasserstein barycentre of their histograms.

    Args:
        face: uint8 RGB.
        method: one of these.
        mask: weights of the pixels in [0, 1]; None, or one that is zero, weighs all
            alike.

    Raises:
        ValueError: an unknown method, or a mask of another shape.
    """
    return _measure([face], method, mask)[0]


def measure_pair(
    old_face: Face, new_face: Face, method: ColorMethod, *, mask: Mask | None = None
) -> tuple[_Stats, _Stats]:
    """`measure_color` of two faces under one mask, in less time.

    Raises:
        ValueError: as `measure_color`; the shapes differ.
    """
    _check_shapes(old_face, new_face)
    old, new = _measure([old_face, new_face], method, mask)
    return old, new


def _measure(
    faces: Sequence[Face], method: ColorMethod, mask: Mask | None
) -> list[_Stats]:
    """`measure_color` of faces of one shape."""
    _check_mask(faces[0], mask)
    if method == "border":
        weights = _weigh_border(faces[0].shape[:2], mask)
        total, weights = _spread(weights), weights[..., None]
        found = []
        for face in faces:
            cells = (_spread(face * weights) / total).reshape(_CELLS, _CELLS, 3)
            contrast = _measure_contrast(face, cells, mask)
            found.append(np.append(cells.astype(np.float64).ravel(), contrast))
        return found
    return [_measure_whole(face, method, mask) for face in faces]


def _measure_whole(face: Face, method: ColorMethod, mask: Mask | None) -> _Stats:
    if method == "none":
        return np.zeros(0)
    if method == "histogram":
        return _measure_quantiles(face, mask)
    if method == "avg":
        return _measure_mean(cv2.split(face.astype(np.float32)), mask)
    if method == "linear":
        mean, covariance = _measure_moments(face.astype(np.float32), mask)
        return np.concatenate([mean, covariance.ravel()])
    if method == "reinhard":
        mean, covariance = _measure_moments(_to_lab(face), mask)
        return np.concatenate([mean, np.sqrt(np.maximum(np.diag(covariance), 0))])
    raise ValueError(
        "method must be none, avg, border, reinhard, linear or histogram, got "
        f"{method!r}"
    )


def match_color(
    new_face: Face, old_stats: _Stats, new_stats: _Stats, method: ColorMethod
) -> Face:
    """Moves a face's colour so that what `measure_color` gave of it becomes another's.

    Contrast changes by no more than `MAX_GAIN`, up or down. "border" softens a light
    that is harder than the other face's, to a half at the most, and leaves features as
    they are.

    Args:
        new_face: the swapped face, uint8 RGB.
        old_stats: of the face that it replaces.
        new_stats: of the swapped face itself.
        method: the one that both were measured by.

    Raises:
        ValueError: an unknown method, or statistics of another one.

    Reference:
        "border": Farbman et al. 2009, "Coordinates for instant image cloning", whose
        membrane is nearly that of a Poisson clone; here on a coarse grid, with inverse
        distances (Shepard 1968) for weights. "reinhard": Reinhard et al. 2001, "Color
        transfer between images", IEEE Computer Graphics and Applications 21(5), in CIE
        L*a*b* (D65) instead of their l-alpha-beta. "linear": the Monge-Kantorovich map
        of Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping
        for example-based colour transfer", equation 8; it is symmetric and moves
        colours least. "histogram": the monotone map between two cumulative histograms,
        for each channel (Gonzalez and Woods, "Digital image processing", histogram
        specification).
    """
    _check_stats(old_stats, new_stats, method)
    if method == "none":
        return new_face
    if method == "avg":
        return _round(new_face + (old_stats - new_stats).astype(np.float32))
    if method == "border":
        old, new = (
            each[:-1].reshape(_CELLS, _CELLS, 3).astype(np.float32)
            for each in (old_stats, new_stats)
        )
        # Of two lights the harder one is softened, never the softer one hardened: that
        # would raise what is wrong in a face, too.
        gain = float(np.clip(old_stats[-1] / max(new_stats[-1], 1.0), _SOFTEST, 1))
        light = _reduce(new_face) - new
        size = new_face.shape[1::-1]
        shift = old - new - np.float32(1 - gain) * light
        shift = cv2.resize(shift, size, interpolation=cv2.INTER_CUBIC)
        return cv2.add(new_face, shift, dtype=cv2.CV_8U)  # clips and rounds
    if method == "histogram":
        return _match_quantiles(new_face, old_stats, new_stats)
    if method == "reinhard":
        gain = np.maximum(old_stats[3:], 1e-3) / np.maximum(new_stats[3:], 1e-3)
        matrix = np.diag(np.clip(gain, 1 / MAX_GAIN, MAX_GAIN))
        lab = _map_colors(_to_lab(new_face), matrix, old_stats[:3], new_stats[:3])
        return _round(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255)
    matrix = _monge_kantorovich(
        new_stats[3:].reshape(3, 3), old_stats[3:].reshape(3, 3)
    )
    colors = new_face.astype(np.float32)
    return _round(_map_colors(colors, matrix, old_stats[:3], new_stats[:3]))


def transfer_color(
    old_face: Face, new_face: Face, method: ColorMethod, *, mask: Mask | None = None
) -> Face:
    """Gives a new face the colours of the old one, both measured under one mask.

    ``transfer_color(x, x, method)`` is ``x``, within a level.

    Raises:
        ValueError: as `measure_color`; the shapes differ.
    """
    old_stats, new_stats = measure_pair(old_face, new_face, method, mask=mask)
    return match_color(new_face, old_stats, new_stats, method)


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
    return transfer_color(old_face, new_face, "avg", mask=mask)


def _measure_mean(channels: Sequence[Mask], mask: Mask | None) -> _Stats:
    weights = _flat_weights(mask)
    # Channel by channel: dot products are ten times as fast as sums along an axis.
    if weights is None:
        return np.array([channel.mean(dtype=np.float64) for channel in channels])
    sums = np.array([weights @ channel.ravel() for channel in channels], np.float64)
    return sums / weights.sum(dtype=np.float64)


def _weigh_border(size: tuple[int, int], mask: Mask | None) -> Mask:
    """How much each pixel counts for the colours along a mask's border."""
    height, width = size
    shape = np.ones((height, width), np.uint8)
    if mask is not None and (mask > 0.5).any():
        shape = (mask > 0.5).astype(np.uint8)
    # A frame of nothing around: a mask that fills the picture ends at its edges.
    padded = cv2.copyMakeBorder(shape, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    # A small mask has no place as deep: the deepest that it has.
    off = depth / width - min(_DEPTH, float(depth.max()) / width)
    return np.exp(-np.square(off / np.float32(_BAND))) * shape


def _measure_contrast(
    face: Face, cells: Float32[np.ndarray, "cells cells 3"], mask: Mask | None
) -> float:
    """How far the light on a face leaves that at its border, RMS inside of the mask."""
    squares = np.square((_reduce(face) - cells) @ _LUMA).ravel()
    if mask is None or not mask.any():
        return float(np.sqrt(squares.mean()))
    weights = cv2.resize(mask, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).ravel()
    return float(np.sqrt(squares @ weights / weights.sum()))


def _reduce(face: Face) -> Float32[np.ndarray, "cells cells 3"]:
    """A face as the grid sees it: its light, and nothing that is narrower."""
    small = cv2.resize(face, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def _spread(
    values: Float32[np.ndarray, "height width *channels"],
) -> Float32[np.ndarray, "cells numbers"]:
    """For each cell of a grid, the sum of the values near it."""
    small = cv2.resize(values, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return _inverse_distances() @ small.reshape(_CELLS**2, -1)


@cache
def _inverse_distances() -> Float32[np.ndarray, "cells cells"]:
    """How much each cell's colours count for each cell, by the cube of the distance."""
    line = np.arange(_CELLS)
    places = np.stack(np.meshgrid(line, line, indexing="ij"), axis=2).reshape(-1, 2)
    apart = np.square(places[:, None] - places[None]).sum(2)
    return ((apart + 1.0) ** -1.5).astype(np.float32)


def _measure_moments(
    colors: Float32[np.ndarray, "height width 3"], mask: Mask | None
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3 3"]]:
    """Mean and covariance of the channels, pixels weighed by a mask."""
    channels = cv2.split(colors)
    mean = _measure_mean(channels, mask)
    weights = _flat_weights(mask)
    if weights is None:
        weights = np.ones(channels[0].size, np.float32)
    # Centred first: squares of large numbers would lose float32's digits.
    centred = [(c - np.float32(m)).ravel() for c, m in zip(channels, mean, strict=True)]
    covariance = np.zeros((3, 3))
    for row, channel in enumerate(centred):
        weighted = weights * channel
        for column in range(row, 3):
            covariance[row, column] = weighted @ centred[column]
            covariance[column, row] = covariance[row, column]
    return mean, covariance / weights.sum(dtype=np.float64)


def _monge_kantorovich(
    source: Float64[np.ndarray, "3 3"], target: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "3 3"]:
    """The symmetric matrix that takes one covariance to another, its gains limited."""
    noise = _ROUNDING * np.eye(3)
    values, vectors = np.linalg.eigh(source + noise)
    roots = np.sqrt(np.maximum(values, _ROUNDING))
    half = (vectors * roots) @ vectors.T
    inverse = (vectors / roots) @ vectors.T
    values, vectors = np.linalg.eigh(half @ (target + noise) @ half)
    middle = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    matrix = inverse @ middle @ inverse
    gains, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.clip(gains, 1 / MAX_GAIN, MAX_GAIN)) @ vectors.T


def _map_colors(
    colors: Float32[np.ndarray, "height width 3"],
    matrix: Float64[np.ndarray, "3 3"],
    old_mean: Float64[np.ndarray, "3"],
    new_mean: Float64[np.ndarray, "3"],
) -> Float32[np.ndarray, "height width 3"]:
    shift = old_mean - matrix @ new_mean
    return cv2.transform(colors, np.column_stack([matrix, shift]).astype(np.float32))


def _measure_quantiles(face: Face, mask: Mask | None) -> _Stats:
    weights = _flat_weights(mask)
    quantiles = []
    for channel in cv2.split(face):
        counts = np.bincount(channel.ravel(), weights=weights, minlength=256)
        # A level stands for the half levels around it, so that the cumulative
        # histogram is continuous and can be inverted.
        shares = np.concatenate([[0], np.cumsum(counts)])
        edges = np.arange(257) - 0.5
        quantiles.append(np.interp(_QUANTILES, shares / shares[-1], edges))
    return np.concatenate(quantiles)


def _match_quantiles(new_face: Face, old_stats: _Stats, new_stats: _Stats) -> Face:
    table = np.empty((256, 3), np.uint8)
    middle = len(_QUANTILES) // 2
    for channel in range(3):
        part = slice(channel * len(_QUANTILES), (channel + 1) * len(_QUANTILES))
        old, new = old_stats[part], new_stats[part]
        # A dense spot of the new histogram would be torn apart: its slope is limited,
        # counted from the median, which is met.
        steps = np.minimum(np.diff(old), MAX_GAIN * np.diff(new))
        old = old[middle] + np.concatenate([[0], np.cumsum(steps)])
        old -= old[middle] - old_stats[part][middle]
        # Beyond the outermost quantiles all levels move as these do.
        levels = np.concatenate([[new[0] - 256], new, [new[-1] + 256]])
        moved = np.concatenate([[old[0] - 256], old, [old[-1] + 256]])
        mapped = np.interp(np.arange(256), levels, moved)
        table[:, channel] = np.rint(np.clip(mapped, 0, 255))
    return cv2.LUT(new_face, table[:, None])


def _flat_weights(mask: Mask | None) -> Float32[np.ndarray, "n"] | None:
    """A mask as a row of weights; None where all pixels count alike."""
    return None if mask is None or not mask.any() else mask.ravel()


def _to_lab(face: Face) -> Float32[np.ndarray, "height width 3"]:
    return cv2.cvtColor(face * np.float32(1 / 255), cv2.COLOR_RGB2LAB)


def _round(colors: Float32[np.ndarray, "height width 3"]) -> Face:
    return np.rint(np.clip(colors, 0, 255)).astype(np.uint8)


def _check_shapes(old_face: Face, new_face: Face) -> None:
    if old_face.shape != new_face.shape:
        raise ValueError(
            f"old_face and new_face must have one shape, got {old_face.shape} and "
            f"{new_face.shape}"
        )


def _check_mask(face: Face, mask: Mask | None) -> None:
    if mask is not None and mask.shape != face.shape[:2]:
        raise ValueError(
            f"mask must have the faces' height and width {face.shape[:2]}, got "
            f"{mask.shape}"
        )


def _check_stats(old: _Stats, new: _Stats, method: ColorMethod) -> None:
    counts = {
        "none": 0,
        "avg": 3,
        "border": 3 * _CELLS**2 + 1,
        "reinhard": 6,
        "linear": 12,
    }
    counts["histogram"] = 3 * len(_QUANTILES)
    if method not in counts:
        raise ValueError(f"method must be one of {', '.join(counts)}, got {method!r}")
    if len(old) != counts[method] or len(new) != counts[method]:
        raise ValueError(
            f"statistics for {method} are {counts[method]} numbers, got {len(old)} "
            f"and {len(new)}"
        )
