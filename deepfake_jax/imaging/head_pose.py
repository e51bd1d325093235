"""Head pose from landmarks: yaw, pitch and roll in degrees.

Yaw is positive towards the image's right, pitch is positive upwards, roll is positive
clockwise in the image. All are zero for the mean face.
"""

import math
import operator
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
# Least squares of landmarks by a shape: its pseudo-inverse, which is always the same.
_INVERSES = {
    count: np.linalg.pinv(shape - shape.mean(axis=0))
    for count, shape in _SHAPES.items()
}


def estimate_pose(landmarks: Float[Any, "n 2"]) -> Pose:
    """The pose of a face by fitting the mean face to its landmarks.

    Args:
        landmarks: 68 or 5, in pixels.

    Reference:
        DeMenthon and Davis 1995, "Model-based object pose in 25 lines of code",
        section 3: the scaled orthographic projection, by least squares.
    """
    inverse = _INVERSES[len(landmarks)]
    used = np.asarray(landmarks, np.float64)[-inverse.shape[1] :]
    camera = inverse @ (used - used.mean(axis=0))
    x, y = camera.T.tolist()
    length_x, length_y = math.hypot(*x), math.hypot(*y)
    if min(length_x, length_y) <= 1e-9:
        return Pose(0.0, 0.0, 0.0)
    x, y = [v / length_x for v in x], [v / length_y for v in y]
    shared = sum(map(operator.mul, x, y))
    if 1 - abs(shared) < 1e-12:  # one row twice, as of landmarks on a line
        return Pose(0.0, 0.0, 0.0)
    # The nearest pair of orthogonal rows, shared evenly between the two: the inverse
    # root of [[1, shared], [shared, 1]] times them.
    more, less = 1 / math.sqrt(1 + shared), 1 / math.sqrt(1 - shared)
    own, other = (more + less) / 2, (more - less) / 2
    pairs = list(zip(x, y, strict=True))
    x = [own * first + other * second for first, second in pairs]
    y = [other * first + own * second for first, second in pairs]
    yaw = math.asin(min(1.0, max(-1.0, -x[2])))
    pitch = math.asin(min(1.0, max(-1.0, y[2])))
    angles = (math.degrees(a) for a in (yaw, pitch, math.atan2(y[0], x[0])))
    return Pose(*[round(angle, 1) for angle in angles])
