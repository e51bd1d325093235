"""Masks from landmarks: area, cover, and that they do not jump."""

import numpy as np
import pytest

from deepfake_jax.imaging.landmark_masks import (
    extended_mask,
    eyes_mask,
    eyes_mouth_mask,
    fill_hull,
    hull_mask,
    mean_landmarks,
)
from deepfake_jax.imaging.mask import feather_mask

MASKS = {
    "hull": hull_mask,
    "extended": extended_mask,
    "eyes": eyes_mask,
    "eyes-mouth": eyes_mouth_mask,
}


def polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.77])
def test_fill_has_the_area_of_its_polygon(shift: float):
    corners = np.array([[20, 15], [100, 22], [110, 80], [60, 118], [15, 70]]) + shift
    mask = fill_hull(corners, 128)
    # Only the corners' few pixels are not shaded by their exact cover.
    assert mask.sum() == pytest.approx(polygon_area(corners), rel=1e-3)
    inside = fill_hull(np.concatenate([corners, corners.mean(0, keepdims=True)]), 128)
    np.testing.assert_array_equal(mask, inside)


def test_fill_of_a_half_covered_row():
    # Pixel centres are at integers, so a border at 19.5 lies between two rows.
    box = np.array([[19.5, 19.5], [40.5, 19.5], [40.5, 40.0], [19.5, 40.0]])
    mask = fill_hull(box, 64)
    assert mask[19, 30] == 0 and mask[20, 30] == 1
    assert mask[40, 30] == pytest.approx(0.5) and mask[41, 30] == 0


def test_fill_grows_by_its_margin():
    square = np.array([[30, 30], [70, 30], [70, 70], [30, 70]], np.float64)
    grown = fill_hull(square, 100, margin=5.0)
    # Sides and round corners; a 16-sided ring lacks 3 % of its circle.
    expected = 40**2 + 4 * 40 * 5 + np.pi * 25
    assert grown.sum() == pytest.approx(expected, rel=2e-3)


def test_fill_of_no_area_is_empty():
    line = np.array([[3.0, 3.0], [9.0, 9.0], [20.0, 20.0]])
    for points in (line, line[:1], np.repeat(line[:1], 5, axis=0)):
        assert not fill_hull(points, 32).any()


def test_fill_beyond_the_picture_is_cut():
    corners = np.array([[-50.0, -50], [300, -50], [300, 300], [-50, 300]])
    assert np.all(fill_hull(corners, 64) == 1)
    assert not fill_hull(corners + 1000, 64).any()


@pytest.mark.parametrize("name", MASKS)
def test_small_moves_change_little(name: str, rng: np.random.Generator):
    landmarks = mean_landmarks(128)
    step = rng.normal(0, 1, landmarks.shape)
    step *= 0.02 / np.abs(step).max()
    before = MASKS[name](landmarks, 128)
    for _ in range(20):
        landmarks = landmarks + step
        after = MASKS[name](landmarks, 128)
        # Shading has a slope of 1 a pixel; the forehead moves by up to 2.5 times as
        # much as the nose that it follows.
        assert np.abs(after - before).max() <= 0.02 * 3.5
        before = after


@pytest.mark.parametrize("name", MASKS)
def test_masks_look_alike_at_any_size(name: str):
    large = MASKS[name](mean_landmarks(256), 256)
    small = MASKS[name](mean_landmarks(128), 128)
    halved = large.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    # A pixel's shade against the mean of four pixels' shades.
    assert np.abs(halved - small).max() < 0.15
    assert abs(halved.mean() - small.mean()) < 1e-3


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_the_mean_face_are_symmetric(name: str):
    mask = MASKS[name](mean_landmarks(128), 128)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() == 1
    # The mean face is, within 0.3 pixels, which along an outline of up to 450 pixels
    # is 0.8 % of the picture.
    assert np.abs(mask - mask[:, ::-1]).mean() < 8e-3


def value_at(mask: np.ndarray, point: np.ndarray) -> float:
    x, y = np.rint(point).astype(int)
    return float(mask[y, x])


def test_masks_show_what_they_are_named_for():
    landmarks = mean_landmarks(128)
    masks = {name: make(landmarks, 128) for name, make in MASKS.items()}
    cheek = (landmarks[3] + landmarks[48]) / 2
    mouth = landmarks[48:68].mean(axis=0)
    for name, shown in {
        "hull": (True, True, True),
        "extended": (True, True, True),
        "eyes": (True, False, False),
        "eyes-mouth": (True, True, False),
    }.items():
        points = (landmarks[37], mouth, cheek)
        assert [value_at(masks[name], p) == 1 for p in points] == list(shown), name


def test_extended_covers_brows_and_forehead():
    landmarks = mean_landmarks(128)
    hull, extended = hull_mask(landmarks, 128), extended_mask(landmarks, 128)
    assert np.all(extended >= hull - 1e-6)
    assert all(value_at(extended, p - [0, 3]) == 1 for p in landmarks[18:26])
    # Of the crop's forehead, between the brows' tips, most is shown.
    left, right = np.rint(landmarks[[18, 25], 0]).astype(int)
    brow = round(landmarks[19:25, 1].mean())
    assert extended[:brow, left:right].mean() > 0.7
    assert hull[:brow, left:right].mean() < 0.1
    assert not feather_mask(extended, 0.15)[0].max() > 0.1


def test_extended_follows_the_nose_not_the_brows():
    landmarks = mean_landmarks(128)
    surprised = landmarks.copy()
    surprised[17:27, 1] -= 6  # pixels
    top = [
        np.argmax(extended_mask(p, 128)[:, 64] > 0.5) for p in (landmarks, surprised)
    ]
    assert abs(int(top[0]) - int(top[1])) <= 1
    turned = landmarks @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + [127, 0]
    # Up is the face's own: a face that lies on its side has its forehead there.
    np.testing.assert_allclose(
        np.rot90(extended_mask(turned, 128)), extended_mask(landmarks, 128), atol=1e-3
    )


def test_eyes_and_mouth_are_joined_without_a_notch():
    landmarks = mean_landmarks(128)
    joined = eyes_mouth_mask(landmarks, 128)
    parts = eyes_mask(landmarks, 128)
    assert joined.sum() > parts.sum()
    assert np.all(joined[np.rint(landmarks[27:34, 1]).astype(int), 64] == 1)


@pytest.mark.parametrize("name", MASKS)
def test_five_landmarks_are_refused(name: str):
    with pytest.raises(ValueError, match=r"68 points.*\(5, 2\)"):
        MASKS[name](mean_landmarks(64)[:5], 64)
