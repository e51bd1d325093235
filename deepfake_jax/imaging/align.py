"""Similarity alignment of faces: pure geometry, no detector and no network.

Points are (x, y) in pixels, pixel centres at integers. A face picture is square, its
points counted in its own pixels. Matrices are 2x3 float64 and map column points:
``out = matrix[:, :2] @ point + matrix[:, 2]``.

The one template of the project is a mean face in a face picture, as shares of its
side. Its 68 points are `MEAN_FACE`, of which the stable ones are used (nose and eye
corners: they keep still while a face talks and blinks). A detector's five points (eyes,
nose tip, mouth corners) go to `TEMPLATE_POINTS`, the template that ArcFace made common
(Deng et al. 2019, section 4; 112 x 112 px), scaled so that the eyes stand
`EYE_DISTANCE` of the side apart; the mean face lies where its own five points fit
these. Brows, chin and cheeks then fit into the training crop, the central `COVERAGE` of
the picture, with room for a mask's soft border. The rest is margin for random
rotations, zooms, shifts and warps.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from deepfake_jax.imaging.face_template import MEAN_FACE, STABLE_POINTS
from deepfake_jax.types import Affine, Face, Frame

FACE_SIZE = 256  # pixels; the side of a face on disk
COVERAGE = 160 / 256  # share of the side that the network sees: the original's
EYE_DISTANCE = 0.225  # share of the side; 58 of 256 pixels
_EYES_Y = 0.3535  # height of the eyes from the top, as a share of the side

# Image-left eye, image-right eye, nose tip, image-left and image-right mouth corner,
# in pixels of ArcFace's 112 x 112 picture.
ARCFACE_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)


# Scale above which sampling is cubic: at the face's own size, linear sampling there and
# back loses 7 dB (33 against 40 at 60 to 90 pixels).
_CUBIC = 0.75


def _template() -> Float64[np.ndarray, "5 2"]:
    eyes = ARCFACE_POINTS[:2].mean(axis=0)
    eye_distance = np.linalg.norm(ARCFACE_POINTS[1] - ARCFACE_POINTS[0])
    scale = EYE_DISTANCE / eye_distance
    return (ARCFACE_POINTS - eyes) * scale + np.array([0.5, _EYES_Y])


TEMPLATE_POINTS: Float64[np.ndarray, "5 2"] = _template()


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


def template_points(
    face_size: int = FACE_SIZE, *, count: int = 5
) -> Float64[np.ndarray, "count 2"]:
    """The template, of 5 or 68 points, in the pixels of a face picture of that side."""
    points = TEMPLATE_POINTS if count == 5 else MEAN_FACE[:, :2]
    return points * face_size - 0.5


def frame_to_face_matrix(
    landmarks: Float[Any, "n 2"], *, face_size: int = FACE_SIZE
) -> Affine:
    """The similarity from a frame to its aligned face.

    Args:
        landmarks: 68 points, of which the stable ones are used, or five: image-left
            eye, image-right eye, nose tip, image-left and image-right mouth corner; in
            the frame's pixels.
        face_size: side of the face picture in pixels.

    Raises:
        ValueError: neither 5 nor 68 points, or all of them in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    count = len(landmarks)
    if count not in (5, 68):
        raise ValueError(f"landmarks must be 5 or 68 points, got {count}")
    target = template_points(face_size, count=count)
    # Five points have two on the lips: without them, noise would decide the scale.
    used = list(STABLE_POINTS) if count == 68 else list(range(5))
    return umeyama(landmarks[used], target[used])


def crop_matrix(
    crop_size: int, *, face_size: int = FACE_SIZE, coverage: float = COVERAGE
) -> Affine:
    """From a face's pixels to those of its central crop of `crop_size` pixels.

    The crop's pixels tile the central `coverage` of the face exactly: pixel centres at
    integers, so edges at halves.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be in (0, 1], got {coverage}")
    scale = crop_size / (coverage * face_size)
    margin = (1 - coverage) / 2 * face_size
    shift = (0.5 - margin) * scale - 0.5
    return np.array([[scale, 0.0, shift], [0.0, scale, shift]])


def warp_face(frame: Frame, frame_to_face: Affine, face_size: int = FACE_SIZE) -> Face:
    """Cuts an aligned face out of a frame, uint8 RGB, edges repeated outside.

    Faces larger than the output are first reduced by area averaging, so that fine
    detail does not alias; from three quarters of the size on, sampling is cubic.
    """
    scale = float(np.sqrt(abs(np.linalg.det(frame_to_face[:, :2]))))
    if scale < 0.5:
        frame, frame_to_face = _reduce(frame, frame_to_face, scale, face_size)
    return cv2.warpAffine(
        frame,
        frame_to_face,
        (face_size, face_size),
        flags=cv2.INTER_CUBIC if scale > _CUBIC else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _reduce(
    frame: Frame, frame_to_face: Affine, scale: float, face_size: int
) -> tuple[UInt8[np.ndarray, "new_height new_width 3"], Affine]:
    """Area-averages the face's box of the frame to about the face's own scale."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (face_size - 1.0)
    quad = apply_affine(invert_affine(frame_to_face), corners)
    height, width = frame.shape[:2]
    x0, y0 = np.clip(np.floor(quad.min(axis=0)).astype(int) - 2, 0, None)
    x1, y1 = np.ceil(quad.max(axis=0)).astype(int) + 3
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    box = frame[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    new_height = max(1, round(box.shape[0] * scale))
    new_width = max(1, round(box.shape[1] * scale))
    reduced = cv2.resize(box, (new_width, new_height), interpolation=cv2.INTER_AREA)
    ratio_x, ratio_y = box.shape[1] / new_width, box.shape[0] / new_height
    to_frame = np.array(
        [
            [ratio_x, 0.0, 0.5 * ratio_x - 0.5 + x0],
            [0.0, ratio_y, 0.5 * ratio_y - 0.5 + y0],
        ]
    )
    return reduced, compose_affine(frame_to_face, to_frame)


def crop_faces(
    faces: UInt8[Any, "n face_size face_size 3"],
    crop_size: int,
    *,
    coverage: float = COVERAGE,
) -> UInt8[np.ndarray, "n crop_size crop_size 3"]:
    """The central crop of each face as the network sees it, bilinear, uint8.

    A zero-amplitude `random_warp` gives this same picture.
    """
    matrix = crop_matrix(crop_size, face_size=faces.shape[1], coverage=coverage)
    size = (crop_size, crop_size)
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    crops = [
        cv2.warpAffine(face, matrix, size, flags=flags, borderMode=border)
        for face in faces
    ]
    empty = np.zeros((0, crop_size, crop_size, 3), np.uint8)
    return np.stack(crops) if crops else empty
