"""Pasting: exact outside the mask, faithful inside, safe at and beyond the edges."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from deepfake_jax.convert_config import BLENDS
from deepfake_jax.imaging.affine import apply_affine, invert_affine, similarity
from deepfake_jax.imaging.align import warp_face
from deepfake_jax.imaging.blend import (
    alpha_blend,
    blend_pictures,
    face_box,
    paste_face,
    place_face,
)
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask


def draw_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def turn_about(
    frame_point: tuple[float, float], *, side: float, degrees: float, face_size: int
) -> np.ndarray:
    """From a frame to a face of `side` frame pixels about a point of the frame."""
    middle = (face_size - 1) / 2
    return similarity(
        face_size / side,
        angle=np.radians(degrees),
        about=frame_point,
        to=(middle, middle),
    )


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
    limit = 2 if blend == "alpha" else 4
    assert np.abs(out.astype(int) - frame).max() <= limit


@pytest.mark.parametrize("side, oversampled, least", [(60, 1.0, 40), (60, 1.5, 48)])
def test_identity_network_gives_the_frame_back(
    rng: np.random.Generator, side: int, oversampled: float, least: float
):
    # Noise whose amplitude falls with frequency and ends where a camera's does, at
    # about half of what the pixels can hold; video measured 40 to 54 dB.
    frame = np.full((120, 130, 3), 128, np.float32)
    for cells in (6, 12, 24, 48):
        noise = rng.normal(0, 80 / np.sqrt(cells), (cells, cells, 3))
        frame += cv2.resize(
            noise.astype(np.float32), (130, 120), interpolation=cv2.INTER_CUBIC
        )
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    unit = turn_about((60.3, 64.8), side=side, degrees=17, face_size=256)
    assert 256 / np.sqrt(np.linalg.det(unit[:, :2])) == pytest.approx(side)
    size = round(oversampled * side)
    matrix = turn_about((60.3, 64.8), side=side, degrees=17, face_size=size)
    full = np.ones((size, size), np.float32)
    own = warp_face(frame, matrix, size)
    placed = place_face(frame, own, full, matrix)
    assert placed is not None
    out = paste_face(frame, own, full, matrix)
    inside = placed.opacity == 1
    error = (out[placed.box].astype(float) - frame[placed.box])[inside]
    assert 10 * np.log10(255**2 / np.mean(error**2)) >= least


def test_shrinking_faces_do_not_alias(rng: np.random.Generator):
    # A checkerboard of single pixels is grey from afar.
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    face = np.repeat(checks[..., None], 3, axis=2)
    frame = np.full((80, 80, 3), 128, np.uint8)
    for side in (30, 50):
        matrix = turn_about((40, 40), side=side, degrees=20, face_size=256)
        placed = place_face(frame, face, np.ones((256, 256), np.float32), matrix)
        assert placed is not None
        shown = placed.face[placed.opacity == 1].astype(float)
        assert np.abs(shown - 127.5).max() < 12


@pytest.mark.parametrize("blend", BLENDS)
def test_in_place_changes_the_frame_itself(rng: np.random.Generator, blend):
    frame, new = draw_noise(rng, 90, 120), draw_noise(rng, 64, 64)
    matrix = turn_about((60, 40), side=50, degrees=20, face_size=64)
    mask = feather_mask(oval_mask(64), 0.2)
    out = paste_face(frame, new, mask, matrix, blend=blend)
    assert np.any(out != frame)
    same = paste_face(frame, new, mask, matrix, blend=blend, in_place=True)
    assert same is frame
    np.testing.assert_array_equal(frame, out)


def test_placed_face_holds_what_the_mask_shows(rng: np.random.Generator):
    frame, new = draw_noise(rng, 90, 120), draw_noise(rng, 64, 64)
    mask = np.zeros((64, 64), np.float32)
    mask[20:30, 40:60] = 1
    matrix = turn_about((60, 40), side=64, degrees=0, face_size=64)
    placed = place_face(frame, new, mask, matrix)
    assert placed is not None
    whole = np.zeros((90, 120), np.float32)
    whole[placed.box] = placed.opacity
    # The face's first pixel lies on the frame's (28.5, 8.5).
    assert whole.sum() == pytest.approx(200, rel=0.01)
    rows, columns = np.nonzero(whole > 0)
    assert (rows.min(), rows.max()) == (28, 38)
    assert (columns.min(), columns.max()) == (68, 88)
    height, width = placed.opacity.shape
    assert height <= 11 + 6 and width <= 21 + 6
    edge = np.concatenate([placed.opacity[[0, -1]], placed.opacity[:, [0, -1]].T], 1)
    assert not edge.any()
    out = paste_face(frame, new, mask, matrix)
    expected = blend_pictures(
        frame[placed.box], placed.face, placed.opacity, blend="alpha"
    )
    np.testing.assert_array_equal(out[placed.box], expected)


def test_unknown_blend_is_named(unchecked, rng: np.random.Generator):
    old, mask = draw_noise(rng, 9, 9), np.ones((9, 9), np.float32)
    with pytest.raises(ValueError, match="magic"):
        blend_pictures(old, old, mask, blend="magic")


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


@pytest.mark.parametrize("faded", [True, False])
def test_one_sampling_of_face_and_mask_is_as_good_as_two(
    rng: np.random.Generator, draw_face: Callable, faded: bool
):
    # 64 pixels in 200: the face is doubled and has the size of a mask of 128.
    frame = rng.integers(0, 256, (260, 240, 3), dtype=np.uint8)
    matrix = turn_about((120, 130), side=200, degrees=-12, face_size=64)
    face, mask = draw_face(rng, 64), oval_mask(128, width=0.9, height=0.9)
    mask = feather_mask(mask, 0.18)
    if not faded:
        mask[:, 0] = 1  # what lies beyond the crop must not show it
    placed = place_face(frame, face, mask, matrix)
    assert placed is not None
    inverse = cv2.invertAffineTransform(matrix)
    half = (0.5 - 1) / 2  # of a mask's pixel in a face's
    to_frame = inverse @ np.array([[0.5, 0, half], [0, 0.5, half], [0, 0, 1]])
    to_frame[:, 2] -= placed.box[1].start, placed.box[0].start
    size = placed.opacity.shape[::-1]
    wanted = cv2.warpAffine(mask, to_frame, size, flags=cv2.INTER_LINEAR)
    np.testing.assert_allclose(placed.opacity, wanted, atol=1.6 / 255)
    pasted = paste_face(frame, face, mask, matrix)
    np.testing.assert_array_equal(pasted[:20, :20], frame[:20, :20])
    rows, columns = placed.box
    outside = placed.opacity == 0
    np.testing.assert_array_equal(
        pasted[rows, columns][outside], frame[rows, columns][outside]
    )
    assert (placed.opacity > 0.99).sum() > 5000
