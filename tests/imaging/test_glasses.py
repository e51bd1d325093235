"""Glasses: found where someone wears some, in any form; nobody else has any."""

import cv2
import numpy as np
import pytest
from drawn_glasses import SIDE, draw_frame, make_faces

from deepfake_jax.imaging.glasses import Glasses, find_glasses, glasses_mask


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize(("color", "width"), [(20, 0.03), (25, 0.08), (240, 0.03)])
def test_frames_are_found_and_covered(color: int, width: float, square: bool):
    faces, landmarks = make_faces()
    for face, points in zip(faces, landmarks, strict=True):
        draw_frame(face, points, color=color, width=width, square=square)
    glasses = find_glasses(faces, landmarks)
    assert glasses is not None
    assert np.sign(glasses.contrast) == np.sign(color - 170)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    draw_frame(drawn, landmarks[0], color=255, width=width, square=square)
    for size in (128, SIDE):
        mask = glasses_mask(faces[0], landmarks[0], glasses, size)
        assert mask.shape == (size, size) and mask.min() >= 0 and mask.max() <= 1
        shown = cv2.resize(mask, (SIDE, SIDE))
        assert shown[drawn > 128].mean() > 0.7
        # Eyes, nose and cheeks are not kept.
        eyes = landmarks[0][36:48].mean(0).round().astype(int)
        assert shown[eyes[1] + 35 :].max() < 0.05
        inner = np.rint(landmarks[0][[37, 40, 43, 46]]).astype(int)
        assert shown[inner[:, 1], inner[:, 0]].max() < 0.2
        # A thick frame is thicker than a thin one.
        assert shown.mean() < 0.12


def test_nobody_else_wears_any():
    faces, landmarks = make_faces()
    assert find_glasses(faces, landmarks) is None
    assert find_glasses([], []) is None


def test_one_who_sometimes_wears_some_wears_none():
    """Lines that few pictures have are no frame."""
    faces, landmarks = make_faces()
    draw_frame(faces[0], landmarks[0], color=200, width=0.03, square=False)
    assert find_glasses(faces, landmarks) is None


def test_a_picture_without_them_keeps_nothing():
    faces, landmarks = make_faces()
    worn = [face.copy() for face in faces]
    for face, points in zip(worn, landmarks, strict=True):
        draw_frame(face, points, color=20, width=0.04, square=True)
    glasses = find_glasses(worn, landmarks)
    assert glasses is not None
    mask = glasses_mask(faces[0], landmarks[0], glasses, 128)
    assert mask.max() < 0.3


def test_landmarks_must_be_68():
    faces, landmarks = make_faces(1)
    with pytest.raises(ValueError, match="68"):
        find_glasses(faces, [landmarks[0][:5]])
    glasses = Glasses(rims=(0.4,) * 60, contrast=-20.0, beside=0.04)
    with pytest.raises(ValueError, match="68"):
        glasses_mask(faces[0], landmarks[0][:5], glasses, 64)
