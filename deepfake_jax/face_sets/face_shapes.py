"""A face's shape: where its landmarks lie, less where its person's are on average.

What is left is pose and expression, which A and B can have alike, and little of who it
is. Landmarks are (x, y) in the pixels of the aligned face picture, 68 or 5 of a face.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import (
    FACE_SIZE,
    five_landmarks,
    template_landmarks,
)
from deepfake_jax.types import Hands, Landmarks, Side

JAW = 17  # leading ones of 68 landmarks, which follow the outline


def stack_landmarks(
    records: Mapping[Side, Sequence[FaceRecord]],
) -> dict[Side, Float64[np.ndarray, "_ p 2"]] | None:
    """Landmarks of both sides' faces, in their pictures, as many of each face.

    Returns:
        68 where all faces have them, else 5; None where some face has neither.
    """
    counts = {len(face.landmarks) for own in records.values() for face in own}
    if not counts <= {5, 68}:
        return None

    def stack(faces: Sequence[FaceRecord]) -> Float64[np.ndarray, "_ _ 2"]:
        landmarks = map(align_landmarks, faces)
        if counts != {68}:
            landmarks = map(five_landmarks, landmarks)
        return np.stack(list(landmarks))

    return {side: stack(own) for side, own in records.items()}


def align_hands(records: Sequence[FaceRecord]) -> list[Hands]:
    """The hands before each face, in the pixels of its picture."""
    return [
        apply_affine(
            np.array(record.frame_to_face, np.float64),
            np.array(record.hands, np.float64).reshape(-1, 21, 2),
        )
        for record in records
    ]


def align_landmarks(record: FaceRecord) -> Landmarks:
    """A record's landmarks, 68 or 5, in the pixels of its face picture."""
    matrix = np.array(record.frame_to_face, np.float64)
    landmarks: Float[np.ndarray, "n 2"] = np.array(record.landmarks, np.float64)
    if len(landmarks) not in (5, 68):
        return template_landmarks(FACE_SIZE)
    return apply_affine(matrix, landmarks)
