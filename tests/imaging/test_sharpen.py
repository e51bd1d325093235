"""Sharpness: detail as asked for and as lacking; edges narrower, and no brighter."""

import cv2
import numpy as np
import pytest

from deepfake_jax.imaging.sharpen import missing_sharpness, sharpen_face, thin_edges


def draw_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_sharpening_adds_detail_in_proportion(face: np.ndarray):
    assert sharpen_face(face, 0.0) is face
    flat = np.full((40, 60, 3), 77, np.uint8)
    np.testing.assert_array_equal(sharpen_face(flat, 2.0), flat)
    edge = np.full((100, 100, 3), 100, np.uint8)
    edge[:, 50:] = 140
    rise = [int(np.ptp(sharpen_face(edge, amount))) for amount in (0.0, 0.5, 1.0)]
    # Beside a step, blur takes off less than half of it: up to 20 on each side.
    assert rise[0] == 40 and rise[0] + 10 < rise[1] < rise[2] - 10 < 80
    with pytest.raises(ValueError, match="radius"):
        sharpen_face(edge, 1.0, radius=0.0)


def test_missing_sharpness_is_what_a_blur_took(rng: np.random.Generator):
    """Twice: a mild blur's, exactly; none is missing of what is as sharp."""
    sharp = cv2.GaussianBlur(draw_noise(rng, 128, 128), (0, 0), 1.0)
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.7)
    inside = np.zeros((128, 128), np.float32)
    inside[20:108, 20:108] = 1
    amount = missing_sharpness(soft, sharp, inside)

    def detail(face: np.ndarray) -> float:
        grey = cv2.cvtColor(face.astype(np.float32), cv2.COLOR_RGB2GRAY)
        return float(
            ((grey - cv2.GaussianBlur(grey, (0, 0), 1.28)) ** 2 * inside).sum()
        )

    assert detail(soft) < 0.7 * detail(sharp) and 0.3 < amount < 2
    raised = detail(sharpen_face(soft, amount))
    assert raised == pytest.approx(detail(sharp), rel=0.02)
    assert missing_sharpness(sharp, sharp, inside) == 0
    assert missing_sharpness(sharp, soft, inside) == 0
    flat = np.full_like(sharp, 90)
    assert missing_sharpness(flat, sharp, inside) == 0
    # What lies beside the mask counts for nothing.
    beside = soft.copy()
    beside[:10] = draw_noise(rng, 10, 128)
    assert missing_sharpness(beside, sharp, inside) == pytest.approx(amount, abs=1e-3)


def soft_edge(slant: float = 0.0) -> np.ndarray:
    """A dark and a bright half, whose border takes some pixels."""
    y, x = np.mgrid[0:64, 0:64]
    bright = np.clip(128 + 60 * (x - 31.5 + slant * (y - 31.5)), 90, 160)
    grey = cv2.GaussianBlur(bright.astype(np.float32), (0, 0), 1.5)
    return cv2.merge([np.rint(grey).astype(np.uint8)] * 3)


def enlarge(face: np.ndarray) -> np.ndarray:
    return cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("slant", [0.0, 0.5])
def test_edges_become_narrower_and_nothing_brighter(slant: float):
    face = soft_edge(slant)
    plain = enlarge(face)
    steepest = []
    for amount in (0.0, 0.5, 1.0):
        thin = thin_edges(plain, face, amount)
        assert thin.min() >= plain.min() and thin.max() <= plain.max()
        row = thin[64, :, 0].astype(int)
        steepest.append(np.abs(np.diff(row)).max())
        # It stays where it was.
        assert abs(row[:64].sum() - plain[64, :64, 0].astype(int).sum()) < 200
    assert steepest[0] < steepest[1] < steepest[2] and steepest[2] > 1.15 * steepest[0]


def test_what_has_no_edge_stays_as_it_is():
    y, x = np.mgrid[0:64, 0:64]
    ramp = cv2.merge([(60 + x + y).astype(np.uint8)] * 3)
    plain = enlarge(ramp)
    thin = thin_edges(plain, ramp, 1.0)
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(thin[inner].astype(int) - plain[inner]).max() <= 1
    np.testing.assert_array_equal(thin_edges(plain, ramp, 0.0), plain)
