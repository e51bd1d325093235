"""Poisson cloning: the equations' exact solution, OpenCV's own question, edges."""

import cv2
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from deepfake_jax.benchmarks.poisson import (
    clone_by_opencv,
    draw_pair,
)
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.imaging.poisson import poisson_blend, seamless_clone
from deepfake_jax.imaging.poisson_solver import plan_grids, solve_poisson


def draw_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


def draw_blobs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Several regions with bays, holes and thin parts, some at the edge."""
    noise = cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), 4)
    return (noise > np.median(noise)).astype(np.float32)


def solve_exactly(old: np.ndarray, new: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Perez et al., equations 7 and 11, pixel by pixel as a sparse system."""
    height, width = mask.shape
    inside = mask > 0.5
    index = np.full((height, width), -1)
    index[inside] = np.arange(inside.sum())
    matrix = scipy.sparse.lil_matrix((inside.sum(), inside.sum()))
    right = np.zeros((inside.sum(), 3))
    old_float, new_float = old.astype(float), new.astype(float)
    for y, x in np.argwhere(inside):
        i = index[y, x]
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= v < height and 0 <= u < width):
                continue
            matrix[i, i] += 1
            right[i] += new_float[y, x] - new_float[v, u]
            if inside[v, u]:
                matrix[i, index[v, u]] -= 1
            else:
                right[i] += old_float[v, u]
    result = old_float.copy()
    result[inside] = scipy.sparse.linalg.spsolve(matrix.tocsc(), right)
    return np.clip(result, 0, 255)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("shape", ["oval", "blobs", "edge"])
def test_clone_is_the_equations_solution(
    face: np.ndarray, rng: np.random.Generator, shape: str
):
    old, new = draw_pair(40)[:2]
    old = old // 2 + face[60:120, 60:120] // 2
    mask = {
        "oval": np.pad(oval_mask(40), 10),
        "blobs": draw_blobs(rng, 60, 60),
        "edge": np.pad(oval_mask(40), ((0, 20), (20, 0))),
    }[shape]
    exact = solve_exactly(old, new, mask)
    out = poisson_blend(old, new, mask)
    inside = mask > 0.5
    # Rounding alone is 0.29; one grey level is not seen. The exact one differs from
    # both pictures by much more.
    assert rms(out[inside], exact[inside]) < 1.0
    assert rms(out[inside], new[inside]) > 5 and rms(out[inside], old[inside]) > 5
    np.testing.assert_array_equal(out[~inside], old[~inside])


@pytest.mark.parametrize("blobs", [False, True])
def test_solver_gives_opencvs_clone_on_opencvs_question(
    rng: np.random.Generator, blobs: bool
):
    old, new, mask = draw_pair(100)
    if blobs:
        mask[10:-10, 10:-10] = draw_blobs(rng, 100, 100)
    theirs, ours = clone_by_opencv(old, new, mask), seamless_clone(old, new, mask)
    # OpenCV cuts fractions off: half a level of these.
    assert rms(ours, theirs) < 1.5
    assert rms(ours, old) > 5


@pytest.mark.parametrize("shape", [(40, 50), (3, 4), (5, 60), (2, 9), (1, 1)])
def test_a_picture_into_itself_is_that_picture(
    rng: np.random.Generator, shape: tuple[int, int]
):
    picture = draw_noise(rng, *shape)
    for mask in (np.ones(shape), rng.random(shape)):
        out = poisson_blend(picture, picture, mask.astype(np.float32))
        np.testing.assert_array_equal(out, picture)


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
def test_masks_at_the_edge_and_tiny_ones(face: np.ndarray, rows: slice, columns: slice):
    old = face[100:140, 60:110]
    mask = np.zeros((40, 50), np.float32)
    mask[rows, columns] = 1
    # A shift of all colours has no gradient, so the clone must undo it, if there is a
    # border that says how far.
    tinted = np.clip(old.astype(int) + [25, -20, 10], 0, 255).astype(np.uint8)
    assert np.all(tinted.astype(int) - old == [25, -20, 10])
    kept = old.copy()
    out = poisson_blend(old, tinted, mask)
    np.testing.assert_array_equal(old, kept)
    expected = tinted if mask.all() else old
    assert np.abs(out.astype(int) - expected).max() <= 1  # the solver's last tenth


def test_takes_a_mask_above_a_half(rng: np.random.Generator):
    old, new = draw_noise(rng, 30, 30), draw_noise(rng, 30, 30)
    half = np.zeros((30, 30), np.float32)
    half[5:25, 5:25] = 0.5
    np.testing.assert_array_equal(poisson_blend(old, new, half), old)
    assert np.any(poisson_blend(old, new, 1.02 * half) != old)


def test_result_moves_with_its_input(rng: np.random.Generator):
    old, new, mask = draw_pair(70)
    moved = [np.roll(picture, (3, 7), axis=(0, 1)) for picture in (old, new, mask)]
    out = poisson_blend(*moved)
    inside = moved[2] > 0
    expected = np.roll(poisson_blend(old, new, mask), (3, 7), axis=(0, 1))
    # The region's own box decides where its grids lie.
    np.testing.assert_array_equal(out[inside], expected[inside])


@pytest.mark.parametrize("height, width", [(130, 130), (67, 70), (133, 60)])
def test_cycles_converge_where_the_region_just_enters_a_coarse_cell(
    rng: np.random.Generator, height: int, width: int
):
    levels, *padded = plan_grids(height, width)
    inside, held = np.zeros((2, *padded), np.float32)
    inside[1 : height - 1, 1 : width - 1] = 1
    for edge in (1, height - 2):
        held[edge, 1 : width - 1] += 1
    for edge in (1, width - 2):
        held[1 : height - 1, edge] += 1
    source = rng.normal(size=(3, *padded)).astype(np.float32) * inside
    few = solve_poisson(source.copy(), inside, held, levels, cycles=2)
    many = solve_poisson(source.copy(), inside, held, levels, cycles=25)
    padded_many = np.pad(many, ((0, 0), (1, 1), (1, 1)))
    around = padded_many[:, 2:, 1:-1] + padded_many[:, :-2, 1:-1]
    around += padded_many[:, 1:-1, 2:] + padded_many[:, 1:-1, :-2]
    # All four neighbours of these pixels are inside or given, so the diagonal is 4.
    residual = (4 * many - around - source) * inside
    assert np.abs(residual).max() < 1e-3 * np.abs(many).max()
    assert rms(few, many) < 0.2 * np.sqrt(np.mean(many**2))


def test_clone_follows_a_soft_mask_without_jumps():
    old, new, hard = draw_pair(80)
    still = feather_mask(hard, 0.2)
    shift = np.array([[1, 0, 0.1], [0, 1, 0]])
    moved = cv2.warpAffine(still, shift, still.shape[::-1])
    assert np.any((still > 0.5) != (moved > 0.5))
    for smooth in (0.0, 0.4):
        one, other = (
            poisson_blend(old, new, mask, smooth=smooth) for mask in (still, moved)
        )
        # The mask rises by up to an eighth a pixel, so a tenth of a pixel is 1/40 of
        # the fade: of differences below 160 levels, 4, and 2 for the solution's change.
        # Without the fade it was 23; with it, 2.
        assert np.abs(one.astype(int) - other).max() <= 6
        assert np.abs(one.astype(int) - old).max() > 30


def test_smooth_border_keeps_a_collar_out():
    old, new = np.full((90, 90, 3), 120, np.uint8), np.full((90, 90, 3), 100, np.uint8)
    old[70:, 30:60] = 250
    mask = np.pad(oval_mask(70), 10)
    above = np.s_[62:68, 42:48]  # a few pixels into the face, over the collar
    flooded = poisson_blend(old, new, mask)[above].mean()
    smooth = poisson_blend(old, new, mask, smooth=0.4)[above].mean()
    assert flooded > 165 and smooth < 0.5 * (flooded - 120) + 120
    # A difference that is the same all around is met whatever it is averaged over.
    flat = np.full_like(old, 120)
    met = poisson_blend(flat, new, mask, smooth=0.4)
    np.testing.assert_allclose(met, 120, atol=1)  # the solver's last tenth


def test_seamless_clone_of_masks_at_the_edge_and_of_thin_ones():
    old, new, _ = draw_pair(60)
    mask = np.zeros(old.shape[:2], np.float32)
    np.testing.assert_array_equal(seamless_clone(old, new, mask), old)
    mask[10:12, 5:40] = 1
    np.testing.assert_array_equal(seamless_clone(old, new, mask), old)
    mask[:50, :40] = 1  # OpenCV's own fails here
    cloned = seamless_clone(old, new, mask)
    np.testing.assert_array_equal(cloned[50:], old[50:])
    # Its detail is the new picture's, its level the old one's.
    inner = np.s_[10:40, 10:30]
    detail = [np.diff(p[inner].astype(float), axis=0) for p in (cloned, new)]
    assert np.corrcoef(detail[0].ravel(), detail[1].ravel())[0, 1] > 0.9
