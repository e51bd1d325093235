"""Alignment: the similarity is the best one, and pictures follow its coordinates."""

import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from deepfake_jax.imaging.affine import (
    apply_affine,
    compose_affine,
    invert_affine,
    umeyama,
)
from deepfake_jax.imaging.align import crop_faces, frame_to_face_matrix, warp_face
from deepfake_jax.imaging.face_template import (
    COVERAGE,
    EYE_DISTANCE,
    FACE_SIZE,
    TEMPLATE_POINTS,
    crop_matrix,
    template_points,
)

# float64 arithmetic on coordinates of some hundreds: errors stay around 1e-13.
EXACT = 1e-9


def draw_rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return q


def draw_similarity(rng: np.random.Generator, d: int) -> np.ndarray:
    linear = rng.uniform(0.2, 5) * draw_rotation(rng, d)
    return np.column_stack([linear, rng.normal(0, 100, d)])


def squared_error(matrix: np.ndarray, source: np.ndarray, target: np.ndarray) -> float:
    return float(((apply_affine(matrix, source) - target) ** 2).sum(axis=-1).mean())


# umeyama


@pytest.mark.parametrize("d", [2, 3, 5])
def test_umeyama_finds_a_constructed_similarity(rng: np.random.Generator, d: int):
    for _ in range(20):
        matrix = draw_similarity(rng, d)
        source = rng.normal(0, 50, (d + 3, d))
        found = umeyama(source, apply_affine(matrix, source))
        assert found.shape == (d, d + 1)
        np.testing.assert_allclose(found, matrix, rtol=EXACT, atol=EXACT)


def test_umeyama_takes_two_points_and_float32(rng: np.random.Generator):
    matrix = draw_similarity(rng, 2)
    source = rng.normal(0, 50, (2, 2))
    target = apply_affine(matrix, source)
    np.testing.assert_allclose(umeyama(source, target), matrix, rtol=EXACT, atol=EXACT)
    single = umeyama(source.astype(np.float32), target.astype(np.float32))
    assert single.dtype == np.float64
    # float32 keeps 24 bits of coordinates around 100: 1e-5 of a pixel each.
    np.testing.assert_allclose(single, matrix, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_umeyama_agrees_with_scikit_image_on_noisy_points(
    rng: np.random.Generator, d: int
):
    for _ in range(20):
        source, target = rng.normal(0, 50, (2, 8, d))
        reference = SimilarityTransform.from_estimate(source, target)
        np.testing.assert_allclose(
            umeyama(source, target), reference.params[:d], rtol=1e-8, atol=1e-8
        )


def test_umeyama_of_a_batch_is_that_of_each(rng: np.random.Generator):
    source, target = rng.normal(0, 50, (2, 3, 4, 6, 2))
    batched = umeyama(source, target)
    assert batched.shape == (3, 4, 2, 3)
    for index in np.ndindex(3, 4):
        # The same LAPACK routine on the same numbers, but sums may be reordered.
        np.testing.assert_allclose(
            batched[index], umeyama(source[index], target[index]), rtol=EXACT
        )


def test_umeyama_without_scale_keeps_lengths(rng: np.random.Generator):
    rotation = draw_rotation(rng, 3)
    source = rng.normal(0, 10, (6, 3))
    target = 2.5 * source @ rotation.T + [1, 2, 3]
    found = umeyama(source, target, estimate_scale=False)
    np.testing.assert_allclose(found[:, :3], rotation, atol=EXACT)
    np.testing.assert_allclose(
        apply_affine(found, source.mean(axis=0)), target.mean(axis=0), atol=EXACT
    )


def test_umeyama_never_reflects_in_the_example_of_the_paper():
    # Umeyama 1991, section III: figure 1, its three points and the reflected ones.
    source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    target = np.array([[0.0, 0.0], [-1.0, 0.0], [0.0, 2.0]])
    found = umeyama(source, target)
    # The paper prints c = 0.721, R = [[0.832, 0.555], [-0.555, 0.832]] and
    # t = (-0.8, 0.4): these fractions.
    np.testing.assert_allclose(found, [[0.6, 0.4, -0.8], [-0.4, 0.6, 0.4]], atol=EXACT)


@pytest.mark.parametrize("d", [2, 3])
def test_umeyama_of_mirrored_points_is_a_proper_rotation(
    rng: np.random.Generator, d: int
):
    source = rng.normal(0, 10, (7, d))
    mirrored = source * np.array([-1.0] + [1.0] * (d - 1))
    for target in (mirrored, mirrored @ draw_rotation(rng, d).T + 5):
        found = umeyama(source, target, estimate_scale=False)
        assert np.linalg.det(found[:, :d]) == pytest.approx(1, abs=EXACT)


def test_umeyama_of_mirrored_points_is_best_of_all_rotations(rng: np.random.Generator):
    source = rng.normal(0, 10, (6, 2))
    target = source * [-1.0, 1.0] + rng.normal(0, 1, (6, 2))
    found = umeyama(source, target)
    source_centred = source - source.mean(axis=0)
    target_centred = target - target.mean(axis=0)
    errors = []
    for angle in np.linspace(0, 2 * np.pi, 3601):
        cos, sin = np.cos(angle), np.sin(angle)
        turned = source_centred @ np.array([[cos, sin], [-sin, cos]])
        scale = max((turned * target_centred).sum() / (turned**2).sum(), 0)
        errors.append(((scale * turned - target_centred) ** 2).sum(axis=1).mean())
    best = squared_error(found, source, target)
    assert best <= min(errors) + EXACT
    # A grid of a tenth of a degree comes within a millionth of the optimum.
    assert best == pytest.approx(min(errors), rel=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_umeyama_of_points_on_a_line_fits_them_without_reflecting(
    rng: np.random.Generator, d: int
):
    along = np.array([-1.0, 0.5, 2.0, 4.0])[:, None]
    source = along * rng.normal(size=d) + 3
    matrix = draw_similarity(rng, d)
    target = apply_affine(matrix, source)
    found = umeyama(source, target)
    # In 2-d a line fixes the rotation, rank d - 1; in 3-d any turn about it fits.
    np.testing.assert_allclose(apply_affine(found, source), target, atol=1e-8)
    scale = np.linalg.norm(matrix[:, 0])
    np.testing.assert_allclose(
        found[:, :d].T @ found[:, :d], scale**2 * np.eye(d), atol=1e-8
    )
    assert np.linalg.det(found[:, :d]) > 0
    if d == 2:
        np.testing.assert_allclose(found, matrix, atol=1e-8)


def test_umeyama_says_what_is_wrong_with_its_points(unchecked: None):
    points = np.arange(6.0).reshape(3, 2)
    with pytest.raises(ValueError, match=r"one shape.*\(3, 2\).*\(2, 2\)"):
        umeyama(points, points[:2])
    with pytest.raises(ValueError, match="at least 2 points of 2.*got 1 of 2"):
        umeyama(points[:1], points[:1])
    with pytest.raises(ValueError, match="at least 2 points of 2.*got 3 of 1"):
        umeyama(points[:, :1], points[:, :1])
    same = np.ones((3, 2))
    for source, target in ((same, points), (points, same)):
        with pytest.raises(ValueError, match="coincide"):
            umeyama(source, target)
    with pytest.raises(ValueError, match="coincide"):
        umeyama(np.stack([points, same]), np.stack([points, points]))


# Matrices


def test_align_then_invert_gives_the_points_back(rng: np.random.Generator):
    for _ in range(20):
        landmarks = apply_affine(
            draw_similarity(rng, 2), template_points() + rng.normal(0, 4, (5, 2))
        )
        matrix = frame_to_face_matrix(landmarks)
        points = rng.uniform(-500, 2000, (10, 2))
        back = apply_affine(invert_affine(matrix), apply_affine(matrix, points))
        np.testing.assert_allclose(back, points, atol=EXACT)
        identity = compose_affine(invert_affine(matrix), matrix)
        np.testing.assert_allclose(identity, np.eye(2, 3), atol=EXACT)


def test_compose_maps_by_the_first_then_by_the_second(rng: np.random.Generator):
    first, second = draw_similarity(rng, 2), draw_similarity(rng, 2)
    points = rng.normal(0, 100, (4, 2))
    np.testing.assert_allclose(
        apply_affine(compose_affine(second, first), points),
        apply_affine(second, apply_affine(first, points)),
        rtol=EXACT,
    )
    assert apply_affine(first, points[0]).shape == (2,)


def test_invert_of_a_flat_matrix_raises():
    with pytest.raises(np.linalg.LinAlgError):
        invert_affine(np.zeros((2, 3)))


def test_frame_to_face_puts_template_landmarks_where_the_template_says(
    rng: np.random.Generator,
):
    to_frame = draw_similarity(rng, 2)
    for face_size in (64, 256):
        landmarks = apply_affine(to_frame, template_points(face_size))
        matrix = frame_to_face_matrix(landmarks, face_size=face_size)
        np.testing.assert_allclose(
            apply_affine(matrix, landmarks), template_points(face_size), atol=EXACT
        )


def test_template_is_a_face_inside_the_training_crop():
    eyes, nose, mouth = TEMPLATE_POINTS[:2], TEMPLATE_POINTS[2], TEMPLATE_POINTS[3:]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(EYE_DISTANCE)
    assert eyes[:, 0].mean() == pytest.approx(0.5)
    assert eyes[0, 0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
    margin = (1 - COVERAGE) / 2
    assert np.all((TEMPLATE_POINTS > margin) & (TEMPLATE_POINTS < 1 - margin))
    # Pixel centres at integers: the middle of a picture of s pixels is (s - 1) / 2.
    assert template_points(101)[:2, 0].mean() == pytest.approx(50)


@pytest.mark.parametrize("crop_size", [64, 160, 50])
@pytest.mark.parametrize("coverage", [0.625, 1.0, 0.3])
def test_crop_matrix_tiles_the_centre_edge_to_edge(crop_size: int, coverage: float):
    matrix = crop_matrix(crop_size, face_size=256, coverage=coverage)
    margin = (1 - coverage) / 2 * 256
    edges = np.array([[margin, margin], [256 - margin, 256 - margin]]) - 0.5
    np.testing.assert_allclose(
        apply_affine(matrix, edges), [[-0.5] * 2, [crop_size - 0.5] * 2], atol=EXACT
    )


@pytest.mark.parametrize("coverage", [0.0, -0.5, 1.01])
def test_crop_matrix_refuses_a_coverage_out_of_range(coverage: float):
    with pytest.raises(ValueError, match=f"coverage.*{coverage}"):
        crop_matrix(64, coverage=coverage)


# Pictures


def test_crop_of_the_same_scale_is_a_slice(face: np.ndarray):
    crop = crop_faces(face[None], 160)
    np.testing.assert_array_equal(crop[0], face[48:208, 48:208])
    np.testing.assert_array_equal(crop_faces(face[None], 256, coverage=1.0)[0], face)


def test_crop_enlarged_to_the_edges_does_not_darken_them():
    white = np.full((2, 64, 64, 3), 255, np.uint8)
    crops = crop_faces(white, 160, coverage=1.0)
    assert crops.min() == 255


def test_crop_of_no_faces_is_no_crops():
    crops = crop_faces(np.zeros((0, 256, 256, 3), np.uint8), 64)
    assert crops.shape == (0, 64, 64, 3)


def test_warp_by_the_identity_is_the_picture(face: np.ndarray):
    np.testing.assert_array_equal(warp_face(face, np.eye(2, 3)), face)


def test_warp_moves_a_point_where_the_matrix_says():
    frame = np.zeros((120, 200, 3), np.uint8)
    frame[40:43, 150:153] = 255
    matrix = np.array([[0.9, -0.2, -60.0], [0.2, 0.9, -20.0]])
    out = warp_face(frame, matrix, 128).astype(np.float64)[..., 0]
    y, x = np.mgrid[:128, :128]
    centre = np.array([(x * out).sum(), (y * out).sum()]) / out.sum()
    # Bilinear weights keep the centroid up to the sampling of a 3 px square.
    np.testing.assert_allclose(
        centre, apply_affine(matrix, np.array([151.0, 41.0])), atol=0.1
    )


def test_warp_repeats_the_edges_outside_the_frame():
    frame = np.full((40, 50, 3), 77, np.uint8)
    for scale in (2.0, 1.0, 0.1):
        matrix = np.array([[scale, 0, 10], [0, scale, 10]])
        assert np.all(warp_face(frame, matrix, 64) == 77)
    away = np.array([[0.1, 0, 5000.0], [0, 0.1, -5000.0]])
    assert np.all(warp_face(frame, away, 32) == 77)
    assert np.all(warp_face(frame[:1, :1], np.array([[0.2, 0, 9], [0, 0.2, 9]]), 32))


@pytest.mark.parametrize("ratio", [4, 8])
def test_warp_of_a_large_face_does_not_alias(rng: np.random.Generator, ratio: int):
    frame = rng.integers(0, 256, (64 * ratio, 64 * ratio, 3), dtype=np.uint8)
    shift = 0.5 / ratio - 0.5
    matrix = np.array([[1 / ratio, 0, shift], [0, 1 / ratio, shift]])
    out = warp_face(frame, matrix, 64).astype(np.float64)
    areas = frame.reshape(64, ratio, 64, ratio, 3).mean(axis=(1, 3))
    # The box that is reduced need not begin at a multiple of the ratio, so pixels are
    # averages over slightly shifted areas; point samples of this noise differ by 74.
    assert np.sqrt(np.mean((out - areas) ** 2)) < 74 / ratio
    plain = cv2.warpAffine(frame, matrix, (64, 64), flags=cv2.INTER_LINEAR)
    assert out.std() < 0.6 * plain.std()
    # The standard deviation of an average of ratio ** 2 values of uniform noise.
    assert out.std() == pytest.approx(74 / ratio, rel=0.35)


def test_warp_of_a_large_face_keeps_its_place():
    # Colours are coordinates: 1024 of them on 256 levels.
    y, x = np.mgrid[:1024, :1024]
    frame = np.stack([x // 4, y // 4, 0 * x], axis=-1).astype(np.uint8)
    matrix = np.array([[0.2, 0.05, 13.0], [-0.05, 0.2, 60.0]])
    v, u = np.mgrid[:FACE_SIZE, :FACE_SIZE]
    points = apply_affine(invert_affine(matrix), np.stack([u, v], -1).astype(float))
    inside = np.all((points > 8) & (points < 1015), axis=-1)
    assert inside.sum() > 20000
    found = warp_face(frame, matrix)[..., :2].astype(np.float64)
    # The level of a coordinate c is c // 4, on average (c - 1.5) / 4.
    error = (found - (points - 1.5) / 4)[inside]
    # Rounding twice, after a stair of one level is smoothed; half a pixel of the face,
    # the usual mistake, would be 2.4 px of the frame, 0.6 levels of every pixel.
    assert np.abs(error).max() < 1.5
    assert np.abs(error.mean(axis=0)).max() < 0.1
