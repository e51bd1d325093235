"""Head pose from landmarks: yaw, pitch and roll in degrees.

Yaw is positive towards the image's right, pitch is positive upwards, roll is positive
clockwise in the image. All are zero for the mean face.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from deepfake_jax.imaging.face_template import MEAN_FACE, five_landmarks


@dataclass(frozen=True)
class Pose:
    """Where a head points, degrees."""

    yaw: float
    pitch: float
    roll: float


# Jaw points slide along the outline as a head turns, so the inner 51 are used.
_SHAPES = {
    68: MEAN_FACE[17:],
    5: np.column_stack(
        [
            five_landmarks(MEAN_FACE[:, :2]),
            five_landmarks(MEAN_FACE[:, [2, 2]])[:, 0],
        ]
    ),
}


def estimate_pose(landmarks: Float[Any, "n 2"]) -> Pose:
    """The pose of a face by fitting the mean face to its landmarks.

    Args:
        landmarks: 68 or 5 points in pixels.

    Reference:
        DeMenthon and Davis 1995, "Model-based object pose in 25 lines of code",
        section 3: the scaled orthographic projection, by least squares.
    """
    shape = _SHAPES[len(landmarks)]
    used = np.asarray(landmarks, np.float64)[-len(shape) :]
    model = shape - shape.mean(axis=0)
    camera = np.linalg.lstsq(model, used - used.mean(axis=0), rcond=None)[0].T
    lengths = np.linalg.norm(camera, axis=1)
    if not np.all(lengths > 1e-9):
        return Pose(0.0, 0.0, 0.0)
    x, y = camera / lengths[:, None]
    # The nearest pair of orthogonal rows, shared evenly between the two.
    u, _, vt = np.linalg.svd(np.stack([x, y]), full_matrices=False)
    x, y = u @ vt
    roll = np.degrees(np.arctan2(y[0], x[0]))
    yaw = np.degrees(np.arcsin(np.clip(-x[2], -1, 1)))
    pitch = np.degrees(np.arcsin(np.clip(y[2], -1, 1)))
    return Pose(round(float(yaw), 1), round(float(pitch), 1), round(float(roll), 1))
