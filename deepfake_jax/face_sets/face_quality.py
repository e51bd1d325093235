"""How good a face is for training, and why it is left out if it is not.

Angles are in degrees, sizes in pixels of the source, shares in [0, 1].
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.imaging.affine import apply_affine, compose_affine
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, crop_matrix
from deepfake_jax.types import Face

_SIDE = 96  # pixels at which sharpness and occlusion are judged


@dataclass(frozen=True)
class Quality:
    """What can be told from a face and its picture.

    Attributes:
        width: of the face's box in its frame, as it is shown.
        alignment: the landmarks' confidence.
        sharpness: fine detail over contrast; about 0.2 for a soft picture, 1 for a
            sharp one.
        occlusion: share of the skin that is of another colour than the rest: a
            microphone, a hand's shadow, hair. A guess.
        yaw: of the head, positive to the image's right.
        pitch: positive upwards.
        roll: positive clockwise.
    """

    width: float
    alignment: float
    sharpness: float
    occlusion: float
    yaw: float
    pitch: float
    roll: float


def measure_quality(face: TrackedFace, picture: Face) -> Quality:
    """Measures a face and its aligned picture."""
    side = FACE_SIZE * COVERAGE
    low = round((FACE_SIZE - side) / 2)
    crop = picture[low : low + round(side), low : low + round(side)]
    crop = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    to_crop = compose_affine(crop_matrix(_SIDE), face.frame_to_face)
    landmarks = apply_affine(to_crop, face.landmarks)
    return Quality(
        width=round(face.width, 1),
        alignment=round(face.confidence, 3),
        sharpness=measure_sharpness(crop),
        occlusion=guess_occlusion(crop, landmarks) if len(landmarks) == 68 else 0.0,
        yaw=face.pose.yaw,
        pitch=face.pose.pitch,
        roll=face.pose.roll,
    )


def measure_sharpness(picture: Face) -> float:
    """Deviation of the Laplacian over that of the picture itself.

    Reference:
        Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy",
        divided by the contrast so that a dark face is no blurred one.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).std())
    return round(detail / (float(grey.std()) + 4), 3)


def guess_occlusion(picture: Face, landmarks: Float64[np.ndarray, "68 2"]) -> float:
    """Share of the lower face whose colour is not that of the skin around the nose.

    Args:
        picture: the face.
        landmarks: in its pixels.
    """
    corners = np.rint(landmarks).astype(np.int32)
    skin = np.zeros(picture.shape[:2], np.uint8)
    # Cheeks to chin without the lips: brows and eyes are of other colours anyway.
    lower = np.concatenate([corners[2:15], corners[[35, 33, 31]]])
    cv2.fillPoly(skin, [lower], 255)
    cv2.fillConvexPoly(skin, cv2.convexHull(corners[48:60]), 0)
    cheeks = np.zeros_like(skin)
    nose = np.concatenate([corners[27:36], corners[[41, 46]]])
    cv2.fillConvexPoly(cheeks, cv2.convexHull(nose), 255)
    if not skin.any() or not cheeks.any():
        return 1.0
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    around = lab[cheeks > 0]
    middle = np.median(around, axis=0)
    # Light differs over a face by far more than hue does.
    spread = np.maximum(np.median(np.abs(around - middle), axis=0), [18, 5, 5])
    off = np.abs(lab[skin > 0] - middle) / spread
    return round(float((off.max(axis=1) > 3.5).mean()), 3)


def find_fault(quality: Quality, config: ExtractConfig) -> str | None:
    """The first reason to leave a face out, None if it is good enough."""
    q = quality
    faults = (
        ("size", q.width < config.min_size),
        ("alignment", q.alignment < config.min_alignment),
        ("yaw", abs(q.yaw) > config.max_yaw),
        ("pitch", abs(q.pitch) > config.max_pitch),
        ("roll", abs(q.roll) > config.max_roll),
        ("sharpness", q.sharpness < config.min_sharpness),
        ("occlusion", q.occlusion > config.max_occlusion),
    )
    return next((name for name, bad in faults if bad), None)
