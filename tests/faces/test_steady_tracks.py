"""Tracks: no lag, less noise, gaps filled and marked, nothing across cuts."""

from collections.abc import Iterator

import numpy as np
import pytest

from deepfake_jax.faces.jitter_meter import JitterMeter
from deepfake_jax.faces.steady_tracks import (
    MAX_GAP,
    RADIUS,
    FoundFace,
    FrameFaces,
    TrackedFace,
    box_overlap,
    steady_landmarks,
    steady_stream,
)
from deepfake_jax.imaging.affine import apply_affine, invert_affine
from deepfake_jax.imaging.face_template import MEAN_FACE, template_landmarks
from deepfake_jax.media.timed_frames import TimedFrame

SHAPE = MEAN_FACE[:, :2] * 100


def make_face(x: float, y: float, noise: np.ndarray | float = 0.0, track: int = 0):
    return FoundFace(
        track=track,
        box=np.array([x, y, 100.0, 110.0]),
        score=0.9,
        landmarks=SHAPE + [x, y] + noise,
        confidence=1.0,
    )


def make_stream(
    frames: list[list[FoundFace]],
) -> Iterator[tuple[TimedFrame, FrameFaces]]:
    picture = np.zeros((4, 4, 3), np.uint8)
    for index, faces in enumerate(frames):
        timed = TimedFrame(index, index / 25, index, 1, picture=picture)
        yield timed, FrameFaces(index, index / 25, False, tuple(faces))


def steady_all(frames: list[list[FoundFace]], **options) -> list[list[TrackedFace]]:
    return [faces for _, _, faces in steady_stream(make_stream(frames), **options)]


def test_overlap_is_intersection_over_union():
    box = np.array([10.0, 20.0, 100.0, 50.0])
    assert box_overlap(box, box) == pytest.approx(1)
    assert box_overlap(box, box + [50, 0, 0, 0]) == pytest.approx(2500 / 7500)
    assert box_overlap(box, box + [100, 0, 0, 0]) == 0
    inner = np.array([20.0, 30.0, 10.0, 10.0])
    assert box_overlap(box, inner) == pytest.approx(100 / 5000)
    assert box_overlap(np.zeros(4), np.zeros(4)) == 0


def test_even_motion_does_not_lag():
    frames = [[make_face(4.0 * t, 300 - 2.5 * t)] for t in range(30)]
    for before, after in zip(frames, steady_all(frames), strict=True):
        # Sums of a few float64: a symmetric average of a line is the line.
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=1e-9)
        np.testing.assert_array_equal(after[0].box, before[0].box)
        assert after[0].score == before[0].score and not after[0].filled


def test_the_alignment_of_a_still_mean_face_is_the_template():
    for faces in steady_all([[make_face(7, 9)] for _ in range(20)]):
        landmarks = apply_affine(faces[0].frame_to_face, SHAPE + [7, 9])
        np.testing.assert_allclose(landmarks, template_landmarks(count=68), atol=1e-6)
        pose = faces[0].pose
        assert abs(pose.yaw) + abs(pose.pitch) + abs(pose.roll) < 0.5


def test_noise_becomes_less_and_the_meter_sees_it(rng: np.random.Generator):
    meter = JitterMeter()
    # Noise of 0.2 in a face of 100 pixels is half a pixel of 256: a mesh's own.
    frames = [[make_face(50, 50, rng.normal(0, 0.2, (68, 2)))] for _ in range(300)]
    faces = steady_all(frames, meter=meter)
    steady = np.stack([found[0].landmarks for found in faces])[RADIUS:-RADIUS]
    # 17 frames of Gaussian weights of sigma 3.5 keep 0.29 of white noise.
    assert (steady - SHAPE - 50).std() < 0.4 * 0.2
    before, after = meter.medians()
    assert before is not None and after is not None
    assert after < 0.3 * before
    assert JitterMeter().medians() == (None, None)


def test_fast_turns_are_not_dragged():
    where = np.concatenate([np.zeros(20), 12.0 * np.arange(8), np.full(20, 84.0)])
    frames = [[make_face(x, 0)] for x in where]
    faces = steady_all(frames)
    origin = np.zeros((1, 2))
    for x, (face,) in zip(where, faces, strict=True):
        found = apply_affine(invert_affine(face.frame_to_face), origin)[0]
        first = apply_affine(invert_affine(faces[0][0].frame_to_face), origin)[0]
        # A turn by 12 pixels a frame; lag of a tenth of a frame would be 1.2.
        assert abs(found[0] - first[0] - x) < 1.2


def test_points_move_each_on_their_own():
    window = np.zeros((9, 2, 2))
    window[4, 1] = 50.0  # one point jumps for a frame, the other keeps still
    steady = steady_landmarks(window, 2.0)
    np.testing.assert_allclose(steady, [[0, 0], [50, 50]], atol=1e-3)
    window[2] = np.nan
    assert not np.isnan(steady_landmarks(window, 2.0)).any()


@pytest.mark.parametrize("gap", [1, MAX_GAP])
def test_short_gaps_are_filled_and_marked(gap):
    frames = [[make_face(3.0 * t, 0)] for t in range(30)]
    for t in range(12, 12 + gap):
        frames[t] = []
    for t, faces in enumerate(steady_all(frames)):
        (face,) = faces
        assert face.filled == (12 <= t < 12 + gap)
        np.testing.assert_allclose(face.landmarks[:, 0], SHAPE[:, 0] + 3 * t, atol=0.02)
    assert [len(f) for f in steady_all(frames, radius=0)] == list(map(len, frames))


def test_long_gaps_and_other_tracks_are_left_alone():
    frames = [[make_face(0, 0)] for _ in range(10)]
    frames += [[] for _ in range(MAX_GAP + 1)]
    frames += [[make_face(0, 0)] for _ in range(10)]
    assert [len(f) for f in steady_all(frames)] == list(map(len, frames))
    cut = [[make_face(0, 0)] for _ in range(9)]
    cut += [[make_face(400, 200, track=1)] for _ in range(9)]
    for before, after in zip(cut, steady_all(cut), strict=True):
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=1e-9)
        assert not after[0].filled


def test_a_stream_that_breaks_off_gives_what_it_read():
    def broken() -> Iterator[tuple[TimedFrame, FrameFaces]]:
        yield from make_stream([[make_face(0, 0)] for _ in range(5)])
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for timed, _, _ in steady_stream(broken()):
            seen.append(timed.index)
    assert seen == [0, 1, 2, 3, 4]


def test_any_number_of_frames_comes_back_in_order():
    for count in (0, 1, RADIUS, RADIUS + 1, 2 * RADIUS + 3):
        stream = make_stream([[make_face(t, 0)] for t in range(count)])
        indices = [timed.index for timed, _, _ in steady_stream(stream)]
        assert indices == list(range(count))
