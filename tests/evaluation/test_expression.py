"""Expression figures: 0 for the source itself; frozen and mirrored faces fail."""

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.expression import (
    Expression,
    eye_distance,
    find_gaze,
    measure_expression,
    mouth_opening,
)
from deepfake_jax.imaging.face_template import template_landmarks

MEAN = template_landmarks(256, count=68)
EYES = float(eye_distance(MEAN[None])[0])


def act(rng: np.random.Generator, n: int = 30) -> np.ndarray:
    """Faces that talk, raise a brow and lean; (n, 68, 2)."""
    faces = np.repeat(MEAN[None], n, axis=0)
    faces[:, 48:68, 1] += rng.uniform(0, 12, (n, 1)) * (np.arange(20) % 2)
    faces[:, 65:68, 1] += rng.uniform(0, 20, (n, 1))
    faces[:, 17:22, 1] -= rng.uniform(0, 10, (n, 1))
    faces[:, 27:36, 0] += rng.uniform(-12, 12, (n, 1))
    return faces


def judge(swapped: np.ndarray, source: np.ndarray, turn: float = 0.0) -> Expression:
    gaze = np.linspace(-0.2, 0.2, 2 * len(source)).reshape(-1, 2)
    return measure_expression(
        swapped, source, swapped_gaze=gaze + [turn, 0], source_gaze=gaze
    )


def test_source_itself_has_no_error(rng: np.random.Generator):
    faces = act(rng)
    found = judge(faces, faces)
    assert (found.expression_error, found.motion_error, found.mouth_error) == (0, 0, 0)
    assert (found.gaze_error, found.pose_error) == (0, 0)


def test_shift_counts_as_its_share_of_the_eyes_distance(rng: np.random.Generator):
    faces = act(rng)
    moved = faces + [0.03 * EYES, 0.04 * EYES]
    found = judge(moved, faces)
    assert found.expression_error == pytest.approx(0.05)
    # A constant difference is the people's shapes, no motion.
    assert found.motion_error == pytest.approx(0, abs=1e-12)


def test_another_shape_that_follows_moves_alike(rng: np.random.Generator):
    faces = act(rng)
    other = faces + rng.normal(0, 4, (1, 68, 2))
    found, frozen = judge(other, faces), judge(np.repeat(faces[:1], 30, 0), faces)
    assert found.expression_error > 0.03
    assert found.motion_error < 1e-12
    assert frozen.motion_error > 0.01
    # Some twenty of 51 points moved by up to a third of the distance of the eyes.
    assert frozen.motion_error > 0.02 and frozen.mouth_error > 0.05
    assert frozen.pose_error > 1


def test_mirrored_face_fails(rng: np.random.Generator):
    faces = act(rng)
    mirrored = faces.copy()
    # The turn of the nose and the brow on the other side.
    mirrored[:, 27:36, 0] = 2 * MEAN[27:36, 0] - faces[:, 27:36, 0]
    mirrored[:, 17:22] = MEAN[17:22]
    mirrored[:, 22:27, 1] += (faces[:, 17:22, 1] - MEAN[17:22, 1])[:, ::-1]
    found = judge(mirrored, faces)
    assert found.motion_error > 0.02 and found.pose_error > 1


def test_mouth_that_stays_shut_fails_alone():
    faces = np.repeat(MEAN[None], 2, axis=0)
    opened = faces.copy()
    opened[:, 65:68, 1] += 0.2 * EYES
    before, after = mouth_opening(faces), mouth_opening(opened)
    np.testing.assert_allclose(after - before, 0.2 * EYES, rtol=0.1)
    found = judge(faces, opened)
    assert found.mouth_error == pytest.approx(0.2, rel=0.1)
    assert found.gaze_error == 0


def draw_eyes(look: tuple[float, float]) -> np.ndarray:
    """A face whose irises stand `look` eye widths from the middles of its eyes."""
    face = np.full((256, 256, 3), 180, np.uint8)
    for part in (slice(36, 42), slice(42, 48)):
        eye = MEAN[part]
        cv2.fillConvexPoly(face, np.rint(eye).astype(np.int32), (235, 235, 235))
        width = np.linalg.norm(eye[3] - eye[0])
        at = eye[[0, 3]].mean(axis=0) + np.array(look) * width
        at = tuple(int(v) for v in np.rint(at * 16))
        cv2.circle(face, at, int(4 * 16), (40, 30, 25), -1, cv2.LINE_AA, shift=4)
    return face


def test_gaze_follows_the_iris():
    looks = [find_gaze(draw_eyes((x, 0.0)), MEAN)[0] for x in (-0.2, 0.0, 0.2)]
    # The lids cut the round iris; the rest of the eye is drawn in whole pixels.
    np.testing.assert_allclose(looks, [-0.2, 0, 0.2], atol=0.04)
    up, down = (find_gaze(draw_eyes((0.0, y)), MEAN)[1] for y in (-0.1, 0.1))
    assert down - up > 0.05
    assert np.all(find_gaze(np.full((256, 256, 3), 90, np.uint8), MEAN) == 0)
    gaze = measure_expression(
        MEAN[None],
        MEAN[None],
        swapped_gaze=np.zeros((1, 2)),
        source_gaze=np.ones((1, 2)),
    ).gaze_error
    assert gaze == pytest.approx(np.sqrt(2))


def test_faces_are_needed():
    with pytest.raises(ValueError, match="one or more"):
        judge(MEAN[None][:0], MEAN[None][:0])
