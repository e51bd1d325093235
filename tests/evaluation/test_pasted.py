"""Leak and tint: nothing for a mask over all and for the source itself."""

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.pasted import measure_leak, measure_tint
from deepfake_jax.imaging.face_template import template_landmarks
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
