"""Expression figures: 0 for the source itself; frozen and mirrored faces fail."""

import numpy as np
import pytest

from deepfake_jax.evaluation.expression import (
    eye_distance,
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


def test_source_itself_has_no_error(rng: np.random.Generator):
    faces = act(rng)
    found = measure_expression(faces, faces)
    assert (found.expression_error, found.motion_error, found.mouth_error) == (0, 0, 0)
    assert found.pose_error == 0


def test_shift_counts_as_its_share_of_the_eyes_distance(rng: np.random.Generator):
    faces = act(rng)
    moved = faces + [0.03 * EYES, 0.04 * EYES]
    found = measure_expression(moved, faces)
    assert found.expression_error == pytest.approx(0.05)
    # A constant difference is the people's shapes, no motion.
    assert found.motion_error == pytest.approx(0, abs=1e-12)


def test_another_shape_that_follows_moves_alike(rng: np.random.Generator):
    faces = act(rng)
    other = faces + rng.normal(0, 4, (1, 68, 2))
    found, frozen = (
        measure_expression(other, faces),
        measure_expression(np.repeat(faces[:1], 30, 0), faces),
    )
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
    found = measure_expression(mirrored, faces)
    assert found.motion_error > 0.02 and found.pose_error > 1


def test_mouth_that_stays_shut_fails_alone():
    faces = np.repeat(MEAN[None], 2, axis=0)
    opened = faces.copy()
    opened[:, 65:68, 1] += 0.2 * EYES
    before, after = mouth_opening(faces), mouth_opening(opened)
    np.testing.assert_allclose(after - before, 0.2 * EYES, rtol=0.1)
    found = measure_expression(faces, opened)
    assert found.mouth_error == pytest.approx(0.2, rel=0.1)


def test_faces_are_needed():
    with pytest.raises(ValueError, match="one or more"):
        measure_expression(MEAN[None][:0], MEAN[None][:0])
