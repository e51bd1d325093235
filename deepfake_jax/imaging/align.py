"""Similarity alignment of faces: pure geometry, no detector and no network.

Points are (x, y) in pixels, pixel centres at integers. A face picture is square, its
points counted in its own pixels. Matrices are 2x3 float64 and map column points:
``out = matrix[:, :2] @ point + matrix[:, 2]``.

The one template of the project is a mean face in a face picture, as shares of its
side. Its 68 landmarks are `MEAN_FACE`, of which the stable ones are used (nose and eye
corners: they keep still while a face talks and blinks). A detector's five (eyes,
nose tip, mouth corners) go to `TEMPLATE_LANDMARKS`, the template that ArcFace made
common (Deng et al. 2019, section 4; 112 x 112 px), scaled so that the eyes stand
`EYE_DISTANCE` of the side apart; the mean face lies where its own five fit
these. Brows, chin and cheeks then fit into the training crop, the central `COVERAGE` of
the picture, with room for a mask's soft border. The rest is margin for random
rotations, zooms, shifts and warps.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from deepfake_jax.imaging.affine import (
    affine_scale,
    apply_affine,
    bounding_box,
    compose_affine,
    face_corners,
    invert_affine,
    resize_affine,
    shift_affine,
    umeyama,
)
from deepfake_jax.imaging.face_template import (
    COVERAGE,
    FACE_SIZE,
    STABLE_LANDMARKS,
    crop_matrix,
    template_landmarks,
)
from deepfake_jax.types import Affine, Face, Frame, Landmarks

# Scale above which sampling is cubic: at the face's own size, linear sampling there and
# back loses 7 dB (33 against 40 at 60 to 90 pixels).
_CUBIC = 0.75


def frame_to_face_matrix(
    landmarks: Float[Any, "n 2"], *, face_size: int = FACE_SIZE
) -> Affine:
    """The similarity from a frame to its aligned face.

    Args:
        landmarks: 68, of which the stable ones are used, or five: image-left
            eye, image-right eye, nose tip, image-left and image-right mouth corner; in
            the frame's pixels.
        face_size: side of the face picture in pixels.

    Raises:
        ValueError: neither 5 nor 68, or all of them in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    count = len(landmarks)
    if count not in (5, 68):
        raise ValueError(f"landmarks must be 5 or 68 points, got {count}")
    target = template_landmarks(face_size, count=count)
    # Of five two lie on the lips: without them, noise would decide the scale.
    used = list(STABLE_LANDMARKS) if count == 68 else list(range(5))
    return umeyama(landmarks[used], target[used])


def complete_landmarks(landmarks: Landmarks) -> Landmarks:
    """68 landmarks as they are; of five the mean face, placed where they lie."""
    if len(landmarks) == 68:
        return landmarks
    return apply_affine(
        invert_affine(umeyama(landmarks, template_landmarks(count=5))),
        template_landmarks(count=68),
    )


def warp_face(frame: Frame, frame_to_face: Affine, face_size: int = FACE_SIZE) -> Face:
    """Cuts an aligned face out of a frame, uint8 RGB, edges repeated outside.

    Faces larger than the output are first reduced by area averaging, so that fine
    detail does not alias; from three quarters of the size on, sampling is cubic.
    """
    scale = affine_scale(frame_to_face)
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
    quad = face_corners(frame_to_face, face_size)
    box = bounding_box(quad, frame.shape, margin=2)
    if box is None:  # nothing but repeated edges
        return frame, frame_to_face
    part = frame[box]
    height = max(1, round(part.shape[0] * scale))
    width = max(1, round(part.shape[1] * scale))
    reduced = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    to_part = resize_affine(part.shape[1] / width, part.shape[0] / height)
    to_frame = compose_affine(shift_affine(box[1].start, box[0].start), to_part)
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
