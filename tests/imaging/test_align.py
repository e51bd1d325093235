"""Alignment: the similarity is the best one, and pictures follow its coordinates."""

import cv2
import numpy as np
import pytest

from deepfake_jax.imaging.affine import apply_affine, invert_affine, similarity
from deepfake_jax.imaging.align import crop_faces, frame_to_face_matrix, warp_face
from deepfake_jax.imaging.face_template import (
    COVERAGE,
    EYE_DISTANCE,
    FACE_SIZE,
    TEMPLATE_LANDMARKS,
    crop_matrix,
    template_landmarks,
)

EXACT = 1e-9  # float64 arithmetic on coordinates of some hundreds


def test_frame_to_face_puts_template_landmarks_where_the_template_says(
    rng: np.random.Generator,
):
    to_frame = similarity(1.7, angle=0.4, to=(120.0, -31.0))
    for face_size in (64, 256):
        landmarks = apply_affine(to_frame, template_landmarks(face_size))
        matrix = frame_to_face_matrix(landmarks, face_size=face_size)
        np.testing.assert_allclose(
            apply_affine(matrix, landmarks), template_landmarks(face_size), atol=EXACT
        )


def test_template_is_a_face_inside_the_training_crop():
    eyes, nose, mouth = (
        TEMPLATE_LANDMARKS[:2],
        TEMPLATE_LANDMARKS[2],
        TEMPLATE_LANDMARKS[3:],
    )
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(EYE_DISTANCE)
    assert eyes[:, 0].mean() == pytest.approx(0.5)
    assert eyes[0, 0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
    margin = (1 - COVERAGE) / 2
    assert np.all((TEMPLATE_LANDMARKS > margin) & (TEMPLATE_LANDMARKS < 1 - margin))
    # Pixel centres at integers: the middle of a picture of s pixels is (s - 1) / 2.
    assert template_landmarks(101)[:2, 0].mean() == pytest.approx(50)


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
