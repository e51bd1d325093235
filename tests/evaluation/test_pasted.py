"""Leak and tint: nothing for a mask over all and for the source itself."""

import cv2
import numpy as np
import pytest
from drawn_glasses import SIDE, draw_frame, make_faces

from deepfake_jax.evaluation.pasted import (
    Pasted,
    measure_leak,
    measure_tint,
    paste_swaps,
)
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.imaging.glasses import find_glasses
from deepfake_jax.imaging.landmark_masks import features_mask, hull_mask

SIZE = 256
LANDMARKS = template_landmarks(SIZE, count=68)


def open_mouth(by: float) -> np.ndarray:
    moved = LANDMARKS.copy()
    moved[[55, 56, 57, 58, 59, 65, 66, 67], 1] += by
    return moved


def test_mask_over_all_features_leaks_nothing():
    assert measure_leak([np.ones((SIZE, SIZE), np.float32)], [LANDMARKS]) == 0
    assert measure_leak([np.zeros((SIZE, SIZE), np.float32)], [LANDMARKS]) == 1


def test_mouth_that_opens_below_the_mask_leaks():
    mask = hull_mask(LANDMARKS, SIZE)
    closed = measure_leak([mask], [LANDMARKS])
    wide = measure_leak([mask], [open_mouth(60)])
    assert wide > closed + 0.1


def test_tint_is_the_distance_in_lab(face: np.ndarray):
    mask = np.ones((SIZE, SIZE), np.float32)
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab[..., 1] += 6
    redder = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    redder = np.clip(np.rint(255 * redder), 0, 255).astype(np.uint8)
    assert measure_tint([face], [face], [mask], [LANDMARKS]) == 0
    # Colors that leave the cube are clipped, and all are rounded.
    found = measure_tint([redder], [face], [mask], [LANDMARKS])
    assert found == pytest.approx(6, abs=0.7)


def test_tint_looks_at_rims_and_not_at_features(face: np.ndarray):
    mask = hull_mask(LANDMARKS, SIZE)
    features = features_mask(LANDMARKS, SIZE) > 0.99
    other = face.copy()
    other[features] = 255 - other[features]
    assert measure_tint([other], [face], [mask], [LANDMARKS]) < 0.5
    rim = cv2.dilate(mask, np.ones((3, 3))) - cv2.erode(mask, np.ones((15, 15))) > 0.5
    rimmed = face.copy()
    rimmed[rim] = [255, 0, 0]
    assert measure_tint([rimmed], [face], [mask], [LANDMARKS]) > 5


def test_beard_is_no_tint():
    skin = np.full((SIZE, SIZE, 3), (200, 150, 130), np.uint8)
    beard = skin.copy()
    beard[150:] = (90, 70, 60)
    mask = hull_mask(LANDMARKS, SIZE)
    for result, source in ((skin, beard), (beard, skin)):
        assert measure_tint([result], [source], [mask], [LANDMARKS]) < 2.5
    pale = np.full_like(skin, (205, 165, 150))
    assert measure_tint([pale], [beard], [mask], [LANDMARKS]) > 5


@pytest.mark.parametrize("masked", [False, True])
def test_swaps_are_pasted_within_the_networks_mask(masked: bool):
    size, landmarks = 128, LANDMARKS[None]
    real = np.full((1, size, size, 3), 120, np.uint8)
    answers = np.full((1, size, size, 4), 255.0, np.float32)
    answers[..., :3] = np.random.default_rng(0).integers(0, 255, (size, size, 3))
    answers[:, :, 64:, 3] = 0  # the right half is no face
    pasted = paste_swaps(answers if masked else answers[..., :3], real, landmarks)
    changed = (pasted.crops[0] != 120).any(axis=2)
    assert changed[40:80, 40:60].mean() > 0.9
    # What is covered of the source's features reaches on by three hundredths.
    assert (changed[50:100, 100:110].mean() > 0.5) != masked


def test_glasses_stay_before_the_pasted_face():
    faces, landmarks = make_faces()
    for face, points in zip(faces, landmarks, strict=True):
        draw_frame(face, points, color=240, width=0.04, square=False)
    glasses = find_glasses(faces, landmarks)
    assert glasses is not None
    real = crop_faces(np.stack(faces[:2]), 128)
    answers = np.full((2, 128, 128, 3), 150.0, np.float32)
    shapes = np.stack(landmarks[:2])
    kept = paste_swaps(answers, real, shapes, glasses)
    cut = paste_swaps(answers, real, shapes)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    draw_frame(drawn, landmarks[0], color=255, width=0.04, square=False)
    frame = crop_faces(np.dstack([drawn] * 3)[None], 128)[0, ..., 0] > 200

    def differ(pasted: Pasted) -> float:
        return float(np.abs(pasted.crops[0].astype(int) - real[0])[frame].mean())

    assert differ(kept) < 0.4 * differ(cut)
    # What a frame covers is none of the source's features.
    assert kept.leak == cut.leak
