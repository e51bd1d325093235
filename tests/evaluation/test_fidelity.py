"""Reconstruction against scikit-image; sharpness of what is blurred."""

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deepfake_jax.evaluation.fidelity import (
    BEST_PSNR,
    measure_reconstruction,
    sharpness,
    ssim,
)


@pytest.fixture
def crops(faces: np.ndarray) -> np.ndarray:
    return np.stack(
        [cv2.resize(f, (64, 64), interpolation=cv2.INTER_AREA) for f in faces]
    )


def spoil(rng: np.random.Generator, crops: np.ndarray) -> np.ndarray:
    noisy = crops + rng.normal(0, 12, crops.shape) + 5
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


def test_reconstruction_is_scikit_images(rng: np.random.Generator, crops: np.ndarray):
    spoiled = spoil(rng, crops)
    found = measure_reconstruction(spoiled, crops)
    assert found.mae == pytest.approx(
        np.abs(spoiled - crops.astype(float)).mean() / 255
    )
    # float64 on both sides, in another order of sums.
    assert found.psnr == pytest.approx(
        peak_signal_noise_ratio(crops, spoiled), abs=1e-6
    )
    expected = [
        structural_similarity(
            one,
            other,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for one, other in zip(crops, spoiled, strict=True)
    ]
    assert found.ssim == pytest.approx(np.mean(expected), abs=1e-6)
    assert 0.1 < found.ssim < 0.95


def test_equal_faces_are_best(crops: np.ndarray):
    found = measure_reconstruction(crops, crops)
    assert (found.mae, found.psnr) == (0, BEST_PSNR)
    assert found.ssim == pytest.approx(1)


def test_worse_faces_are_worse(rng: np.random.Generator, crops: np.ndarray):
    once = spoil(rng, crops)
    twice = spoil(rng, spoil(rng, once))
    good, bad = (measure_reconstruction(x, crops) for x in (once, twice))
    assert good.mae < bad.mae and good.psnr > bad.psnr and good.ssim > bad.ssim


def test_sharpness_falls_with_blur(rng: np.random.Generator, crops: np.ndarray):
    real = spoil(rng, crops)
    assert sharpness(real, real) == 1
    blurred = [
        sharpness(np.stack([cv2.GaussianBlur(x, (0, 0), s) for x in real]), real)
        for s in (0.5, 1.0, 2.0)
    ]
    assert 1 > blurred[0] > blurred[1] > blurred[2] > 0
    assert blurred[2] < 0.05
    flat = np.full_like(real, 120)
    assert sharpness(flat, real) == 0
    with pytest.raises(ValueError, match="no detail"):
        sharpness(real, flat)


def test_sharpness_is_an_energy(rng: np.random.Generator):
    real = (128 + rng.integers(-50, 51, (3, 64, 64, 1)) * np.ones(3)).astype(np.uint8)
    half = (128 + (real.astype(float) - 128) / 2).round().astype(np.uint8)
    assert sharpness(half, real) == pytest.approx(0.25, rel=0.01)  # rounded levels


@pytest.mark.usefixtures("unchecked")
def test_bad_input(crops: np.ndarray):
    with pytest.raises(ValueError, match="one or more"):
        measure_reconstruction(crops[:0], crops[:0])
    with pytest.raises(ValueError, match="one or more"):
        measure_reconstruction(crops[:2], crops[:3])
    with pytest.raises(ValueError, match="smaller than the window"):
        ssim(crops[0, :8, :8], crops[0, :8, :8])
    with pytest.raises(ValueError, match="one size"):
        sharpness(crops[:, :32, :32], crops)
