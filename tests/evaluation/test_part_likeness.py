"""Parts of drawn faces: real ones, askew ones, those in pieces and other people's."""

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.part_likeness import RealParts, find_parts, part_likeness
from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.types import Crops

SIDE = 128


def draw_person(seed: int, count: int = 12) -> Crops:
    """Crops of one look, a little moved: squares of all sizes on each other."""
    rng = np.random.default_rng(seed)
    look = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for _ in range(300):
        x, y = rng.integers(0, SIDE, 2)
        side, level = int(rng.integers(4, 20)), rng.integers(60, 200, 3)
        look[y : y + side, x : x + side] = level
    look = cv2.GaussianBlur(look, (0, 0), 2)
    moves = [
        np.array([[1, 0, x], [0, 1, y]]) for x, y in rng.normal(0, 0.7, (count, 2))
    ]
    border = cv2.BORDER_REPLICATE
    size = (SIDE, SIDE)
    return np.stack([cv2.warpAffine(look, m, size, borderMode=border) for m in moves])


def repeat_landmarks(count: int) -> list[np.ndarray]:
    return [template_landmarks(FACE_SIZE, count=68)] * count


def rate(drawn: Crops, real: RealParts) -> float:
    return part_likeness(drawn, repeat_landmarks(len(drawn)), real)


@pytest.fixture(scope="module")
def person() -> Crops:
    return draw_person(3)


@pytest.fixture(scope="module")
def real(person: Crops) -> RealParts:
    near = repeat_landmarks(6)
    return find_parts(person[6:], near, person[:6], near)


def test_a_persons_own_faces_are_as_like_as_can_be(person: Crops, real: RealParts):
    assert rate(person[6:], real) > 0.99
    # Neither light nor contrast is another part.
    dim = np.rint(0.6 * person[6:] + 30).astype(np.uint8)
    assert rate(dim, real) > 0.98
    soft = np.stack([cv2.GaussianBlur(crop, (0, 0), 1.0) for crop in person[6:]])
    assert rate(soft, real) > 0.95


def test_faults_of_real_detail_are_seen(
    rng: np.random.Generator, person: Crops, real: RealParts
):
    drawn = person[6:]
    good = rate(drawn, real)
    shards = drawn.copy()
    for crop in shards:
        for _ in range(14):
            y, x = rng.integers(20, 90, 2)
            dy, dx = rng.integers(-9, 10, 2)
            crop[y : y + 16, x : x + 16] = crop[
                y + dy : y + dy + 16, x + dx : x + dx + 16
            ]
    assert rate(shards, real) < good - 0.1
    # The mouth alone, one of four parts: another's, and nearer below the nose.
    other = draw_person(4, 6)
    double = drawn.copy()
    double[:, 80:] = other[:, 80:]
    lifted = drawn.copy()
    lifted[:, 80:-8] = drawn[:, 88:]
    for fault in (double, lifted):
        assert good - 0.35 < rate(fault, real) < good - 0.05
    assert rate(other, real) < 0.6 * good


def test_landmarks_in_one_point_end_in_no_error(person: Crops, real: RealParts):
    found = part_likeness(person[:1], [np.full((68, 2), 100.0)], real)
    assert 0 <= found <= 1


def test_a_flat_face_has_no_parts(real: RealParts):
    flat = np.full((2, SIDE, SIDE, 3), 90, np.uint8)
    assert rate(flat, real) == pytest.approx(0, abs=0.05)
