"""Fine detail: raised to that of real faces, never lowered, never past a factor."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import NOTHING, Same

from deepfake_jax.convert_config import ConvertConfig, classic_options
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.fine_detail import MOST_GAIN, match_detail, measure_energies
from deepfake_jax.runs.swapper import make_swapper

COPY = Autoencoder(encoder=Same(), decoder=Same(), crop_size=64)


@pytest.fixture(scope="module")
def crops(faces: np.ndarray) -> np.ndarray:
    """Aligned faces, which are smooth, with a grain of about eight grey levels."""
    grain = np.random.default_rng(3).normal(0, 8, (len(faces), 64, 64, 1))
    return np.rint(crop_faces(faces, 64) + grain).clip(0, 255).astype(np.uint8)


def soften(crops: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(x, (0, 0), sigma) for x in crops])


def split_with_opencv(face: np.ndarray) -> list[np.ndarray]:
    """The bands of a uint8 face in [0, 1], grey."""
    grey = face.astype(np.float32).mean(2) / 255
    bands = []
    for kernel in ([1, 2, 1], [1, 0, 2, 0, 1]):
        line = np.array(kernel, np.float32) / 4
        smooth = cv2.sepFilter2D(grey, -1, line, line, borderType=cv2.BORDER_REPLICATE)
        bands.append(grey - smooth)
        grey = smooth
    return bands


def test_energies_are_mean_squares_inside_the_oval(crops: np.ndarray):
    oval = oval_mask(64) > 0
    expected = np.mean(
        [[np.square(b[oval]).mean() for b in split_with_opencv(x)] for x in crops], 0
    )
    np.testing.assert_allclose(measure_energies(crops), expected, rtol=1e-4)


def test_soft_faces_get_near_the_energies_of_real_ones(crops: np.ndarray):
    energies, soft = measure_energies(crops), soften(crops, 0.55)
    before = measure_energies(soft)
    assert (before < 0.8 * energies).all()
    scaled = jnp.asarray(soft / np.float32(255))
    matched = np.asarray(match_detail(scaled, energies, 3.0))
    after = measure_energies(np.rint(255 * matched.clip(0, 1)).astype(np.uint8))
    # The bands overlap: what the finest is given is found in the next one, too.
    assert (after > (before + energies) / 2).all() and (after < 1.6 * energies).all()


def test_no_band_grows_by_more_than_the_factor(crops: np.ndarray):
    soft = jnp.asarray(soften(crops, 2.0) / np.float32(255))
    energies = measure_energies(crops)
    change = match_detail(soft, energies, 2.0) - soft
    once = match_detail(soft, np.full(2, 1e6, np.float32), 2.0) - soft
    twice = match_detail(soft, np.full(2, 1e6, np.float32), 3.0) - soft
    np.testing.assert_allclose(twice, 2 * once, atol=1e-6)
    assert 0 < abs(np.asarray(change)).max() <= abs(np.asarray(once)).max() + 1e-6


def test_detail_is_raised_where_it_is_trusted(crops: np.ndarray):
    energies = measure_energies(crops)
    soft = jnp.asarray(soften(crops, 1.0) / np.float32(255))
    whole = match_detail(soft, energies) - soft
    trust = np.zeros(soft.shape[:3], np.float32)
    trust[:, :32], trust[:, 32:48] = 1, 0.5
    change = match_detail(soft, energies, trust=jnp.asarray(trust)) - soft
    np.testing.assert_allclose(change, whole * trust[..., None], atol=1e-6)
    assert np.abs(whole).max() > 0.01


def test_sharp_and_flat_faces_stay_as_they_are(crops: np.ndarray):
    sharp = jnp.asarray(crops / np.float32(255))
    calm = measure_energies(soften(crops, 3.0))
    np.testing.assert_array_equal(match_detail(sharp, calm), sharp)
    flat = jnp.full((2, 64, 64, 3), 0.4, jnp.float32)
    found = match_detail(flat, measure_energies(crops))
    np.testing.assert_allclose(found, flat, atol=1e-6)


def test_each_face_by_itself(crops: np.ndarray):
    energies = measure_energies(crops)
    soft = jnp.asarray(soften(crops, 1.0) / np.float32(255))
    with jax.numpy_dtype_promotion("strict"):
        both = match_detail(soft, energies, jnp.float32(1.7))
    alone = match_detail(soft[1:2], energies, 1.7)
    np.testing.assert_allclose(both[1:2], alone, atol=1e-6)


def test_a_swapper_with_energies_raises_detail(crops: np.ndarray):
    soft, energies = soften(crops, 1.0), measure_energies(crops)
    plain = make_swapper(COPY, NOTHING)(soft)
    np.testing.assert_array_equal(plain, soft)
    off = make_swapper(COPY, NOTHING, energies=energies, most_detail=1.0)(soft)
    np.testing.assert_array_equal(off, soft)
    raised = make_swapper(COPY, NOTHING, energies=energies)(soft)
    assert (measure_energies(raised) > 1.3 * measure_energies(soft)).all()


def test_the_options_default_is_the_modules():
    assert ConvertConfig().detail == MOST_GAIN
    assert classic_options().detail == 1
