"""Colour of a swapped face, matched to the face that it replaces.

Faces are RGB levels, drawn ones not rounded yet. What a method knows of a face is a
vector of float64 numbers (see `measure_color`); such vectors may be averaged over
frames, so that a face's colour does not jump. Arithmetic on pixels is float32, clipped
and rounded once, at the end. The table of methods is `convert_config.COLORS`;
`border_color` and `histogram_color` have files of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.convert_config import COLORS, find_choice
from deepfake_jax.types import DrawnFace, Face, Mask

# Contrast is at most tripled or divided by three: a flat face, or a mask of a few
# pixels, would have its noise blown up to the other face's contrast.
MAX_GAIN = 3.0
# Added to every variance: what rounding to whole levels leaves of a flat face.
_ROUNDING = 1 / 12
_GREY = 2  # levels by which rounding may part the channels of a grey picture

Stats = Float64[np.ndarray, "n"]


class ColorMethod(ABC):
    """A way to match colours: what is measured of a face, and what is made of that.

    Attributes:
        count: how many numbers describe a face.
    """

    count: int

    @abstractmethod
    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """What describes the colours of faces of one shape under one mask."""

    @abstractmethod
    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """A face, measured as `new`, moved so that it would be measured as `old`.

        The face is rounded here, once: a gain would make more of a level.
        """


def measure_color(face: Face, method: str, *, mask: Mask | None = None) -> Stats:
    """What a method needs to know of a face's colour; may be averaged over frames.

    Args:
        face: uint8 RGB.
        method: a name of `COLORS`.
        mask: weights of the pixels in [0, 1]; None, or one that is zero, weighs all
            alike.

    Raises:
        ValueError: an unknown method, or a mask of another shape.
    """
    return _measure([face], method, mask)[0]


def measure_pair(
    old_face: Face, new_face: DrawnFace, method: str, *, mask: Mask | None = None
) -> tuple[Stats, Stats]:
    """`measure_color` of two faces under one mask, in less time.

    "border" leaves out what no light explains, which only a pair can tell.

    Raises:
        ValueError: as `measure_color`; the shapes differ.
    """
    if old_face.shape != new_face.shape:
        raise ValueError(
            f"old_face and new_face must have one shape, got {old_face.shape} and "
            f"{new_face.shape}"
        )
    old, new = _measure([old_face, new_face], method, mask)
    return old, new


def match_color(
    new_face: DrawnFace, old_stats: Stats, new_stats: Stats, method: str
) -> Face:
    """Moves a face's colour so that what `measure_color` gave of it becomes another's.

    Contrast changes by no more than `MAX_GAIN`, up or down.

    Args:
        new_face: the swapped face, RGB levels, uint8 or not rounded.
        old_stats: of the face that it replaces.
        new_stats: of the swapped face itself.
        method: the one that both were measured by.

    Raises:
        ValueError: an unknown method, or statistics of another one.
    """
    color = _find(method)
    if len(old_stats) != color.count or len(new_stats) != color.count:
        raise ValueError(
            f"statistics for {method} are {color.count} numbers, got {len(old_stats)} "
            f"and {len(new_stats)}"
        )
    return color.match(new_face, old_stats, new_stats)


def transfer_color(
    old_face: Face, new_face: DrawnFace, method: str, *, mask: Mask | None = None
) -> Face:
    """Gives a new face the colours of the old one, both measured under one mask.

    ``transfer_color(x, x, method)`` is ``x``, within a level.

    Raises:
        ValueError: as `measure_color`; the shapes differ.
    """
    old_stats, new_stats = measure_pair(old_face, new_face, method, mask=mask)
    return match_color(new_face, old_stats, new_stats, method)


def is_grey(face: Face) -> bool:
    """Whether a face has no color at all, as in black and white footage."""
    red, green, blue = cv2.split(face)
    apart = max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF))
    return apart <= _GREY


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


def _find(method: str) -> ColorMethod:
    return find_choice(COLORS, method).load()()


def _measure(faces: Sequence[DrawnFace], method: str, mask: Mask | None) -> list[Stats]:
    if mask is not None and mask.shape != faces[0].shape[:2]:
        raise ValueError(
            f"mask must have the faces' height and width {faces[0].shape[:2]}, got "
            f"{mask.shape}"
        )
    return _find(method).measure(faces, mask)


class KeptColor(ColorMethod):
    """The swapped face as it was drawn; nothing is measured."""

    count = 0

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """No number for each face."""
        return [np.zeros(0) for _ in faces]

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """The face itself."""
        return _round(new_face)


class MeanColor(ColorMethod):
    """The mean of red, green and blue, shifted."""

    count = 3

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """The three means of each face."""
        return [_measure_mean(cv2.split(f.astype(np.float32)), mask) for f in faces]

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """Adds the difference of the means."""
        return _round(new_face + (old - new).astype(np.float32))


class LabColor(ColorMethod):
    """Means, then standard deviations, of L*, a* and b*.

    Reference:
        Reinhard et al. 2001, "Color transfer between images", IEEE Computer Graphics
        and Applications 21(5), in CIE L*a*b* (D65) instead of their l-alpha-beta.
    """

    count = 6

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """Three means and three deviations of each face."""
        found = []
        for face in faces:
            mean, covariance = _measure_moments(_to_lab(face), mask)
            spread = np.sqrt(np.maximum(np.diag(covariance), 0))
            found.append(np.concatenate([mean, spread]))
        return found

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """Scales each channel about its mean."""
        gain = np.maximum(old[3:], 1e-3) / np.maximum(new[3:], 1e-3)
        matrix = np.diag(np.clip(gain, 1 / MAX_GAIN, MAX_GAIN))
        lab = _map_colors(_to_lab(new_face), matrix, old[:3], new[:3])
        return _round(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255)


class LinearColor(ColorMethod):
    """The mean, then the covariance in RGB row by row.

    Reference:
        The Monge-Kantorovich map of Pitie and Kokaram 2007, "The linear
        Monge-Kantorovitch linear colour mapping for example-based colour transfer",
        equation 8; it is symmetric and moves colours least.
    """

    count = 12

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """Three means and nine covariances of each face."""
        moments = [_measure_moments(face.astype(np.float32), mask) for face in faces]
        return [np.append(mean, covariance) for mean, covariance in moments]

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """Maps colours by one matrix about the mean."""
        matrix = _monge_kantorovich(new[3:].reshape(3, 3), old[3:].reshape(3, 3))
        colors = new_face.astype(np.float32)
        return _round(_map_colors(colors, matrix, old[:3], new[:3]))


def _measure_mean(channels: Sequence[Mask], mask: Mask | None) -> Stats:
    weights = flat_weights(mask)
    # Channel by channel: dot products are ten times as fast as sums along an axis.
    if weights is None:
        return np.array([channel.mean(dtype=np.float64) for channel in channels])
    sums = np.array([weights @ channel.ravel() for channel in channels], np.float64)
    return sums / weights.sum(dtype=np.float64)


def _measure_moments(
    colors: Float32[np.ndarray, "height width 3"], mask: Mask | None
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3 3"]]:
    """Mean and covariance of the channels, pixels weighed by a mask."""
    channels = cv2.split(colors)
    mean = _measure_mean(channels, mask)
    weights = flat_weights(mask)
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


def flat_weights(mask: Mask | None) -> Float32[np.ndarray, "n"] | None:
    """A mask as a row of weights; None where all pixels count alike."""
    return None if mask is None or not mask.any() else mask.ravel()


def _to_lab(face: DrawnFace) -> Float32[np.ndarray, "height width 3"]:
    return cv2.cvtColor(face * np.float32(1 / 255), cv2.COLOR_RGB2LAB)


def _round(colors: DrawnFace) -> Face:
    return np.rint(np.clip(colors, 0, 255)).astype(np.uint8)
