"""Affine maps: the similarity is the best one, and every map does what it says."""

import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from deepfake_jax.imaging.affine import (
    affine_scale,
    apply_affine,
    bounding_box,
    compose_affine,
    face_corners,
    face_middle,
    invert_affine,
    resize_affine,
    shift_affine,
    similarity,
    umeyama,
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
        matrix = draw_similarity(rng, 2)
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


def test_similarity_takes_a_point_to_another_and_turns_clockwise():
    matrix = similarity(2.0, angle=np.pi / 2, about=(3.0, 4.0), to=(10.0, 20.0))
    np.testing.assert_allclose(
        apply_affine(matrix, np.array([3.0, 4.0])), [10, 20], atol=EXACT
    )
    # What lay to the right lies below, twice as far: y grows downwards.
    np.testing.assert_allclose(
        apply_affine(matrix, np.array([4.0, 4.0])), [10, 22], atol=EXACT
    )
    assert affine_scale(matrix) == pytest.approx(2)
    mirrored = matrix * [[-1.0], [1.0]]
    assert affine_scale(mirrored) == pytest.approx(2)


def test_resize_is_where_opencv_puts_pixels():
    picture = np.zeros((40, 60), np.float32)
    picture[10:14, 30:34] = 1
    y, x = np.nonzero(picture)
    small = cv2.resize(picture, (15, 20), interpolation=cv2.INTER_AREA)
    v, u = np.mgrid[:20, :15]
    centre = np.array([(u * small).sum(), (v * small).sum()]) / small.sum()
    matrix = resize_affine(15 / 60, 20 / 40)
    expected = apply_affine(matrix, np.array([x.mean(), y.mean()]))
    np.testing.assert_allclose(centre, expected, atol=1e-5)
    edges = apply_affine(matrix, np.array([[-0.5, -0.5], [59.5, 39.5]]))
    np.testing.assert_allclose(edges, [[-0.5, -0.5], [14.5, 19.5]], atol=EXACT)


def test_corners_and_middle_of_a_face_come_back_from_the_frame(
    rng: np.random.Generator,
):
    matrix = draw_similarity(rng, 2)
    corners = apply_affine(matrix, face_corners(matrix, 64))
    np.testing.assert_allclose(corners, [[0, 0], [63, 0], [0, 63], [63, 63]], atol=1e-7)
    middle = apply_affine(matrix, face_middle(matrix, 64))
    np.testing.assert_allclose(middle, [31.5, 31.5], atol=1e-7)


def test_bounding_box_holds_its_points_and_is_cut_to_the_picture():
    points = np.array([[3.2, 5.0], [7.0, 9.9]])
    assert bounding_box(points, (20, 30)) == np.s_[5:11, 3:8]
    assert bounding_box(points, (20, 30), margin=4) == np.s_[1:15, 0:12]
    assert bounding_box(points, (8, 6)) == np.s_[5:8, 3:6]
    far = apply_affine(shift_affine(1e12, 0), points)
    assert bounding_box(far, (20, 30)) is None
    assert bounding_box(points - [40, 0], (20, 30), margin=4) is None
