"""Drawn detail: 1 for real faces; blur, noise and lattices are told apart."""

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.drawn_detail import (
    artefacts,
    drawn_sharpness,
    finest_correlation,
    octave_ratios,
)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Faces with edges at all scales: squares of random sizes on each other."""
    rng, crops = np.random.default_rng(3), []
    for _ in range(12):
        crop = np.full((64, 64, 3), 128, np.uint8)
        for _ in range(120):
            x, y = rng.integers(0, 64, 2)
            side, level = int(rng.integers(2, 14)), rng.integers(60, 200, 3)
            crop[y : y + side, x : x + side] = level
        crops.append(crop)
    return np.stack(crops)


def blur(crops: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in crops])


def add_lattice(crops: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0:64, 0:64]
    lattice = 14 * (-1) ** (x + y)[..., None]
    return np.clip(crops.astype(int) + lattice, 0, 255).astype(np.uint8)


def test_real_faces_have_all_of_their_detail(real: np.ndarray):
    assert octave_ratios(real, real) == pytest.approx(1)
    assert finest_correlation(real, real) == pytest.approx(1)


def test_blur_takes_the_finest_octave_first(real: np.ndarray):
    ratios = octave_ratios(blur(real), real)
    assert ratios[0] < 0.3 and np.all(np.diff(ratios) > 0)
    assert drawn_sharpness(blur(real, 2.0), real) < drawn_sharpness(blur(real), real)


def test_noise_and_lattices_raise_energy_but_no_correlation(
    rng: np.random.Generator, real: np.ndarray
):
    soft = blur(real)
    noise = rng.normal(0, 14, soft.shape)
    noisy = np.clip(soft + noise, 0, 255).astype(np.uint8)
    for cheat in (noisy, add_lattice(soft)):
        assert octave_ratios(cheat, real)[0] > 2 * octave_ratios(soft, real)[0]
        assert finest_correlation(cheat, real) < finest_correlation(soft, real)


def test_artefacts_are_ordered(rng: np.random.Generator, real: np.ndarray):
    def measure(drawn: np.ndarray) -> float:
        return artefacts(np.random.default_rng(1), drawn, real)

    others = real[:, ::-1, ::-1]  # other pictures of the same parts
    assert measure(others) < 2
    assert measure(blur(real)) > 2 * measure(others)
    assert measure(add_lattice(blur(real, 2.0))) > 2 * measure(others)


def test_wrong_shapes_are_refused(real: np.ndarray, unchecked: None):
    with pytest.raises(ValueError, match="one side"):
        octave_ratios(real[:, ::2, ::2], real)
    with pytest.raises(ValueError, match="same faces"):
        finest_correlation(real[:3], real)
    with pytest.raises(ValueError, match="no detail"):
        octave_ratios(real, np.full_like(real, 9))
