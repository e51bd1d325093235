"""Faces in every turn: found, and the right way up."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import write_pan

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.detection import make_sized_detector
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.faces.upright import find_turn, measure_roll
from deepfake_jax.imaging.affine import apply_affine, similarity
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.timed_frames import picture_frame

ROLL = 2  # degrees; how the astronaut holds her head


def turn_picture(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Clockwise, on a canvas that holds all of it."""
    height, width = picture.shape[:2]
    side = int(np.hypot(height, width)) + 1
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = similarity(
        1.0, angle=np.radians(degrees), about=middle, to=((side - 1) / 2,) * 2
    )
    return cv2.warpAffine(picture, matrix, (side, side))


@pytest.mark.parametrize("count", [5, 68])
@pytest.mark.parametrize("degrees", [0, 40, 80, 135.5, 180, -100, -50])
def test_the_roll_is_read_off_the_eyes(count, degrees):
    points = template_landmarks(256, count=count)
    turned = apply_affine(similarity(2.0, angle=np.radians(degrees)), points)
    off = np.degrees(measure_roll(turned)) - degrees
    assert abs((off + 180) % 360 - 180) < 1
    # What is left after the turn is an eighth of a whole one at most.
    left = (degrees - 90 * find_turn(turned) + 180) % 360 - 180
    assert abs(left) <= 46


@pytest.mark.usefixtures("detector_weights")
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_what_is_found_after_a_turn_lies_where_it_is_in_the_frame(portrait, turn):
    """Not square, so that height and width cannot be mistaken for each other."""
    upright = np.ascontiguousarray(portrait[:400])
    lying = picture_frame(np.ascontiguousarray(np.rot90(upright, -turn)))
    detect = make_sized_detector()
    (plain,) = detect(picture_frame(upright), 640, 0)
    (found,) = detect(lying, 640, turn)
    height, width = upright.shape[:2]
    corner = {1: (height - 1, 0), 2: (width - 1, height - 1), 3: (0, width - 1)}[turn]
    to_lying = similarity(1.0, angle=np.pi / 2 * turn, to=corner)
    expected = apply_affine(to_lying, plain.landmarks)
    np.testing.assert_allclose(found.landmarks, expected, atol=0.01)
    middle = apply_affine(to_lying, (plain.box[:2] + plain.box[2:] / 2)[None])[0]
    np.testing.assert_allclose(found.box[:2] + found.box[2:] / 2, middle, atol=1.01)
    assert found.box[2] == pytest.approx(plain.box[2 if turn == 2 else 3], abs=0.01)


def find_rolls(path: Path, kind: str, config: SearchConfig) -> list[list[float]]:
    source = Source(path, kind, 1)  # type: ignore[arg-type]
    found = FootageSearch(config).search([source])
    return [
        [np.degrees(measure_roll(face.landmarks)) for face in frame.faces]
        for frame in found
    ]


@pytest.mark.usefixtures("detector_weights")
@pytest.mark.parametrize("landmarks", ["mesh", "none"])
@pytest.mark.parametrize("degrees", [0, 75, 90, 135, 180, -120, -90])
def test_a_turned_face_is_found_the_right_way_up(
    portrait, tmp_path, degrees, landmarks
):
    write_picture(tmp_path / "turned.png", turn_picture(portrait, degrees))
    config = SearchConfig(landmarks=landmarks)
    (rolls,) = find_rolls(tmp_path / "turned.png", "picture", config)
    assert len(rolls) == 1
    off = (rolls[0] - degrees - ROLL + 180) % 360 - 180
    # The detector's own points lean back to upright by up to half of 45 degrees.
    assert abs(off) < (12 if landmarks == "mesh" else 50)


@pytest.mark.usefixtures("detector_weights")
def test_a_clip_on_its_head_is_one_track_of_upright_faces(portrait, tmp_path):
    path = tmp_path / "up.mp4"
    write_pan(path, np.ascontiguousarray(portrait[::-1, ::-1]), start=(180, 290))
    search = FootageSearch(SearchConfig())
    frames = list(search.search([Source(path, "video", 12)]))
    assert [[face.track for face in frame.faces] for frame in frames] == [[0]] * 12
    for frame in frames:
        (face,) = frame.faces
        assert abs(abs(np.degrees(measure_roll(face.landmarks))) - 180 + ROLL) < 12
        placed = apply_affine(face.frame_to_face, face.landmarks)
        np.testing.assert_allclose(
            placed[27:48], template_landmarks(256, count=68)[27:48], atol=15
        )
