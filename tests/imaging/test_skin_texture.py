"""Texture of skin: its grain comes over; light, edges and features do not."""

import cv2
import numpy as np
import pytest

from deepfake_jax.imaging.affine import apply_affine, resize_affine
from deepfake_jax.imaging.face_template import crop_matrix, template_landmarks
from deepfake_jax.imaging.skin_texture import KnownFace, bare_skin, skin_texture

SIDE = 128
LANDMARKS = apply_affine(crop_matrix(SIDE), template_landmarks(count=68))
SKIN = bare_skin(LANDMARKS, SIDE)


def smooth_face() -> np.ndarray:
    """Grey levels of a face as a run draws it: round, and with no detail."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    return (170 - 120 * (x * x + y * y)).astype(np.float32)


def make_grain(side: int, levels: float = 4.0) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, levels, (side, side))
    return cv2.GaussianBlur(grain.astype(np.float32), (0, 0), 0.6)


def enlarge(grey: np.ndarray, side: int) -> np.ndarray:
    return cv2.warpAffine(
        grey, resize_affine(side / SIDE), (side, side), borderMode=cv2.BORDER_REPLICATE
    )


def picture(grey: np.ndarray) -> np.ndarray:
    return cv2.merge([np.clip(np.rint(grey), 0, 255).astype(np.uint8)] * 3)


@pytest.mark.parametrize("side", [48, 128, 300])
def test_grain_of_the_frame_comes_over_at_any_size(side: int):
    face, grain = smooth_face(), make_grain(side)
    frame = picture(enlarge(face, side) + grain)
    found = skin_texture(frame, KnownFace(face, SKIN), resize_affine(side / SIDE))
    skin = enlarge(SKIN, side) > 0.99
    assert skin.sum() > 0.2 * side * side
    together = np.corrcoef(found[skin], grain[skin])[0, 1]
    assert together > 0.8
    assert 0.5 < found[skin].std() / grain[skin].std() < 1.1


def test_features_are_left_alone():
    face, grain = smooth_face(), make_grain(SIDE)
    found = skin_texture(picture(face + grain), KnownFace(face, SKIN), np.eye(2, 3))
    for feature in (slice(17, 27), slice(36, 48), slice(48, 68)):
        x, y = LANDMARKS[feature].round().astype(int).T
        assert np.abs(found[y, x]).max() < 0.1


def test_what_a_run_draws_itself_and_light_are_no_texture():
    face = smooth_face()
    lit = face + np.linspace(-30, 30, SIDE, dtype=np.float32)
    for seen in (face, lit):
        found = skin_texture(picture(seen), KnownFace(face, SKIN), np.eye(2, 3))
        inner = found[8:-8, 8:-8]
        assert np.abs(inner).max() < 1


def test_edges_of_what_is_no_skin_stay_below_the_grain():
    face, grain = smooth_face(), make_grain(SIDE)
    cheek = tuple(LANDMARKS[[3, 31]].mean(axis=0).round().astype(int))
    barred = face + grain
    barred[:, cheek[0] - 2 : cheek[0] + 3] -= 90  # a strand of hair, a finger
    found = skin_texture(picture(barred), KnownFace(face, SKIN), np.eye(2, 3))
    near = found[cheek[1] - 6 : cheek[1] + 6, cheek[0] - 4 : cheek[0] + 5]
    assert np.abs(near).max() < 2 * grain.std()


def test_a_face_outside_of_the_picture_has_none():
    away = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0]])
    face = smooth_face()
    frame = picture(np.full((40, 30), 90.0))
    found = skin_texture(frame, KnownFace(face, SKIN), away)
    assert found.shape == (40, 30) and np.isfinite(found).all()
    with pytest.raises(ValueError, match="68"):
        bare_skin(LANDMARKS[:5], SIDE)
