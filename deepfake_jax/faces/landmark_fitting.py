"""Landmarks of the faces that the detector saw, and faces followed by landmarks alone.

Two ways to go on with a track: by the mesh, which proves that a face is there, or by
what the detector sees in every frame. Boxes are (x, y, width, height) and landmarks
(x, y), in the frame's pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64

from deepfake_jax.faces.landmark_networks import (
    WINDOW_SIZE,
    Landmarker,
    Shape,
    make_landmarker,
    window_of_box,
    window_of_landmarks,
)
from deepfake_jax.faces.steady_tracks import box_overlap
from deepfake_jax.faces.track_state import (
    LINK_OVERLAP,
    RunningTrack,
    guess_shape,
    moved_box,
    strays,
)
from deepfake_jax.imaging.region import Detection, Region
from deepfake_jax.media.frame_parts import cut_region, face_region
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch

DETECT_EVERY = 3  # frames, while every face is followed by its landmarks
_FOLLOW_SCORE = 0.8  # landmark confidence that proves a face where none was detected
_GOOD_SCORE = 0.5  # landmark confidence below which another window is tried
_RETRY_EVERY = 5  # doubtful looks at a track between full fits
_UNSEEN_ROUNDS = 3  # detections that may miss a followed face before it is let go

# A track's face in a frame: as detected, if it was, and its landmarks.
Seen = tuple[Detection | None, Shape]
Fit = Callable[[TimedFrame, Detection], Shape]


@dataclass(frozen=True)
class Fitting:
    """How faces come to their landmarks.

    Attributes:
        fit: landmarks of a face that only the detector has seen.
        go_on: where a track's face is in the next frame, given what was detected there
            and whether the detector was asked; None if it is not seen.
        detect_every: frames between two detections.
    """

    fit: Fit
    go_on: Callable[[TimedFrame, RunningTrack, Detection | None, bool], Seen | None]
    detect_every: int


def make_fitting(
    source: Literal["mesh", "dlib", "none"], *, film: bool, watch: Stopwatch
) -> Fitting:
    """Loads what finds landmarks.

    Args:
        source: the mesh, dlib's 68, or the detector's five.
        film: whether the frames are neighbours, so that faces can be followed.
        watch: takes in the network's time.

    Raises:
        AssetError, ImportError: the network cannot be had.
    """
    if source == "none":
        return _detect_always(_take_five)
    landmark = watch.wrap("landmarks", make_landmarker(source))
    if source == "mesh" and film:
        return Fitting(
            partial(_fit_closely, landmark), partial(_follow, landmark), DETECT_EVERY
        )
    return _detect_always(partial(_fit, landmark))


def _detect_always(fit: Fit) -> Fitting:
    def go_on(
        timed: TimedFrame, _: RunningTrack, detection: Detection | None, __: bool
    ) -> Seen | None:
        return None if detection is None else (detection, fit(timed, detection))

    return Fitting(fit, go_on, 1)


def _take_five(_: TimedFrame, detection: Detection) -> Shape:
    return Shape(landmarks=detection.landmarks, score=1.0)


def _fit(landmark: Landmarker, timed: TimedFrame, detection: Detection) -> Shape:
    return _fit_within(landmark, _cut_around(timed, detection), detection)


def _fit_closely(
    landmark: Landmarker, timed: TimedFrame, detection: Detection
) -> Shape:
    region = _cut_around(timed, detection)
    shape = _fit_within(landmark, region, detection)
    if shape.score == 0:  # a guess
        return shape
    # The first window stands as the detector's rough ones do; two looks more
    # bring the mesh within 1 px (of 256) of where it stays.
    for _ in range(2):
        again = landmark(region, window_of_landmarks(shape.landmarks))
        if again.score < min(shape.score, _GOOD_SCORE) or strays(again, detection):
            break
        shape = again
    return shape


def _cut_around(timed: TimedFrame, detection: Detection) -> Region:
    box = detection.box
    margin = 0.75 * max(box[2], box[3])
    return cut_region(timed, np.concatenate([box[:2] - margin, box[2:] + 2 * margin]))


def _fit_within(landmark: Landmarker, region: Region, detection: Detection) -> Shape:
    five = detection.landmarks
    shape = landmark(region, window_of_box(detection.box, five))
    if shape.score < _GOOD_SCORE or strays(shape, detection):
        other = landmark(region, window_of_landmarks(five))
        shape = max(shape, other, key=lambda s: (not strays(s, detection), s.score))
    return guess_shape(detection) if strays(shape, detection) else shape


def _follow(
    landmark: Landmarker,
    timed: TimedFrame,
    track: RunningTrack,
    detection: Detection | None,
    searched: bool,
) -> Seen | None:
    window = window_of_landmarks(_expect(track, detection))
    shape = landmark(face_region(timed, window, WINDOW_SIZE), window)
    if detection is None:
        track.unseen += searched
        kept = shape.score >= _FOLLOW_SCORE and track.unseen <= _UNSEEN_ROUNDS
        moved = moved_box(track, shape.landmarks)
        kept = kept and box_overlap(moved, np.array(track.box)) >= LINK_OVERLAP
        return (None, shape) if kept else None
    track.unseen = 0
    # A face that the mesh does not know stays so for a while; asking it four times in
    # every frame would be most of the work of a crowd scene.
    astray = strays(shape, detection)
    if shape.score < _GOOD_SCORE or astray:
        track.doubts += 1
        if track.doubts % _RETRY_EVERY == 1:
            shape = _fit_closely(landmark, timed, detection)
        elif astray:
            shape = guess_shape(detection)
    return detection, shape


def _expect(
    track: RunningTrack, detection: Detection | None
) -> Float64[np.ndarray, "n 2"]:
    """Where a track's landmarks should be by its motion, or by its new box."""
    shift = np.array(track.velocity)
    if detection is not None:
        now, before = detection.box, np.array(track.box)
        boxes = now[:2] + now[2:] / 2 - before[:2] - before[2:] / 2
        # Where box and motion disagree by much, the box has seen the frame.
        if np.abs(boxes - shift).max() > 0.25 * before[2]:
            shift = boxes
    return np.array(track.landmarks) + shift
