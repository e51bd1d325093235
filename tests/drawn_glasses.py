"""Cartoon faces, and frames of glasses drawn into pictures."""

import cv2
import numpy as np

from deepfake_jax.imaging.face_template import template_landmarks

SIDE = 256
LANDMARKS = template_landmarks(SIDE, count=68)
_SHIFT = 4


def draw_line(
    picture: np.ndarray, points: np.ndarray, *, closed: bool, color: int, width: float
) -> None:
    places = np.rint(points * 2**_SHIFT).astype(np.int32)
    cv2.polylines(
        picture,
        [places],
        closed,
        (color,) * picture.ndim if picture.ndim == 3 else color,
        max(1, round(width)),
        cv2.LINE_AA,
        _SHIFT,
    )


def draw_frame(
    picture: np.ndarray,
    landmarks: np.ndarray,
    *,
    color: int,
    width: float,
    square: bool,
) -> None:
    """A frame of lines as wide as `width`, in distances of the eyes, into a picture."""
    middles = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    apart = np.linalg.norm(middles[1] - middles[0])
    turn = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    round_, tall = np.cos(turn), np.sin(turn)
    if square:
        scale = (np.abs(round_) ** 4 + np.abs(tall) ** 4) ** -0.25
        round_, tall = round_ * scale, tall * scale
    line = {"color": color, "width": width * apart}
    for middle in middles:
        rim = middle + apart * np.stack([0.4 * round_, 0.06 + 0.31 * tall], 1)
        draw_line(picture, rim, closed=True, **line)
    left, right = (middle[0] for middle in middles)
    height = (middles[0][1] + middles[1][1]) / 2 - 0.03 * apart
    for start, end in (
        (left + 0.4 * apart, right - 0.4 * apart),
        (left - 0.4 * apart, left - 0.9 * apart),
        (right + 0.4 * apart, right + 0.9 * apart),
    ):
        draw_line(
            picture, np.array([[start, height], [end, height]]), closed=False, **line
        )


def make_faces(count: int = 12) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Faces with eyes, brows, lips and folds below the eyes, and their landmarks."""
    rng = np.random.default_rng(0)
    faces, landmarks = [], []
    for _ in range(count):
        points = LANDMARKS + rng.normal(0, 1.0, 2) + rng.normal(0, 0.4, (68, 2))
        face = np.full((SIDE, SIDE, 3), 170, np.uint8)
        draw_line(face, points[17:22], closed=False, color=60, width=6)
        draw_line(face, points[22:27], closed=False, color=60, width=6)
        for eye in (points[36:42], points[42:48]):
            cv2.fillConvexPoly(face, np.rint(eye).astype(np.int32), (90, 80, 70))
            fold = eye[3:] + [0, 7]
            draw_line(face, fold, closed=False, color=140, width=2)
        draw_line(face, points[48:60], closed=True, color=110, width=4)
        grain = rng.normal(0, 3, (SIDE, SIDE, 1))
        faces.append(np.clip(np.rint(face + grain), 0, 255).astype(np.uint8))
        landmarks.append(points)
    return faces, landmarks
