"""Masks of training targets: where landmarks say, and moved as the target is."""

import numpy as np
import pytest

from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.training.augment import apply_cuts, cut_landmarks, draw_cuts
from deepfake_jax.training.face_masks import cut_masks, draw_face_masks

BARE = np.full((1, FACE_SIZE, FACE_SIZE, 3), 160, np.uint8)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return template_landmarks(FACE_SIZE, count=68)[None]


def test_eyes_and_mouth_lie_in_the_face(landmarks: np.ndarray):
    face, eyes, mouth = np.moveaxis(draw_face_masks(landmarks, BARE)[0] / 255, -1, 0)
    assert 0.2 < face.mean() < 0.6
    for part in (eyes, mouth):
        assert 0.003 < part.mean() < 0.05
        assert np.all(part <= face + 1e-6)
    places = np.indices(face.shape).reshape(2, -1)

    def middle(mask: np.ndarray) -> np.ndarray:
        return (places * mask.ravel()).sum(1) / mask.sum() * 2 + 0.5

    points = landmarks[0][:, ::-1]
    np.testing.assert_allclose(middle(eyes), points[36:48].mean(0), atol=2)
    np.testing.assert_allclose(middle(mouth), points[48:].mean(0), atol=3)


def test_hair_over_the_forehead_is_no_face(landmarks: np.ndarray):
    fringed = BARE.copy()
    fringed[:, : round(landmarks[0, 19, 1]) - 12, : FACE_SIZE // 2] = 40
    (bare, *parts), (less, *same) = (
        np.moveaxis(draw_face_masks(landmarks, faces)[0], -1, 0)
        for faces in (BARE, fringed)
    )
    np.testing.assert_array_equal(parts, same)
    lost = bare.astype(int) - less
    assert lost[:, :60].sum() > 30 * 255 and not lost[:, 70:].any()


def test_a_hand_before_a_face_is_no_face_and_hides_what_is_below(
    landmarks: np.ndarray,
):
    hand = np.zeros((1, 21, 2)) + landmarks[0, 57]  # at the lips, fingers upwards
    hand[0, :, 0] += np.tile([0, -6, -3, 3, 6, 0, 3], 3)
    hand[0, :, 1] += np.linspace(60, -30, 21)
    bare = draw_face_masks(landmarks, BARE)[0].astype(int)
    held = draw_face_masks(landmarks, BARE, [hand])[0].astype(int)
    lost = bare - held
    assert (lost >= 0).all() and lost[..., 0].sum() > 100 * 255
    assert lost[..., 2].sum() > 0.5 * bare[..., 2].sum()
    assert not lost[..., 1].any()
    np.testing.assert_array_equal(
        draw_face_masks(landmarks, BARE, [hand[:0]])[0],
        draw_face_masks(landmarks, BARE)[0],
    )


def test_masks_are_cut_as_the_targets_are(
    rng: np.random.Generator, landmarks: np.ndarray
):
    masks = draw_face_masks(landmarks, BARE)
    # A face that is its own mask, at the size of faces.
    picture = masks.repeat(2, axis=1).repeat(2, axis=2)
    grids = draw_cuts(rng, 24, crop_size=64, warp_scale=5.0)
    chosen = np.zeros(24, np.int64)
    _, targets = apply_cuts(picture, chosen, grids, 64)
    cuts = cut_masks(masks, chosen, grids[:, 1], 64)
    _, mirrored = cut_landmarks(landmarks[chosen], grids[:, 1])
    assert 0 < mirrored.sum() < 24, "both kinds must occur"
    # Borders are a pixel wide, and the reference interpolates doubled pixels.
    difference = np.abs(cuts.astype(float) - targets)
    assert difference.mean() < 1.5
    assert np.mean(difference > 64) < 1e-3
