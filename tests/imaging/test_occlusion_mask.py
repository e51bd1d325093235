"""The occlusion guard: ordinary pairs pass, what stands before a face is spared."""

from collections.abc import Callable

import numpy as np
import pytest

from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.landmark_masks import hull_mask, mean_landmarks
from deepfake_jax.imaging.occlusion_mask import occlusion_mask

SIDE = 128
HULL = hull_mask(mean_landmarks(SIDE), SIDE)


def crop(face: np.ndarray) -> np.ndarray:
    return crop_faces(face[None], SIDE)[0]


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(columns - x * SIDE, rows - y * SIDE) < radius * SIDE


def kept(mask: np.ndarray) -> float:
    return float((mask * HULL).sum() / HULL.sum())


def test_equal_faces_pass(face: np.ndarray, rng: np.random.Generator):
    old = crop(face)
    assert np.all(occlusion_mask(old, old) == 1)
    noisy = np.clip(old + rng.normal(0, 4, old.shape), 0, 255).astype(np.uint8)
    assert np.all(occlusion_mask(old, noisy, mask=HULL) == 1)


def test_light_and_contrast_pass(
    draw_face: Callable[..., np.ndarray], rng: np.random.Generator
):
    for _ in range(4):
        old = crop(draw_face(rng))
        slope = np.linspace(-40, 40, SIDE)[:, None]
        lit = np.clip(0.8 * old + slope + np.array([30, 10, -10]), 0, 255)
        assert kept(occlusion_mask(lit.astype(np.uint8), old, mask=HULL)) > 0.98


@pytest.mark.parametrize("color", [(15, 15, 18), (40, 200, 60)])
def test_an_occluder_is_spared_and_little_else(
    draw_face: Callable[..., np.ndarray],
    rng: np.random.Generator,
    color: tuple[int, int, int],
):
    old = crop(draw_face(rng))
    new = np.clip(old * 0.95 + 8 + rng.normal(0, 6, old.shape), 0, 255).astype(np.uint8)
    held, around = disc(0.55, 0.7, 0.12), disc(0.55, 0.7, 0.24)
    old = np.where(held[..., None], np.array(color, np.uint8), old)
    mask = occlusion_mask(old, new, mask=HULL)
    assert mask.shape == (SIDE, SIDE) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask[held].mean() < 0.05
    # The guard's own blur reaches a little further.
    assert mask[~around].min() > 0.85 and mask[~around].mean() > 0.99
    # Smooth: it falls over several pixels.
    assert np.abs(np.diff(mask, axis=0)).max() < 0.25


def test_large_occluder_does_not_become_the_norm(face: np.ndarray):
    new = crop(face)
    hand = np.zeros((SIDE, SIDE), bool)
    hand[80:] = True  # a third of the hull
    old = np.where(hand[..., None], np.uint8(10), new)
    mask = occlusion_mask(old, new, mask=HULL)
    assert mask[90:][HULL[90:] > 0.5].mean() < 0.1
    assert mask[:60][HULL[:60] > 0.5].mean() > 0.95


def test_a_hand_of_the_faces_color_is_seen_beside_the_face_without_it(
    draw_face: Callable[..., np.ndarray], rng: np.random.Generator
):
    clean = crop(draw_face(rng))
    redrawn = np.clip(clean + rng.normal(0, 4, clean.shape), 0, 255).astype(np.uint8)
    held, around = disc(0.55, 0.7, 0.12), disc(0.55, 0.7, 0.24)
    skin = np.median(clean[HULL > 0.5], axis=0) * 0.8
    old = np.where(held[..., None], skin.astype(np.uint8), clean)
    mask = occlusion_mask(old, redrawn, mask=HULL)
    assert mask[held].mean() < 0.25
    assert mask[~around].mean() > 0.98


def test_a_face_that_is_not_known_hides_nothing(face: np.ndarray):
    old = crop(face)
    rows = np.arange(SIDE)[:, None, None]
    stripes = 40 * np.sign(np.sin(rows / 5)) * np.ones((SIDE, SIDE, 3))
    other = np.clip(old + stripes, 0, 255).astype(np.uint8)
    hand = np.where(disc(0.5, 0.6, 0.15)[..., None], np.uint8(10), old)
    assert np.all(occlusion_mask(hand, other, mask=HULL) == 1)
    assert occlusion_mask(hand, old, mask=HULL).min() < 0.05


def test_an_expression_that_was_missed_is_no_hand(face: np.ndarray):
    redrawn = crop(face)
    mouth, lips = disc(0.5, 0.72, 0.06), disc(0.5, 0.72, 0.15)
    old = np.where(mouth[..., None], np.uint8(5), redrawn)
    features = lips.astype(np.float32)
    hidden = occlusion_mask(old, redrawn, mask=HULL)
    assert hidden[mouth].mean() < 0.2
    shown = occlusion_mask(old, redrawn, mask=HULL, features=features)
    assert np.all(shown == 1)
    # A hand before the mouth reaches beyond it.
    hand = np.where(disc(0.5, 0.72, 0.25)[..., None], np.uint8(5), redrawn)
    shown = occlusion_mask(hand, redrawn, mask=HULL, features=features)
    assert shown[mouth].mean() < 0.05


def test_mask_that_shows_nothing_hides_nothing(face: np.ndarray):
    old = crop(face)
    blank = np.zeros((SIDE, SIDE), np.float32)
    assert np.all(occlusion_mask(old, 255 - old, mask=blank) == 1)


def test_errors_name_what_came(unchecked: None):
    old, new = np.zeros((8, 8, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)
    with pytest.raises(ValueError, match=r"one shape.*\(8, 8, 3\).*\(6, 6, 3\)"):
        occlusion_mask(old, new)
