"""The color of a person's skin in a face set, and what takes one person's to another's.

Of a face only what its landmarks enclose counts, from the brows to the chin: walls and
clothes differ more than skins do. One pair had a blue wall and a white one; over whole
pictures its shift was +15 levels of red where the skins wanted -27.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int64

from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import align_landmarks
from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.imaging.landmark_masks import hull_mask
from deepfake_jax.types import Mask, Side, spread

_MOST = 400  # faces, evenly spread: more change a mean by less than half a level


def mean_color_shift(
    sets: Mapping[Side, FaceSet],
    *,
    among: Mapping[Side, Int64[np.ndarray, "_"]] | None = None,
) -> Float64[np.ndarray, "3"]:
    """What to add to A's faces to give their skin B's mean color, grey levels.

    Args:
        sets: of both sides.
        among: which of their faces count; all if None.
    """
    skins = {
        side: measure_skin(faces, chosen=None if among is None else among[side])
        for side, faces in sets.items()
    }
    # Hosts of one run compare it: the last digits depend on their processors.
    return np.round(skins["b"] - skins["a"], 2)


def measure_skin(
    faces: FaceSet, *, chosen: Int64[np.ndarray, "n"] | None = None
) -> Float64[np.ndarray, "3"]:
    """Mean red, green and blue inside of the faces' outlines, each face alike."""
    means = []
    chosen = np.arange(len(faces.faces)) if chosen is None else chosen
    for index in chosen[spread(len(chosen), _MOST)]:
        inside = _outline(faces.records[index]) > 0.5
        means.append(faces.faces[index][inside].mean(axis=0, dtype=np.float64))
    return np.mean(np.array(means), axis=0)


def _outline(record: FaceRecord) -> Mask:
    """A face's hull in its picture; the mean face's where five landmarks are known."""
    landmarks = align_landmarks(record)
    if len(landmarks) != 68:
        landmarks = template_landmarks(count=68)
    mask = hull_mask(landmarks, FACE_SIZE)
    # Landmarks that lie outside of the picture say nothing.
    return mask if mask.any() else hull_mask(template_landmarks(count=68), FACE_SIZE)
