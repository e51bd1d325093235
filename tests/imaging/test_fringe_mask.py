"""Hair over a forehead: dark and above the brows; no shade, no beard and no brow."""

import numpy as np
import pytest

from deepfake_jax.imaging.affine import apply_affine, resize_affine
from deepfake_jax.imaging.face_template import crop_matrix, template_landmarks
from deepfake_jax.imaging.fringe_mask import clear_forehead, fringe_mask
from deepfake_jax.imaging.landmark_masks import extended_mask

SIDE = 128
LANDMARKS = apply_affine(crop_matrix(SIDE), template_landmarks(count=68))
BROWS = round(float(LANDMARKS[17:27, 1].min()))


def draw_bare() -> np.ndarray:
    """A face with dark brows and eyes, whose hair begins above its mask."""
    face = np.full((SIDE, SIDE, 3), (200, 150, 130), np.uint8)
    for x, y in LANDMARKS[[*range(17, 27), *range(36, 48)]].round().astype(int):
        face[y - 1 : y + 2, x - 1 : x + 2] = 40
    return face


def test_hair_above_one_brow_is_found_whole_and_nothing_else():
    face, half = draw_bare(), SIDE // 2
    face[: BROWS - 6, :half] = (60, 45, 40)
    found = fringe_mask(face, LANDMARKS, SIDE)
    shown = extended_mask(LANDMARKS, SIDE)
    hair = np.zeros((SIDE, SIDE), bool)
    hair[: BROWS - 6, :half] = True
    assert found[hair & (shown == 1)].min() > 0.5
    assert found[hair & (shown == 1)].mean() > 0.95
    found *= shown
    assert found[BROWS:].max() < 0.02 and found[:, half + 7 :].max() < 0.02


@pytest.mark.parametrize("seen", ["bare", "shade", "beard", "light", "dark skin"])
def test_what_is_no_hair_is_none(seen: str):
    face = draw_bare().astype(np.float32)
    if seen == "shade":  # light from one side, and a forehead in some shade
        face *= np.linspace(1, 0.45, SIDE)[None, :, None]
        face[:BROWS] *= 0.85
    elif seen == "beard":
        face[round(float(LANDMARKS[33, 1])) + 4 :] = 50
    elif seen == "light":
        face[:BROWS] = np.minimum(face[:BROWS] * 1.25, 255)
    elif seen == "dark skin":
        face *= 0.35
    assert not fringe_mask(np.rint(face).astype(np.uint8), LANDMARKS, SIDE).any()


@pytest.mark.parametrize("size", [64, 160])
def test_a_mask_of_any_size_lies_over_the_face(size: int):
    face = draw_bare()
    face[: BROWS - 6] = (60, 45, 40)
    whole = fringe_mask(face, LANDMARKS, SIDE)
    landmarks = apply_affine(resize_affine(size / SIDE), LANDMARKS)
    found = fringe_mask(face, landmarks, size)
    assert found.shape == (size, size)
    assert found.mean() == pytest.approx(whole.mean(), rel=0.03) and found.max() > 0.9


def test_a_face_that_is_hardly_seen_has_no_fringe():
    tiny = LANDMARKS.mean(axis=0) + 0.02 * (LANDMARKS - LANDMARKS.mean(axis=0))
    assert not fringe_mask(np.zeros((SIDE, SIDE, 3), np.uint8), tiny, SIDE).any()
    with pytest.raises(ValueError, match="68"):
        fringe_mask(draw_bare(), LANDMARKS[:5], SIDE)


def test_a_cleared_forehead_has_the_skin_around_it():
    face = draw_bare()
    bare = face.astype(np.float32)
    face[: BROWS - 6, : SIDE // 2] = (60, 45, 40)
    fringe = fringe_mask(face, LANDMARKS, SIDE)
    cleared = clear_forehead(face.astype(np.float32), fringe)
    beside = (fringe > 0.95) & (np.arange(SIDE)[:, None] > BROWS - 10)
    assert beside.sum() > 50 and np.abs(face[beside] - bare[beside]).max() > 90
    assert np.abs(cleared[beside] - bare[beside]).max() < 12
    np.testing.assert_array_equal(cleared[fringe == 0], face[fringe == 0])
    untouched = draw_bare()
    none = np.zeros((SIDE, SIDE), np.float32)
    assert clear_forehead(untouched, none) is untouched
    # Without any skin to take there is nothing to paint with.
    black = np.zeros((SIDE, SIDE, 3), np.float32)
    np.testing.assert_array_equal(clear_forehead(black, none + 1), black)
