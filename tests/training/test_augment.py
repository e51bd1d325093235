"""Random transforms and warps: their draws, their coordinates, their agreement."""

from typing import Any

import numpy as np
import pytest

from deepfake_jax.imaging.affine import (
    apply_affine,
    compose_affine,
    invert_affine,
    umeyama,
)
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.training.augment import (
    GRID,
    apply_cuts,
    apply_transform,
    apply_warp,
    augment_faces,
    draw_cuts,
    draw_transforms,
    draw_warps,
    random_transform,
    random_warp,
)

CENTRE = np.full(2, 127.5)
STILL: dict[str, Any] = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "flip": 0.0}


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first.astype(np.int64) - second)


# Draws


def test_transforms_lie_in_their_ranges_and_fill_them(rng: np.random.Generator):
    n = 20000
    matrices = draw_transforms(
        rng, n, rotation=10.0, zoom=0.05, shift=0.03, flip=0.4, face_size=256
    )
    assert matrices.shape == (n, 2, 3)
    linear = matrices[:, :, :2]
    mirrored = np.linalg.det(linear) < 0
    # Undone by a second mirror about the centre, so that the rest can be read off.
    linear[mirrored, 0] *= -1
    matrices[mirrored, 0, 2] = 255 - matrices[mirrored, 0, 2]
    scale = np.sqrt(np.linalg.det(linear))
    angle = np.degrees(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))
    moved = linear @ CENTRE + matrices[:, :, 2] - CENTRE
    # Standard error of a share of 0.4 of 20000 is 0.0035; five of them.
    assert mirrored.mean() == pytest.approx(0.4, abs=0.018)
    drawn = {"angle": (angle, 10), "scale": (scale - 1, 0.05)}
    drawn |= {"x": (moved[:, 0], 0.03 * 256), "y": (moved[:, 1], 0.03 * 256)}
    for name, (values, limit) in drawn.items():
        assert np.abs(values).max() <= limit * (1 + 1e-9), name
        assert np.abs(values).max() > 0.99 * limit, name
        # Uniform: deviation limit / sqrt(3); the error of both is below 1 % at 20000.
        assert values.mean() == pytest.approx(0, abs=0.025 * limit), name
        assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.025), name
    names = list(drawn)
    correlation = np.corrcoef([drawn[name][0] for name in names])
    # Standard error 0.007.
    assert np.abs(correlation - np.eye(4)).max() < 0.035


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_of_zero_or_one_is_certain(rng: np.random.Generator, flip: float):
    determinants = np.linalg.det(draw_transforms(rng, 500, flip=flip)[:, :, :2])
    assert np.all(determinants < 0 if flip else determinants > 0)


def test_warps_are_normal_about_the_crops_grid(rng: np.random.Generator):
    n = 4000
    grids = draw_warps(rng, n, face_size=256, coverage=0.625, warp_scale=5.0)
    assert grids.shape == (n, GRID, GRID, 2)
    line = np.array([48, 88, 128, 168, 208]) - 0.5
    expected = np.stack(np.meshgrid(line, line), axis=-1)
    # Standard error of a mean is 5 / sqrt(4000) = 0.08; of the deviation 0.056.
    np.testing.assert_allclose(grids.mean(axis=0), expected, atol=0.4)
    np.testing.assert_allclose(grids.std(axis=0), 5, atol=0.28)
    normal = (grids - expected).ravel() / 5
    assert np.mean(normal**4) == pytest.approx(3, abs=0.1)  # standard error 0.02
    half = draw_warps(rng, n, face_size=128, coverage=0.625, warp_scale=5.0)
    np.testing.assert_allclose(half.std(axis=0), 2.5, atol=0.14)


# Transforms


def test_zero_transform_is_the_face(rng: np.random.Generator, face: np.ndarray):
    np.testing.assert_array_equal(random_transform(rng, face, **STILL), face)


def test_certain_flip_is_the_mirror_image(rng: np.random.Generator, face: np.ndarray):
    flipped = random_transform(rng, face, **(STILL | {"flip": 1.0}))
    np.testing.assert_array_equal(flipped, face[:, ::-1])


def test_transform_repeats_edges(rng: np.random.Generator):
    grey = np.full((256, 256, 3), 90, np.uint8)
    moved = random_transform(rng, grey, rotation=45.0, zoom=0.5, shift=0.5, flip=0.5)
    assert np.all(moved == 90)


# Warps


def test_zero_warp_is_the_crop(rng: np.random.Generator, faces: np.ndarray):
    for face in faces:
        for size, coverage in ((64, 0.625), (128, 0.625), (64, 1.0), (160, 0.625)):
            warped, target = random_warp(
                rng, face, crop_size=size, coverage=coverage, warp_scale=0.0
            )
            crop = crop_faces(face[None], size, coverage=coverage)[0]
            # remap rounds coordinates to 1/32 px and warpAffine its own way, and both
            # round the result, so a smooth picture can differ by one grey level.
            assert difference(warped, crop).max() <= 1
            assert difference(target, crop).max() <= 1


def interpolate(grid: np.ndarray) -> np.ndarray:
    """Where each pixel of a crop comes from: x and y, [64, 64, 2]."""
    # Centres of the crop's pixels on the grid, which spans it edge to edge.
    position, knots = (np.arange(64) + 0.5) / 64 * 4, np.arange(5)
    maps = []
    for channel in range(2):
        columns = [np.interp(position, knots, row) for row in grid[..., channel]]
        rows = [np.interp(position, knots, row) for row in np.transpose(columns)]
        maps.append(np.transpose(rows))
    return np.stack(maps, axis=-1)


def find_similarity(grid: np.ndarray) -> np.ndarray:
    """From face to crop, the similarity that lies nearest to a warp (Umeyama)."""
    line = np.linspace(0, 64, GRID) - 0.5
    knots = np.stack(np.meshgrid(line, line), axis=-1).reshape(1, -1, 2)
    return umeyama(grid.reshape(1, -1, 2), knots)[0]


def test_target_of_an_even_warp_is_that_similarity(rng: np.random.Generator):
    still = draw_warps(rng, 1, warp_scale=0.0)[0]
    moved = draw_transforms(rng, 1, flip=0.0)[0]
    grid = apply_affine(moved, still.reshape(-1, 2)).reshape(still.shape)
    target = find_similarity(grid)
    expected = compose_affine(crop_matrix(64), invert_affine(moved))
    np.testing.assert_allclose(target, expected, atol=1e-9)


def test_warped_picture_is_undone_by_its_maps(face: np.ndarray, draw_face, rng):
    # A picture whose colours are its coordinates: the warp must show the map itself.
    y, x = np.mgrid[:256, :256]
    ramp = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    grid = draw_warps(rng, 1, warp_scale=3.0)[0]
    warped, target = apply_warp(ramp, grid)
    # Half a level of rounding, and coordinates of 1/32 px.
    assert np.abs(warped[..., :2] - interpolate(grid)).max() < 0.6
    to_face = invert_affine(find_similarity(grid))
    v, u = np.mgrid[:64, :64]
    expected = apply_affine(to_face, np.stack([u, v], axis=-1).astype(float))
    assert np.abs(target[..., :2] - expected).max() < 0.6


def test_warp_bends_more_where_it_is_stronger(face: np.ndarray):
    errors = []
    for warp_scale in (0.0, 2.0, 5.0, 10.0):
        pairs = [
            random_warp(np.random.default_rng(seed), face, warp_scale=warp_scale)
            for seed in range(5)
        ]
        errors.append(np.mean([difference(*pair).mean() for pair in pairs]))
    assert errors == sorted(errors)
    assert errors[0] < 0.5 < 1 < errors[-1]


# The fused form


def test_fused_agrees_with_the_two_steps_on_smooth_faces(faces: np.ndarray):
    n, face_size = faces.shape[:2]
    amounts: dict[str, Any] = {
        "rotation": 10.0,
        "zoom": 0.05,
        "shift": 0.05,
        "flip": 0.5,
    }
    rng = np.random.default_rng(3)
    warped, target = augment_faces(rng, faces, warp_scale=5.0, **amounts)
    rng = np.random.default_rng(3)
    transforms = draw_transforms(rng, n, face_size=face_size, **amounts)
    grids = draw_warps(rng, n, face_size=face_size, warp_scale=5.0)
    assert len(set(np.sign(np.linalg.det(transforms[:, :, :2])))) == 2
    for index in range(n):
        turned = apply_transform(faces[index], transforms[index])
        expected = apply_warp(turned, grids[index])
        for found, two_step in zip(
            (warped[index], target[index]), expected, strict=True
        ):
            # The two steps interpolate and round twice. On these faces the second
            # interpolation costs under a level, each rounding half a level, and 1/32 px
            # of coordinates at slopes of some levels a pixel a little more.
            assert difference(found, two_step).max() <= 2
            assert difference(found, two_step).mean() < 0.5


def test_cuts_come_from_the_chosen_faces(faces: np.ndarray):
    chosen = np.array([4, 0, 4, 2, 5, 1, 1, 3, 0])  # more than one chunk of maps
    grids = draw_cuts(np.random.default_rng(5), len(chosen))
    cuts = apply_cuts(faces, chosen, grids)
    for index, face in enumerate(chosen):
        alone = apply_cuts(faces[face : face + 1], np.array([0]), grids[[index]])
        np.testing.assert_array_equal(cuts[:, [index]], alone)


def test_target_is_the_similarity_that_umeyama_gives(faces: np.ndarray):
    # Its grid comes from a closed form; the reference is the decomposition.
    rng = np.random.default_rng(11)
    even = draw_cuts(rng, 50, warp_scale=8.0, **STILL)
    rng = np.random.default_rng(11)
    draw_transforms(rng, 50)
    targets = map(find_similarity, draw_warps(rng, 50, warp_scale=8.0))
    line = np.linspace(0, 64, GRID) - 0.5
    knots = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    for grid, target in zip(even[:, 1], targets, strict=True):
        places = apply_affine(target, grid.reshape(-1, 2))
        np.testing.assert_allclose(places, knots, atol=1e-9)


def test_cuts_far_outside_repeat_the_edge(rng: np.random.Generator):
    ramp = np.arange(256, dtype=np.uint8)[:, None, None]
    face = np.broadcast_to(ramp, (256, 256, 3)).copy()
    grids = draw_cuts(rng, 1)
    for shift, level in ((-1000.0, 0), (1000.0, 255)):
        cuts = apply_cuts(face[None], np.array([0]), grids + shift)
        assert np.all(cuts == level)


def test_fused_without_a_transform_is_each_faces_warp(faces: np.ndarray):
    warped, target = augment_faces(np.random.default_rng(4), faces, **STILL)
    rng = np.random.default_rng(4)
    draw_transforms(rng, len(faces))
    grids = draw_warps(rng, len(faces))
    for index, grid in enumerate(grids):
        # One by one, so a face's picture does not depend on those drawn beside it.
        one_warped, one_target = apply_warp(faces[index], grid)
        np.testing.assert_array_equal(warped[index], one_warped)
        np.testing.assert_array_equal(target[index], one_target)


def test_fused_at_zero_amplitude_is_the_crop(faces: np.ndarray):
    rng = np.random.default_rng(0)
    warped, target = augment_faces(rng, faces, warp_scale=0.0, **STILL)
    crops = crop_faces(faces, 64)
    # As for random_warp: fixed-point coordinates and rounding.
    assert difference(warped, crops).max() <= 1
    assert difference(target, crops).max() <= 1


def test_fused_of_a_flip_alone_is_the_mirrored_crop(faces: np.ndarray):
    rng = np.random.default_rng(0)
    amounts: dict[str, Any] = STILL | {"flip": 1.0}
    warped, target = augment_faces(rng, faces, warp_scale=0.0, **amounts)
    mirrored = crop_faces(faces, 64)[:, :, ::-1]
    assert difference(warped, mirrored).max() <= 1
    assert difference(target, mirrored).max() <= 1


def test_amplitudes_scale_with_the_face(draw_face):
    # The same draws on a picture of half the side give the same crop, blurred a little.
    pairs = [
        augment_faces(
            np.random.default_rng(8),
            draw_face(np.random.default_rng(1), size)[None],
            crop_size=32,
        )
        for size in (256, 128)
    ]
    for large, small in zip(*pairs, strict=True):
        # Both are samples of one smooth function, each rounded once.
        assert difference(large, small).max() <= 2


@pytest.mark.parametrize("crop_size", [64, 96])
def test_fused_shapes_and_types(faces: np.ndarray, crop_size: int):
    before = faces.copy()
    rng = np.random.default_rng(0)
    for pictures in augment_faces(rng, faces, crop_size=crop_size):
        assert pictures.shape == (len(faces), crop_size, crop_size, 3)
        assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(faces, before)


def test_same_seed_same_result_other_seed_another(faces: np.ndarray):
    def run(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [
            random_transform(rng, faces[0]),
            *random_warp(rng, faces[0]),
            *augment_faces(rng, faces),
        ]

    for first, again, other in zip(run(1), run(1), run(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)
