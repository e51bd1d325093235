"""Footage whose pixels are not square, as DVDs have: searched as it is shown.

Detector, landmarks, alignment and embeddings know faces as people see them. So the
frame is searched in square pixels, and what was found goes back to the frame's own: a
matrix ``frame_to_face`` then squeezes, too, and whoever cuts or pastes by it need not
know.
"""

from dataclasses import replace

import numpy as np

from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.imaging.affine import (
    apply_affine,
    compose_affine,
    invert_affine,
    resize_affine,
    round_hundredths,
)
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.types import Affine


def square_frame(timed: TimedFrame) -> TimedFrame:
    """The frame as it is shown; itself where its pixels are square already."""
    native = timed.native
    if timed.pixel_aspect == 1 or native is None:
        return timed
    height, width = _square_size(timed)
    return replace(timed, native=native.reformat(width=width, height=height))


def to_frame_pixels(timed: TimedFrame, faces: list[TrackedFace]) -> list[TrackedFace]:
    """Faces that were found in `square_frame` of a frame, in its own pixels."""
    if timed.pixel_aspect == 1 or timed.native is None:
        return faces
    (height, width), (rows, columns) = _square_size(timed), timed.size
    to_square = resize_affine(width / columns, height / rows)
    return [_move(face, to_square) for face in faces]


def _move(face: TrackedFace, to_square: Affine) -> TrackedFace:
    shrink = np.array([1 / to_square[0, 0], 1 / to_square[1, 1]])
    back = invert_affine(to_square)
    return replace(
        face,
        box=round_hundredths(face.box * np.tile(shrink, 2)),
        landmarks=round_hundredths(apply_affine(back, face.landmarks)),
        hands=round_hundredths(apply_affine(back, face.hands)),
        frame_to_face=compose_affine(face.frame_to_face, to_square),
    )


def _square_size(timed: TimedFrame) -> tuple[int, int]:
    """Height and width; the side that is too short becomes longer, so nothing is lost.

    Even, because the chroma of most formats is.
    """
    (height, width), aspect = timed.size, timed.pixel_aspect
    if aspect >= 1:
        return height, 2 * round(width * aspect / 2)
    return 2 * round(height / aspect / 2), width
