"""Affine maps of the plane as 2x3 matrices.

Points are (x, y), pixel centres at integers; a matrix maps column vectors (x, y, 1).
All arithmetic of such matrices stands here, and nowhere else.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.types import Affine

Box = tuple[slice, slice]  # rows and columns of a picture
_Point = Sequence[float | int] | Float64[np.ndarray, "2"]


def round_hundredths(places: Float[Any, "..."]) -> Float64[np.ndarray, "..."]:
    """Places in pixels as they are kept; a zero has no sign.

    Nothing that is equal is then written in two ways.
    """
    return np.round(np.asarray(places, np.float64), 2) + 0.0


def umeyama(
    source: Float[Any, "*batch n d"],
    target: Float[Any, "*batch n d"],
    *,
    estimate_scale: bool = True,
) -> Float64[np.ndarray, "*batch d d_plus_1"]:
    """Finds the similarity that takes `source` to `target` with least squared error.

    Works on any number of leading batch axes at once, and in any dimension d >= 2.

    Args:
        source: n points, n >= 2, in any unit.
        target: their n counterparts.
        estimate_scale: if false, only rotation and translation.

    Returns:
        [d, d + 1] matrix ``[c R | t]`` with R a proper rotation (determinant +1, never
        a reflection, even where a reflection would fit better), float64.

    Raises:
        ValueError: shapes differ, fewer than two points, or all points of a source or
            target coincide, so that no rotation is defined.

    Reference:
        Umeyama 1991, "Least-squares estimation of transformation parameters between
        two point patterns", equations 34 to 43. With the SVD of the covariance
        ``U D V^T``, R is ``U S V^T`` (eq. 40).
    """
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    if source.shape != target.shape:
        raise ValueError(
            f"source and target must have one shape, got {source.shape} and "
            f"{target.shape}"
        )
    n, d = source.shape[-2:]
    if n < 2 or d < 2:
        raise ValueError(f"need at least 2 points of 2 coordinates, got {n} of {d}")
    source_mean = source.mean(axis=-2, keepdims=True)
    target_mean = target.mean(axis=-2, keepdims=True)
    source_centred = source - source_mean
    target_centred = target - target_mean
    variance = (source_centred**2).sum(axis=(-2, -1)) / n  # eq. 36
    if not np.all(variance > 0) or not np.all(np.any(target_centred != 0, (-2, -1))):
        raise ValueError("the points of source or of target all coincide")
    covariance = np.swapaxes(target_centred, -1, -2) @ source_centred / n  # eq. 38
    if d == 2 and estimate_scale:
        linear = _turn_plane(covariance, variance)
        middle = np.swapaxes(source_mean, -1, -2)
        shift = np.swapaxes(target_mean, -1, -2) - linear @ middle
        return np.concatenate([linear, shift], axis=-1)
    u, singular, vt = np.linalg.svd(covariance)
    sign = np.ones_like(singular)
    # Eq. 39 and 43: det(U) det(V) decides both for full rank and for rank d - 1.
    sign[..., -1] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt  # eq. 40
    scale = (singular * sign).sum(axis=-1) / variance  # eq. 42
    if not estimate_scale:
        scale = np.ones_like(scale)
    linear = scale[..., None, None] * rotation
    shift = np.swapaxes(target_mean, -1, -2) - linear @ np.swapaxes(source_mean, -1, -2)
    return np.concatenate([linear, shift], axis=-1)  # eq. 41


def _turn_plane(
    covariance: Float64[np.ndarray, "*batch 2 2"], variance: Float64[Any, "*batch"]
) -> Float64[np.ndarray, "*batch 2 2"]:
    """Scale times rotation of eq. 40 and 42 in the plane, where no SVD is needed.

    Of all matrices ``[[a, -b], [b, a]]``, the one with the least squared error.
    """
    along = (covariance[..., 0, 0] + covariance[..., 1, 1]) / variance
    across = (covariance[..., 1, 0] - covariance[..., 0, 1]) / variance
    rows = np.stack([along, -across, across, along], axis=-1)
    return rows.reshape(covariance.shape)


def apply_affine(
    matrix: Float[Any, "d d_plus_1"], points: Float[Any, "*n d"]
) -> Float64[np.ndarray, "*n d"]:
    """Maps points by a matrix: each row p becomes ``linear @ p + shift``."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(points, np.float64) @ matrix[:, :-1].T + matrix[:, -1]


def invert_affine(matrix: Affine) -> Affine:
    """Inverts a 2x3 matrix; raises numpy.linalg.LinAlgError if it is singular."""
    (a, b, x), (c, d, y) = matrix.tolist()  # ten times as fast as LAPACK's way
    scale = a * d - b * c
    if not scale:
        raise np.linalg.LinAlgError("the matrix is singular")
    a, b, c, d = d / scale, -b / scale, -c / scale, a / scale
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


def compose_affine(second: Affine, first: Affine) -> Affine:
    """The matrix that maps by `first`, then by `second`."""
    matrix = second[:, :2] @ first
    matrix[:, 2] += second[:, 2]
    return matrix


def similarity(
    scale: float,
    *,
    angle: float = 0.0,
    about: _Point = (0.0, 0.0),
    to: _Point = (0.0, 0.0),
) -> Affine:
    """Scales and turns so that the point `about` comes to `to`.

    Args:
        scale: enlargement.
        angle: radians, clockwise as the picture is seen.
        about: a point, pixels before.
        to: its place after.
    """
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, np.asarray(to) - linear @ np.asarray(about)])


def shift_affine(x: float | int, y: float | int) -> Affine:
    """Moves points by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def resize_affine(ratio_x: float, ratio_y: float | None = None) -> Affine:
    """From a picture's pixels to those of the same picture, enlarged.

    The picture's outer edges stay its edges: they lie half a pixel outside of the
    centres of the outermost pixels, whatever these measure.

    Args:
        ratio_x: new width over old.
        ratio_y: new height over old; None for the same.
    """
    x, y = ratio_x, ratio_x if ratio_y is None else ratio_y
    return np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])


def affine_scale(matrix: Affine) -> float:
    """How much a matrix enlarges: the root of what it makes of areas."""
    (a, b, _), (c, d, _) = matrix.tolist()
    return math.sqrt(abs(a * d - b * c))


def face_corners(frame_to_face: Affine, face_size: int) -> Float64[np.ndarray, "4 2"]:
    """Where the centres of a face's four outermost pixels lie in its frame."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (face_size - 1.0)
    return apply_affine(invert_affine(frame_to_face), corners)


def face_middle(frame_to_face: Affine, face_size: int) -> Float64[np.ndarray, "2"]:
    """Where the middle of a face lies in its frame."""
    return apply_affine(invert_affine(frame_to_face), np.full(2, (face_size - 1) / 2))


def bounding_box(
    points: Float64[np.ndarray, "n 2"], shape: tuple[int, ...], *, margin: int = 0
) -> Box | None:
    """The pixels that points span and a margin, cut to a picture; None if outside.

    Args:
        points: in the picture's pixels.
        shape: the picture's: height, width and what may follow.
        margin: pixels more to each side.
    """
    # Far beyond any picture, before whole numbers could overflow.
    points = np.clip(points, -(2.0**30), 2.0**30)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0).tolist()
    x1, y1 = (np.ceil(points.max(axis=0)).astype(int) + 1 + margin).tolist()
    x1, y1 = min(x1, shape[1]), min(y1, shape[0])
    return None if x0 >= x1 or y0 >= y1 else (slice(y0, y1), slice(x0, x1))
