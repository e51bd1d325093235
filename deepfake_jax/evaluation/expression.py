"""Whether a swapped face keeps the expression and the pose of its source.

Landmarks are 68 (iBUG's order) in the pixels of one aligned face picture, the
same for source and swap; distances are shares of the source's distance of the eyes.
"""

from dataclasses import dataclass

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
        pose_error: mean absolute difference of yaw, pitch and roll, degrees.
    """

    expression_error: float
    motion_error: float
    mouth_error: float
    pose_error: float


def measure_expression(swapped: Shapes, source: Shapes) -> Expression:
    """Compares the landmarks of swapped faces with their sources'.

    Args:
        swapped: landmarks of the swapped faces.
        source: of their sources, in the same order and picture.

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
