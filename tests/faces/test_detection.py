"""Finding faces in a real portrait, at any size, and telling people apart."""

import cv2
import numpy as np
import pytest

from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.identity import (
    SAME_PERSON,
    cluster_persons,
    make_embedder,
    mean_embedding,
)
from deepfake_jax.imaging.align import frame_to_face_matrix, warp_face
from deepfake_jax.imaging.face_template import template_landmarks

pytestmark = pytest.mark.usefixtures("detector_weights")


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_a_face_is_found_where_it_is(portrait, scale):
    frame = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    detection = make_detector()(frame)[0]
    # The eyes of this portrait, read off the picture; a tenth of their distance, or
    # two pixels where the whole face has 25.
    eyes = np.array([[202.0, 103.0], [246.0, 102.0]]) * scale
    np.testing.assert_allclose(detection.landmarks[:2], eyes, atol=max(2, 5 * scale))
    assert detection.score > 0.8


def test_an_aligned_face_has_its_landmarks_on_the_template(portrait):
    detect = make_detector()
    matrix = frame_to_face_matrix(detect(portrait)[0].landmarks)
    face = warp_face(portrait, matrix)
    found = detect(face)[0].landmarks
    # A smile is not the mean face: a fifth of the eyes' distance.
    np.testing.assert_allclose(found, template_landmarks(), atol=13)


def test_largest_face_comes_first(portrait):
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    frame = np.zeros((512, 768, 3), np.uint8)
    frame[:256, :256] = small
    frame[:, 256:] = portrait
    boxes = [detection.box for detection in make_detector()(frame)]
    assert len(boxes) == 2
    assert boxes[0][2] > 1.5 * boxes[1][2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (15, 15), (40, 40), (200, 3)])
def test_frames_without_room_for_a_face_have_none(shape):
    assert make_detector()(np.full((*shape, 3), 90, np.uint8)) == []


def test_score_out_of_range_is_refused():
    with pytest.raises(ValueError, match="min_score"):
        make_detector(min_score=1.5)


def test_embeddings_know_a_person_again(portrait):
    detect, embed = make_detector(), make_embedder()
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    darker = (portrait * 0.7).astype(np.uint8)
    vectors = [embed(f, detect(f)[0]) for f in (portrait, mirrored, darker)]
    for vector in vectors:
        # A unit vector of float32.
        assert float(vector @ vector) == pytest.approx(1, abs=1e-5)
        assert float(vector @ vectors[0]) > SAME_PERSON


def test_clusters_are_people_largest_first(rng):
    people = np.linalg.qr(rng.normal(size=(128, 3)))[0].T
    owners = np.array([2, 0, 0, 1, 0, 1, 0])
    noise = rng.normal(scale=0.02, size=(7, 128))
    vectors = (people[owners] + noise).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = cluster_persons(vectors)
    np.testing.assert_array_equal(labels, owners)
    assert len(cluster_persons(np.zeros((0, 128), np.float32))) == 0
    centre = mean_embedding(vectors[owners == 0])
    # Noise of 0.02 in 128 numbers, averaged over four.
    assert float(centre @ people[0]) > 0.98
    with pytest.raises(ValueError, match="no embeddings"):
        mean_embedding(np.zeros((0, 128), np.float32))
