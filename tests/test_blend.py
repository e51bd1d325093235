"""Pasting: exact outside the mask, faithful inside, safe at and beyond the edges."""

from typing import Literal

import numpy as np
import pytest

from deepfake_jax.align import apply_affine, invert_affine, warp_face
from deepfake_jax.blend import alpha_blend, face_box, paste_face, poisson_blend
from deepfake_jax.mask import feather_mask, oval_mask

BLENDS: list[Literal["alpha", "poisson"]] = ["alpha", "poisson"]


def draw_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def turn_about(
    frame_point: tuple[float, float], *, side: float, degrees: float, face_size: int
) -> np.ndarray:
    """From a frame to a face of `side` frame pixels about a point of the frame."""
    scale = face_size / side
    angle = np.radians(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = np.full(2, (face_size - 1) / 2) - linear @ np.array(frame_point)
    return np.column_stack([linear, shift])


# alpha


def test_alpha_of_zero_and_one_is_exact(rng: np.random.Generator):
    old, new = draw_noise(rng, 20, 30), draw_noise(rng, 20, 30)
    none, full = np.zeros((20, 30), np.float32), np.ones((20, 30), np.float32)
    np.testing.assert_array_equal(alpha_blend(old, new, none), old)
    np.testing.assert_array_equal(alpha_blend(old, new, full), new)
    split = none.copy()
    split[:, 15:] = 1
    mixed = alpha_blend(old, new, split)
    np.testing.assert_array_equal(mixed[:, :15], old[:, :15])
    np.testing.assert_array_equal(mixed[:, 15:], new[:, 15:])


def test_alpha_mixes_evenly(rng: np.random.Generator):
    old, new = draw_noise(rng, 20, 30), draw_noise(rng, 20, 30)
    mask = rng.random((20, 30), dtype=np.float32)
    expected = old + mask[..., None].astype(np.float64) * (new.astype(float) - old)
    # Rounded once; float32 may fall to the other side of a half.
    assert np.abs(alpha_blend(old, new, mask) - expected).max() <= 0.5 + 1e-4
    low, high = np.minimum(old, new), np.maximum(old, new)
    mixed = alpha_blend(old, new, mask)
    assert np.all((mixed >= low) & (mixed <= high))


# Poisson


@pytest.mark.parametrize("shape", [(40, 50), (3, 4), (5, 60), (2, 9), (1, 1)])
def test_poisson_of_a_picture_into_itself_is_that_picture(
    rng: np.random.Generator, shape: tuple[int, int]
):
    picture = draw_noise(rng, *shape)
    for mask in (np.ones(shape), rng.random(shape)):
        out = poisson_blend(picture, picture, mask.astype(np.float32))
        # The solver is a float32 sine transform that truncates to uint8.
        assert np.abs(out.astype(int) - picture).max() <= 2


@pytest.mark.parametrize(
    "rows, columns",
    [
        (slice(0, 20), slice(30, 50)),
        (slice(25, 40), slice(0, 50)),
        (slice(0, 40), slice(0, 50)),
        (slice(10, 11), slice(10, 11)),
        (slice(10, 12), slice(0, 50)),
        (slice(39, 40), slice(49, 50)),
    ],
)
def test_poisson_takes_masks_at_the_border_and_tiny_ones(
    face: np.ndarray, rows: slice, columns: slice
):
    old = face[100:140, 60:110]
    mask = np.zeros((40, 50), np.float32)
    mask[rows, columns] = 1
    kept = old.copy()
    out = poisson_blend(old, face[20:60, 150:200], mask)
    assert out.shape == old.shape and out.dtype == np.uint8
    np.testing.assert_array_equal(out[mask == 0], kept[mask == 0])
    same = poisson_blend(old, old, mask)
    assert np.abs(same.astype(int) - old).max() <= 2  # as above


def test_poisson_keeps_gradients_and_takes_the_surroundings_colour(face: np.ndarray):
    old = face[60:160, 60:160] // 2 + 50
    # A shift of all colours has no gradient, so the clone must undo it.
    tinted = (old.astype(int) + [25, -20, 10]).astype(np.uint8)
    mask = np.zeros((100, 100), np.float32)
    mask[20:80, 25:75] = 1
    out = poisson_blend(old, tinted, mask)
    assert np.abs(out.astype(int) - old).max() <= 2  # as above


def test_poisson_takes_a_mask_above_a_half(rng: np.random.Generator):
    old, new = draw_noise(rng, 30, 30), draw_noise(rng, 30, 30)
    half = np.full((30, 30), 0.5, np.float32)
    np.testing.assert_array_equal(poisson_blend(old, new, half), old)
    assert np.any(poisson_blend(old, new, half + 0.01) != old)


# Into the frame


@pytest.mark.parametrize("blend", BLENDS)
def test_zero_mask_leaves_the_frame(rng: np.random.Generator, blend):
    frame, new = draw_noise(rng, 90, 120), draw_noise(rng, 64, 64)
    matrix = turn_about((60, 40), side=50, degrees=20, face_size=64)
    none = np.zeros((64, 64), np.float32)
    out = paste_face(frame, new, none, matrix, blend=blend)
    np.testing.assert_array_equal(out, frame)
    assert out is not frame


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("mask_size", [64, 16, 200])
def test_frame_is_bit_identical_outside_the_mask(
    rng: np.random.Generator, blend, mask_size: int
):
    frame, new = draw_noise(rng, 90, 120), draw_noise(rng, 64, 64)
    kept = frame.copy()
    matrix = turn_about((60, 40), side=50, degrees=20, face_size=64)
    mask = feather_mask(oval_mask(mask_size), 0.2)
    out = paste_face(frame, new, mask, matrix, blend=blend)
    np.testing.assert_array_equal(frame, kept)
    y, x = np.mgrid[:90, :120]
    places = apply_affine(matrix, np.stack([x, y], axis=-1).astype(float))
    # Half a face pixel more than the square, plus a mask pixel of interpolation.
    slack = 0.5 + 64 / mask_size
    outside = np.any((places < -slack) | (places > 63 + slack), axis=-1)
    np.testing.assert_array_equal(out[outside], frame[outside])
    middle = np.all(np.abs(places - 31.5) < 15, axis=-1)
    assert np.mean(out[middle] != frame[middle]) > 0.9


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("side, face_size", [(64, 64), (100, 256), (100, 64)])
def test_own_face_under_a_full_mask_gives_the_frame_back(
    draw_face, rng: np.random.Generator, blend, side: int, face_size: int
):
    frame = draw_face(rng, 256)[20:220]
    matrix = turn_about((130, 95), side=side, degrees=15, face_size=face_size)
    own = warp_face(frame, matrix, face_size)
    full = np.ones((face_size, face_size), np.float32)
    out = paste_face(frame, own, full, matrix, blend=blend)
    # Two interpolations of a smooth picture, each rounded: half a level each and about
    # a level of blur; Poisson truncates and sums gradients, one or two more.
    limit = {"alpha": 2, "poisson": 4}[blend]
    assert np.abs(out.astype(int) - frame).max() <= limit


def test_mask_lies_over_the_face_at_any_resolution(rng: np.random.Generator):
    frame = np.zeros((100, 100, 3), np.uint8)
    white = np.full((64, 64, 3), 255, np.uint8)
    matrix = turn_about((50, 45), side=64, degrees=0, face_size=64)
    pasted = []
    for mask_size in (32, 64, 128):
        mask = np.zeros((mask_size, mask_size), np.float32)
        mask[: mask_size // 2, mask_size // 4 :] = 1
        pasted.append(paste_face(frame, white, mask, matrix)[..., 0] / 255)
    for out in pasted:
        y, x = np.mgrid[:100, :100]
        centre = (x * out).sum() / out.sum(), (y * out).sum() / out.sum()
        # The face's square begins at 50 - 32, 45 - 32; the mask's right three quarters,
        # upper half. Fading into zero at the square's edge moves it a little.
        assert centre == pytest.approx((18.5 + 39.5, 13.5 + 15.5), abs=0.3)
        assert out.sum() == pytest.approx(48 * 32, rel=0.02)


def test_face_lies_where_its_matrix_says(rng: np.random.Generator):
    frame = np.zeros((120, 160, 3), np.uint8)
    new = np.zeros((64, 64, 3), np.uint8)
    new[9:12, 49:52] = 255
    matrix = turn_about((90, 60), side=80, degrees=-30, face_size=64)
    out = paste_face(frame, new, np.ones((64, 64), np.float32), matrix)[..., 0] / 255
    y, x = np.mgrid[:120, :160]
    centre = np.array([(x * out).sum(), (y * out).sum()]) / out.sum()
    expected = apply_affine(invert_affine(matrix), np.array([50.0, 10.0]))
    # The centroid of a small spot, enlarged by a cubic kernel that clips at black.
    np.testing.assert_allclose(centre, expected, atol=0.1)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(
    "point", [(0, 0), (119, 45), (60, 89), (-20, 45), (130, 100), (60, -24)]
)
def test_face_partly_outside_the_frame(face: np.ndarray, blend, point):
    frame, new = face[:90, :120], face[::4, ::4]
    matrix = turn_about(point, side=50, degrees=10, face_size=64)
    full = np.ones((64, 64), np.float32)
    out = paste_face(frame, new, full, matrix, blend=blend)
    assert out.shape == frame.shape and out.dtype == np.uint8
    if blend == "alpha":
        # As on a larger frame, cut to this one.
        margin = 100
        pad = [(margin, margin), (margin, margin), (0, 0)]
        large = np.pad(frame, pad, mode="edge")
        moved = turn_about(
            (point[0] + margin, point[1] + margin), side=50, degrees=10, face_size=64
        )
        whole = paste_face(large, new, full, moved)
        cut = whole[margin:-margin, margin:-margin]
        # Fixed-point coordinates of 1/32 px may round apart in another box.
        difference = np.abs(cut.astype(int) - out)
        assert difference.mean() < 0.1 and (difference > 8).mean() < 0.01


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("point", [(-200, 40), (500, 40), (60, -200), (60, 1e6)])
def test_face_wholly_outside_the_frame_changes_nothing(
    rng: np.random.Generator, blend, point
):
    frame, new = draw_noise(rng, 90, 120), draw_noise(rng, 64, 64)
    matrix = turn_about(point, side=50, degrees=10, face_size=64)
    assert face_box(frame, matrix, 64) is None
    full = np.ones((64, 64), np.float32)
    out = paste_face(frame, new, full, matrix, blend=blend)
    np.testing.assert_array_equal(out, frame)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_tiny_frames(rng: np.random.Generator, blend, shape):
    frame = draw_noise(rng, *shape)
    grey = np.full((64, 64, 3), 128, np.uint8)
    matrix = turn_about((0, 0), side=100, degrees=0, face_size=64)
    full = np.ones((64, 64), np.float32)
    out = paste_face(frame, grey, full, matrix, blend=blend)
    assert out.shape == frame.shape
    if blend == "alpha":
        assert np.all(out == 128)


def test_box_covers_what_the_face_touches(rng: np.random.Generator):
    frame = np.zeros((90, 120, 3), np.uint8)
    white = np.full((64, 64, 3), 255, np.uint8)
    full = np.ones((64, 64), np.float32)
    for _ in range(20):
        matrix = turn_about(
            (rng.uniform(-20, 140), rng.uniform(-20, 110)),
            side=rng.uniform(5, 150),
            degrees=rng.uniform(0, 360),
            face_size=64,
        )
        box = face_box(frame, matrix, 64)
        touched = paste_face(frame, white, full, matrix).max(axis=-1) > 0
        y, x = np.mgrid[:90, :120]
        places = apply_affine(matrix, np.stack([x, y], axis=-1).astype(float))
        inside: np.ndarray = np.all((places > 0) & (places < 63), axis=-1)
        if box is not None:
            inside[box] = False
            touched[box] = False
        assert not inside.any() and not touched.any()
