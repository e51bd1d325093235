"""The mesh, its mapping and windows, on a real portrait; poses of known turns."""

import os

import numpy as np
import pytest

from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.landmark_networks import (
    MESH_TO_68,
    make_landmarker,
    window_of_box,
    window_of_landmarks,
)
from deepfake_jax.faces.litert_networks import STDERR, without_info_lines
from deepfake_jax.imaging.align import frame_to_face_matrix
from deepfake_jax.imaging.face_template import (
    MEAN_FACE,
    STABLE_LANDMARKS,
    five_landmarks,
    template_landmarks,
)
from deepfake_jax.imaging.head_pose import estimate_pose
from deepfake_jax.imaging.region import Region


def test_the_mapping_names_68_different_vertices():
    assert len(MESH_TO_68) == 68 and len(set(MESH_TO_68.tolist())) == 68
    assert MESH_TO_68.min() >= 0 and MESH_TO_68.max() < 468


def test_the_mean_face_is_symmetric_and_fits_the_five_landmarks():
    mirrored = MEAN_FACE[:, 0].copy()
    pairs = [(i, 16 - i) for i in range(8)] + [(36, 45), (39, 42), (48, 54), (31, 35)]
    for left, right in pairs:
        # Rounded to 1e-4 of the side.
        assert mirrored[left] + mirrored[right] == pytest.approx(1, abs=0.005)
    five = five_landmarks(MEAN_FACE[:, :2]) * 256 - 0.5
    np.testing.assert_allclose(five, template_landmarks(), atol=6)
    assert not set(STABLE_LANDMARKS) & {*range(17), *range(48, 68)}


@pytest.mark.parametrize("count", [5, 68])
@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (25, -10, 15)])
def test_poses_are_those_of_a_turned_mean_face(count, yaw, pitch, roll):
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = (MEAN_FACE @ (tilt @ nod @ turn).T)[:, :2] * 200 + 50
    landmarks = points if count == 68 else five_landmarks(points)
    pose = estimate_pose(landmarks)
    # The three angles are read one by one; together they differ by some degrees.
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, roll), abs=6)


@pytest.mark.usefixtures("detector_weights")
@pytest.mark.parametrize("turns", [0, 1])
def test_the_mesh_finds_the_eyes_of_a_portrait(portrait, turns):
    mesh = make_landmarker("mesh")
    detection = make_detector()(portrait)[0]
    region = Region(portrait, 0, 0)
    shape = mesh(region, window_of_box(detection.box, detection.landmarks))
    for _ in range(turns):
        shape = mesh(region, window_of_landmarks(shape.landmarks))
    assert shape.score > 0.9 and shape.landmarks.shape == (68, 2)
    eyes = np.stack(
        [shape.landmarks[36:42].mean(axis=0), shape.landmarks[42:48].mean(axis=0)]
    )
    # Read off the picture; a tenth of the eyes' distance.
    np.testing.assert_allclose(eyes, [[202, 103], [246, 102]], atol=5)
    wall = Region(np.full((200, 200, 3), 90, np.uint8), 0, 0)
    window = window_of_box(np.array([50.0, 50, 90, 90]), template_landmarks())
    assert mesh(wall, window).score < 0.5


def test_other_sources(monkeypatch):
    with pytest.raises(ValueError, match="5 or 68"):
        frame_to_face_matrix(np.zeros((7, 2)))
    monkeypatch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
    with pytest.raises((ImportError, RuntimeError), match="--landmarks dlib needs"):
        make_landmarker("dlib")


# What the C library says on stderr


def test_only_info_lines_are_dropped(capfd):
    with without_info_lines():
        os.write(STDERR, b"INFO: Created a delegate.\nERROR: no such thing\n")
        os.write(STDERR, b"INFORMED: of more\n")
    os.write(STDERR, b"INFO: afterwards\n")
    err = capfd.readouterr().err
    assert err == "ERROR: no such thing\nINFORMED: of more\nINFO: afterwards\n"


def test_an_error_inside_is_given_on_with_what_was_said(capfd):
    with pytest.raises(RuntimeError, match="broken"), without_info_lines():
        os.write(STDERR, b"why it broke\n")
        raise RuntimeError("broken")
    assert capfd.readouterr().err == "why it broke\n"
