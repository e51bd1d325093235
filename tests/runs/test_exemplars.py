"""Lent detail: what a drawing lacks, from real faces of which the same is lacking."""

import cv2
import numpy as np
import pytest

from deepfake_jax.runs.exemplars import Exemplars

SIZE = 64


def soften(face: np.ndarray) -> np.ndarray:
    """What a small network draws of a face."""
    return cv2.GaussianBlur(face, (0, 0), 2.0)


def make_real(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """A face of 64 pixels with features finer than a soft drawing shows."""
    small = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    dots = cv2.GaussianBlur(rng.normal(0, 60, (SIZE, SIZE, 1)), (0, 0), 0.8)
    return np.clip(small + dots[..., None], 0, 255).astype(np.uint8)


def shift(face: np.ndarray, x: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, 0]])
    mode = cv2.BORDER_REFLECT
    return cv2.warpAffine(face, matrix, (SIZE, SIZE), borderMode=mode)


def inner_error(one: np.ndarray, other: np.ndarray) -> float:
    apart = one[12:-12, 12:-12].astype(float) - other[12:-12, 12:-12]
    return float(np.sqrt(np.square(apart).mean()))


@pytest.fixture
def real(rng: np.random.Generator, faces: np.ndarray) -> np.ndarray:
    return np.stack([make_real(rng, face) for face in faces])


@pytest.fixture
def exemplars(real: np.ndarray) -> Exemplars:
    return Exemplars(real, np.stack([soften(face) for face in real]))


def test_drawing_of_an_exemplar_becomes_the_real_face(
    real: np.ndarray, exemplars: Exemplars
):
    drawn = np.stack([soften(face) for face in real]).astype(np.float32)
    lent, trust = exemplars.lend(drawn)
    assert trust.shape == drawn.shape[:3] and trust.min() > 0.9
    assert lent.dtype == np.float32 and lent.shape == drawn.shape
    for face, before, after in zip(real, drawn, lent, strict=True):
        assert inner_error(after, face) < 0.3 * inner_error(before, face)


def test_detail_moves_with_the_features(real: np.ndarray, exemplars: Exemplars):
    moved = shift(real[0], 2.0)
    drawn = soften(moved)[None].astype(np.float32)
    lent = exemplars.lend(drawn)[0][0]
    assert inner_error(lent, moved) < 0.6 * inner_error(drawn[0], moved)
    # Without the flow it would be laid two pixels beside.
    beside = drawn[0] + real[0] - soften(real[0]).astype(np.float32)
    assert inner_error(lent, moved) < 0.6 * inner_error(beside, moved)


def energy(face: np.ndarray) -> float:
    detail = cv2.Laplacian(face.astype(np.float32).mean(2), cv2.CV_32F)
    return float(np.square(detail[12:-12, 12:-12]).mean())


def test_detail_moved_by_parts_of_a_pixel_stays_fine(
    real: np.ndarray, exemplars: Exemplars
):
    # By a cubic, for a line between two pixels is no detail any more.
    matrix = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    moved = cv2.warpAffine(real[0], matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    linear = cv2.warpAffine(real[0], matrix, (SIZE, SIZE))
    lent, _ = exemplars.lend(soften(moved)[None].astype(np.float32))
    assert energy(linear) < 0.6 * energy(moved) < 0.9 * energy(lent[0])


def test_strange_face_gets_nothing(real: np.ndarray, exemplars: Exemplars):
    strange = 255 - soften(real[0])[None].astype(np.float32)
    lent, _ = exemplars.lend(strange)
    assert exemplars.lend(np.zeros_like(strange))[1].mean() < 0.1
    assert (
        np.abs(lent - strange).mean() < 0.1 * np.abs(real[0] - soften(real[0])).mean()
    )


def test_network_that_draws_all_lacks_nothing(real: np.ndarray):
    drawn = real[:2].astype(np.float32)
    np.testing.assert_array_equal(Exemplars(real, real).lend(drawn)[0], drawn)


def test_one_face_lends_and_none_is_no_trouble(real: np.ndarray):
    one = Exemplars(real[:1], soften(real[0])[None])
    drawn = soften(real[0])[None].astype(np.float32)
    assert inner_error(one.lend(drawn)[0][0], real[0]) < 0.3 * inner_error(
        drawn[0], real[0]
    )
    assert [part.shape for part in one.lend(drawn[:0])] == [
        (0, SIZE, SIZE, 3),
        (0, SIZE, SIZE),
    ]


def test_faces_are_lent_to_one_by_one(real: np.ndarray, exemplars: Exemplars):
    drawn = np.stack([soften(shift(face, 1.0)) for face in real]).astype(np.float32)
    both, trust = exemplars.lend(drawn)
    for i, face in enumerate(drawn):
        lent, trusted = exemplars.lend(face[None])
        np.testing.assert_allclose(lent[0], both[i], atol=1e-2)
        np.testing.assert_allclose(trusted[0], trust[i], atol=1e-3)
