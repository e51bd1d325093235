"""Affine maps of the plane as 2x3 matrices.

Points are (x, y), pixel centres at integers; a matrix maps column vectors (x, y, 1)."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.types import Affine


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
