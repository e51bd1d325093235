"""What redrawing changes: nothing of an intact face, much of one with faults."""

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.redraw import redraw_error, redraw_likeness
from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks

SIDE = 128
LANDMARKS = [template_landmarks(FACE_SIZE, count=68)] * 3


@pytest.fixture
def faces(rng: np.random.Generator) -> np.ndarray:
    noise = rng.integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    smooth = [cv2.GaussianBlur(face.astype(np.float32), (0, 0), 6) for face in noise]
    return np.clip(np.rint(128 + 12 * (np.stack(smooth) - 128)), 0, 255).astype(
        np.uint8
    )


def test_a_change_counts_inside_the_face_alone(faces: np.ndarray):
    assert redraw_error(faces, faces, LANDMARKS) == 0
    brighter = np.minimum(faces, 200) + np.uint8(10)
    whole = redraw_error(np.minimum(faces, 200), brighter, LANDMARKS)
    assert whole == pytest.approx(10, abs=0.1)
    outside = faces.copy()
    outside[:, :8] = outside[:, :, :8] = 255
    assert redraw_error(outside, faces, LANDMARKS) < 0.01
    # What lies out of its place is changed back.
    shards = faces.copy()
    shards[:, 50:70, 40:60] = faces[:, 70:90, 60:80]
    assert redraw_error(shards, faces, LANDMARKS) > 5
    # Landmarks of any size of picture: a face may lie outside of the crop altogether.
    beside = [own + 10 * FACE_SIZE for own in LANDMARKS]
    assert redraw_error(shards, faces, beside) == 0


def test_real_faces_say_how_much_is_usual():
    assert redraw_likeness(8.0, 4.0) == 0.5
    assert redraw_likeness(2.0, 4.0) == redraw_likeness(4.0, 4.0) == 1.0
    # A network that copies: differences below half a level are rounding.
    assert redraw_likeness(0.3, 0.0) == redraw_likeness(0.0, 0.0) == 1.0
