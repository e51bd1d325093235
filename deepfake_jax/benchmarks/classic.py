"""The classic augmentation of a face in two resamplings, as a yardstick.

Rewritten from its description, one face at a time as the program of 2017 had it, and no
slower than it needs to be: the whole face is turned (256 x 256 pixels), mirrored if so
drawn, and its centre cut out by a map and by a similarity.

Reference:
    deepfakes/faceswap, December 2017: `random_transform` and `random_warp`.
"""

import cv2
import numpy as np
from jaxtyping import Float64

from deepfake_jax.training.augment import Crop
from deepfake_jax.types import Face


def classic_pair(rng: np.random.Generator, face: Face) -> tuple[Crop, Crop]:
    """A training pair of 64 pixels from a face of 256: transform, then warp."""
    angle, zoom, shift_x, shift_y = rng.uniform(-1, 1, 4).tolist()
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), 10 * angle, 1 + 0.05 * zoom)
    matrix[:, 2] += 0.05 * 256 * shift_x, 0.05 * 256 * shift_y
    face = cv2.warpAffine(face, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.4:
        face = cv2.flip(face, 1)
    grid = np.mgrid[48:208:5j, 48:208:5j][::-1] + rng.normal(0, 5, (2, 5, 5))
    map_x, map_y = (
        cv2.resize(plane.astype(np.float32), (80, 80))[8:72, 8:72] for plane in grid
    )
    warped = cv2.remap(face, map_x, map_y, cv2.INTER_LINEAR)
    line = np.linspace(0, 64, 5)
    corners = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    similarity = _umeyama(grid.reshape(2, -1).T, corners)
    return warped, cv2.warpAffine(face, similarity, (64, 64))


# Umeyama 1991 for one pair of point sets in the plane, without the general form's cost.
def _umeyama(
    source: Float64[np.ndarray, "n 2"], target: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "2 3"]:
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    rotation = u @ vt
    scale = singular.sum() / (centred**2).sum() * len(source)
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = target_mean - matrix[:, :2] @ source_mean
    return matrix
