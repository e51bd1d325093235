"""Whether a swapped face keeps the expression, the gaze and the pose of its source.

Landmarks are 68 (iBUG's order) in the pixels of one aligned face picture, the
same for source and swap; distances are shares of the source's distance of the eyes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from deepfake_jax.faces.landmark_networks import Landmarker, Shape, window_of_landmarks
from deepfake_jax.imaging.head_pose import estimate_pose
from deepfake_jax.imaging.region import Region
from deepfake_jax.types import Face, Landmarks

_INNER = slice(17, 68)  # those of the jaw slide along the outline, and are not redrawn
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_UPPER_LIP, _LOWER_LIP = [61, 62, 63], [67, 66, 65]  # inner edges, facing each other

Shapes = Float64[np.ndarray, "n 68 2"]
Gazes = Float64[np.ndarray, "n 2"]


@dataclass(frozen=True)
class Expression:
    """How far swapped faces are from their sources: errors, better the lower.

    Attributes:
        expression_error: mean distance of the 51 inner landmarks of source and swap,
            over the distance of the eyes; 0 or more. It holds what the two people
            differ in by shape, so a perfect swap has not 0 but about 0.05.
        motion_error: the same after each landmark's mean difference over all faces is
            removed: what is left is expression and pose that do not follow. A frozen
            face has what the source moves by, which is not much in a short clip; see
            `following.Following`.
        mouth_error: mean absolute difference of the mouth's opening, over the distance
            of the eyes.
        gaze_error: mean distance of where the eyes look, in shares of an eye's width.
        pose_error: mean absolute difference of yaw, pitch and roll, degrees.
    """

    expression_error: float
    motion_error: float
    mouth_error: float
    gaze_error: float
    pose_error: float


def measure_expression(
    swapped: Shapes, source: Shapes, *, swapped_gaze: Gazes, source_gaze: Gazes
) -> Expression:
    """Compares the landmarks and gazes of swapped faces with their sources'.

    Args:
        swapped: landmarks of the swapped faces.
        source: of their sources, in the same order and picture.
        swapped_gaze: `find_gaze` of each swapped face.
        source_gaze: of each source.

    Raises:
        ValueError: no faces, or not as many of each.
    """
    if swapped.shape != source.shape or not len(source):
        raise ValueError(
            "swapped and source must be the landmarks of as many faces, one or more, "
            f"got {swapped.shape} and {source.shape}"
        )
    eyes = eye_distance(source)
    moved = (swapped - source)[:, _INNER] / eyes[:, None, None]
    opening = np.abs(mouth_opening(swapped) - mouth_opening(source)) / eyes
    poses = [
        np.array([(p.yaw, p.pitch, p.roll) for p in map(estimate_pose, faces)])
        for faces in (swapped, source)
    ]
    return Expression(
        expression_error=float(np.linalg.norm(moved, axis=2).mean()),
        motion_error=float(
            np.linalg.norm(moved - moved.mean(axis=0), axis=2).mean(),
        ),
        mouth_error=float(opening.mean()),
        gaze_error=float(np.linalg.norm(swapped_gaze - source_gaze, axis=1).mean()),
        pose_error=float(np.abs(poses[0] - poses[1]).mean()),
    )


def eye_distance(landmarks: Shapes) -> Float64[np.ndarray, "n"]:
    """Distance of the middles of the eyes, pixels."""
    left = landmarks[:, _LEFT_EYE].mean(axis=1)
    return np.linalg.norm(landmarks[:, _RIGHT_EYE].mean(axis=1) - left, axis=1)


def mouth_opening(landmarks: Shapes) -> Float64[np.ndarray, "n"]:
    """Mean distance of the lips' inner edges, pixels; 0 is closed."""
    between = landmarks[:, _LOWER_LIP] - landmarks[:, _UPPER_LIP]
    return np.linalg.norm(between, axis=2).mean(axis=1)


def find_shape(landmarker: Landmarker, face: Face, near: Landmarks) -> Shape:
    """The landmarks of an aligned face, looked for around `near`, in its pixels.

    A swap and its source are to be looked for in one window: the mesh's answer depends
    a little on it.
    """
    return landmarker(Region(face, 0, 0), window_of_landmarks(near))


def find_gaze(face: Face, landmarks: Landmarks) -> Float64[np.ndarray, "2"]:
    """Where the eyes look: the dark of iris and pupil against the middle of the eye.

    The mean over both eyes of the darkness's centre, each in its eye's own axes: along
    the line of the corners, and across it.

    Args:
        face: an aligned face.
        landmarks: its 68 landmarks.

    Returns:
        (along, across) as shares of the eye's width; about 0 for a look straight ahead,
        0 for eyes without contrast.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float64)
    looks = []
    for part in (_LEFT_EYE, _RIGHT_EYE):
        eye = landmarks[part]
        inside = np.zeros(grey.shape, np.uint8)
        cv2.fillConvexPoly(
            inside, np.rint(cv2.convexHull(eye.astype(np.float32))).astype(np.int32), 1
        )
        y, x = np.nonzero(inside)
        axis = eye[3] - eye[0]
        width = float(np.linalg.norm(axis))
        if len(x) < 4 or width < 1:
            looks.append(np.zeros(2))
            continue
        levels = grey[y, x]
        # From the eye's median down, so that lids and white do not pull at it.
        dark = np.maximum(np.median(levels) - levels, 0)
        if dark.sum() <= 0:
            looks.append(np.zeros(2))
            continue
        at = np.stack([x, y], axis=1)
        offset = (at * dark[:, None]).sum(axis=0) / dark.sum() - eye[[0, 3]].mean(
            axis=0
        )
        along = axis / width
        across = np.array([-along[1], along[0]])
        looks.append(np.array([offset @ along, offset @ across]) / width)
    return np.mean(looks, axis=0)
