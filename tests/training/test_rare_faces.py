"""Faces of rare looks are drawn more often, as often as they were asked to be."""

import cv2
import numpy as np
import pytest

from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.data import make_batch
from deepfake_jax.training.rare_faces import weigh_rare
from deepfake_jax.types import SIDES

COUNT, BLINKS = 60, (7, 31)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    """Of a head that turns a little, with eyes that the mesh never sees closed."""
    rng = np.random.default_rng(5)
    points = template_landmarks(FACE_SIZE, count=68)
    return points + rng.normal(0, 1, (COUNT, 1, 2)) + rng.normal(0, 0.3, (COUNT, 68, 2))


@pytest.fixture(scope="module")
def faces(landmarks: np.ndarray) -> np.ndarray:
    """Skin with open eyes, but for two faces whose eyes are skin, too."""
    rng = np.random.default_rng(6)
    faces = np.empty((COUNT, FACE_SIZE, FACE_SIZE, 3), np.uint8)
    for index, (face, points) in enumerate(zip(faces, landmarks, strict=True)):
        face[:] = rng.normal(170, 3, face.shape).clip(0, 255)
        if index not in BLINKS:
            for eye in (points[36:42], points[42:48]):
                cv2.fillPoly(face, [eye.round().astype(np.int32)], (250, 250, 250))
                middle = eye.mean(0).round().astype(int).tolist()
                cv2.circle(face, middle, 5, (40, 30, 20), -1)
    return faces


def test_blinks_are_rare(faces: np.ndarray, landmarks: np.ndarray):
    among = np.arange(COUNT)
    rarity = weigh_rare(faces, landmarks, among)
    assert rarity.sum() == pytest.approx(1)
    # One of three looks that count: poses are as rare as they happen to be here.
    assert rarity[list(BLINKS)].min() > 1.4 * np.median(rarity)
    turned = weigh_rare(faces, landmarks, among[::-1])
    np.testing.assert_allclose(turned, rarity[::-1], rtol=1e-3)


def test_light_does_not_make_a_face_rare(faces: np.ndarray, landmarks: np.ndarray):
    lit = faces.copy()
    lit[3] = (0.7 * lit[3].astype(float) + 10).astype(np.uint8)
    rarity = weigh_rare(lit, landmarks, np.arange(COUNT))
    assert rarity[3] < 1.5 * np.median(rarity)


def test_faces_are_drawn_by_their_chances(rng: np.random.Generator):
    faces = rng.integers(0, 256, (5, 64, 64, 3), np.uint8)
    for index, face in enumerate(faces):
        face[:] = 50 * index
    among = np.array([1, 3, 4])
    batch = make_batch(
        dict.fromkeys(SIDES, faces),
        step=0,
        among=dict.fromkeys(SIDES, among),
        chances={"a": np.array([0.0, 0.25, 0.75]), "b": np.array([1.0, 0.0, 0.0])},
        seed=0,
        batch_size=400,
        crop_size=8,
        augment=AugmentConfig(),
    )
    drawn = {side: np.asarray(batch[side].target)[:, 0, 0, 0] // 50 for side in SIDES}
    assert set(drawn["a"]) == {3, 4} and set(drawn["b"]) == {1}
    assert np.mean(drawn["a"] == 4) == pytest.approx(0.75, abs=0.07)


def test_what_a_face_weighs_makes_up_for_its_chance(rng: np.random.Generator):
    faces = rng.integers(0, 256, (5, 64, 64, 3), np.uint8)
    for index, face in enumerate(faces):
        face[:] = 50 * index
    among = np.array([1, 3, 4])
    weights = np.array([0.0, 0.5, 0.0, 0.1, 0.4])
    batch = make_batch(
        dict.fromkeys(SIDES, faces),
        step=0,
        among=dict.fromkeys(SIDES, among),
        chances=dict.fromkeys(SIDES, np.array([0.2, 0.2, 0.6])),
        weights=dict.fromkeys(SIDES, weights),
        seed=0,
        batch_size=2000,
        crop_size=8,
        augment=AugmentConfig(),
    )
    for pair in batch.values():
        drawn = np.asarray(pair.target)[:, 0, 0, 0] // 50
        for index in among:
            share = np.mean(pair.weight * (drawn == index))
            assert share == pytest.approx(weights[index], abs=0.05)
