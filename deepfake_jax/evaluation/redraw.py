"""Whether a swap is what the target's own network draws again as it is.

An autoencoder gives back what it knows: an intact face of its person comes back nearly
as it was. What no face has comes back changed: patches out of their places, a second
mouth, parts pulled askew, half of another face, lattices and noise, all of which may be
of the finest detail and, to an identity network, still the target.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.imaging.landmark_masks import hull_mask
from deepfake_jax.types import Crops, Landmarks

_BLUR = 1 / 128  # of the side: no network draws what is finer
_LEAST = 0.5  # levels of the real faces' error: rounding is no fault


def redraw_error(crops: Crops, redrawn: Crops, landmarks: Sequence[Landmarks]) -> float:
    """Root mean square of what redrawing changes inside the face, grey levels.

    The mean over the faces; 0 where nothing changes.

    Args:
        crops: faces, drawn or real.
        redrawn: what their person's network draws of them.
        landmarks: 68 of each, in the pixels of the face pictures.
    """
    matrix, side = crop_matrix(crops.shape[1]), crops.shape[1]
    errors = []
    for crop, again, own in zip(crops, redrawn, landmarks, strict=True):
        inside = hull_mask(apply_affine(matrix, own), side) > 0.5
        if not inside.any():
            continue
        change = _blur(crop)[inside] - _blur(again)[inside]
        errors.append(float(np.sqrt(np.square(change).mean())))
    return float(np.mean(errors)) if errors else 0.0


def redraw_likeness(error: float, real_error: float) -> float:
    """The real faces' error of redrawing to that of drawn ones.

    In [0, 1]; 1: drawn faces come back as true as the target's real ones do.

    Args:
        error: `redraw_error` of the drawn faces.
        real_error: that of the target's real faces, by the same network.
    """
    real_error = max(real_error, _LEAST)
    return min(1.0, real_error / max(error, real_error))


def _blur(crop: np.ndarray) -> Float32[np.ndarray, "side side 3"]:
    return cv2.GaussianBlur(crop.astype(np.float32), (0, 0), _BLUR * len(crop))
