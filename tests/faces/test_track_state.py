"""Whose face is whose: landmarks that slipped, tracks that met."""

import numpy as np
import pytest

from deepfake_jax.faces.landmark_networks import Shape
from deepfake_jax.faces.track_state import (
    RunningTrack,
    Taken,
    guess_shape,
    link_tracks,
    part_doubles,
    strays,
)
from deepfake_jax.imaging.face_template import (
    MEAN_FACE,
    five_landmarks,
    template_landmarks,
)
from deepfake_jax.imaging.region import Detection


def make_detection(x: float, *, side: float = 80.0) -> Detection:
    """An upright face whose mean-face square has its corner at (x, 50)."""
    points = MEAN_FACE[:, :2] * side + [x, 50]
    low, high = points.min(axis=0), points.max(axis=0)
    return Detection(np.concatenate([low, high - low]), 0.9, five_landmarks(points))


def make_shape(x: float, *, side: float = 80.0, score: float = 1.0) -> Shape:
    return Shape(MEAN_FACE[:, :2] * side + [x, 50], score)


def make_track(track: int, x: float) -> RunningTrack:
    detection, shape = make_detection(x), make_shape(x)
    return RunningTrack(track, detection.box.tolist(), 0.9, shape.landmarks.tolist())


def test_landmarks_of_the_neighbour_stray_and_their_own_do_not():
    detection = make_detection(100)
    width = detection.box[2]
    assert not strays(make_shape(100), detection)
    assert not strays(make_shape(100 + 0.2 * width), detection)
    assert strays(make_shape(100 + 0.3 * width), detection)
    # A turned head's landmarks are narrower but stand in the same place.
    assert not strays(make_shape(108, side=64), make_detection(100))


def test_a_guess_stands_where_the_five_landmarks_are_and_is_not_sure():
    detection = make_detection(100)
    guess = guess_shape(detection)
    assert guess.landmarks.shape == template_landmarks(count=68).shape
    # The five points of the template are an average of others than the 68.
    np.testing.assert_allclose(guess.landmarks, make_shape(100).landmarks, atol=3)
    assert guess.score == 0 and not strays(guess, detection)


def test_each_detection_goes_to_the_track_that_it_overlaps_most():
    tracks = [make_track(0, 100), make_track(1, 140)]
    near, far = make_detection(136), make_detection(400)
    pairs = link_tracks(tracks, [far, near])
    assert pairs == {1: near}


@pytest.mark.parametrize("detected", [0, 1])
def test_of_two_tracks_on_one_face_the_detected_stays(detected):
    tracks = [make_track(0, 100), make_track(1, 150)]
    where = (100, 150)[detected]
    taken: list[Taken] = [
        (track, make_detection(where) if at == detected else None, make_shape(where))
        for at, track in enumerate(tracks)
    ]
    kept, lost = part_doubles(taken)
    assert [track.number for track, _, _ in kept] == [detected]
    assert lost == {1 - detected}
