"""Tracks: no lag on even motion, less noise, no links across cuts, whole streams."""

from collections.abc import Iterator

import numpy as np
import pytest

from deepfake_jax.detect import Detection
from deepfake_jax.track import (
    LINK_OVERLAP,
    box_overlap,
    find_linked,
    steady_landmarks,
    steady_stream,
)

SHAPE = np.array([[30.0, 35], [70, 35], [50, 55], [35, 75], [65, 75]])


def make_detection(x: float, y: float, noise: np.ndarray | float = 0.0) -> Detection:
    return Detection(
        box=np.array([x, y, 100.0, 110.0]),
        score=0.9,
        landmarks=SHAPE + [x, y] + noise,
    )


def steady_all(detections: list[list[Detection]]) -> list[list[Detection]]:
    return [found for _, found in steady_stream(enumerate(detections))]


def test_overlap_is_intersection_over_union():
    box = np.array([10.0, 20.0, 100.0, 50.0])
    assert box_overlap(box, box) == pytest.approx(1)
    assert box_overlap(box, box + [50, 0, 0, 0]) == pytest.approx(2500 / 7500)
    assert box_overlap(box, box + [100, 0, 0, 0]) == 0
    assert box_overlap(box, box + [500, 500, 0, 0]) == 0
    inner = np.array([20.0, 30.0, 10.0, 10.0])
    assert box_overlap(box, inner) == pytest.approx(100 / 5000)
    assert box_overlap(inner, box) == box_overlap(box, inner)
    assert box_overlap(np.zeros(4), np.zeros(4)) == 0


def test_the_face_that_overlaps_most_is_linked():
    face = make_detection(100, 100)
    far, near, nearest = (make_detection(100 + d, 100) for d in (80, 30, 10))
    assert find_linked(face, [far, near, nearest]) is nearest
    assert find_linked(face, [nearest, near, far]) is nearest
    assert box_overlap(face.box, far.box) < LINK_OVERLAP
    assert find_linked(face, [far]) is None
    assert find_linked(face, []) is None


def test_even_motion_does_not_lag():
    frames = [[make_detection(4.0 * t, 300 - 2.5 * t)] for t in range(12)]
    for before, after in zip(frames, steady_all(frames), strict=True):
        # Sums of a few float64: a symmetric average of a line is the line.
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=1e-10)
        np.testing.assert_array_equal(after[0].box, before[0].box)
        assert after[0].score == before[0].score


def test_noise_becomes_less(rng: np.random.Generator):
    n = 400
    frames = [[make_detection(50, 50, rng.normal(0, 1, (5, 2)))] for _ in range(n)]
    steady = np.stack([found[0].landmarks for found in steady_all(frames)])
    noise = (steady - SHAPE - 50)[2:-2]
    weights = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    weights /= weights.sum()
    # White noise through weights w keeps |w|; 4000 values know it to 2 or 3 %.
    assert noise.std() == pytest.approx(np.linalg.norm(weights), rel=0.08)
    assert noise.std() < 0.6


def test_nothing_is_averaged_across_a_cut():
    frames = [[make_detection(0, 0)] for _ in range(5)]
    frames += [[make_detection(400, 200)] for _ in range(5)]
    for before, after in zip(frames, steady_all(frames), strict=True):
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=1e-10)


def test_a_gap_ends_the_track():
    face = make_detection(0, 0)
    shifted = make_detection(3, 0)
    steady = steady_landmarks(face, [[], [shifted]], [[], [shifted]])
    np.testing.assert_array_equal(steady.landmarks, face.landmarks)
    one_sided = steady_landmarks(face, [], [[shifted], [shifted]])
    np.testing.assert_array_equal(one_sided.landmarks, face.landmarks)
    both = steady_landmarks(face, [[shifted]], [[shifted]])
    weight = np.exp(-0.5)
    np.testing.assert_allclose(
        both.landmarks[:, 0] - face.landmarks[:, 0],
        3 * 2 * weight / (1 + 2 * weight),
        atol=1e-10,
    )


def test_two_faces_keep_apart(rng: np.random.Generator):
    frames = []
    for t in range(10):
        pair = [make_detection(2.0 * t, 0), make_detection(600 - 3.0 * t, 40)]
        frames.append(pair if t % 2 else pair[::-1])
    for before, after in zip(frames, steady_all(frames), strict=True):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_allclose(other.landmarks, one.landmarks, atol=1e-9)


def test_given_detections_stay_as_they_are():
    face, other = make_detection(0, 0), make_detection(5, 5)
    kept = face.landmarks.copy()
    steady_landmarks(face, [[other]], [[other]])
    np.testing.assert_array_equal(face.landmarks, kept)


@pytest.mark.parametrize("n", range(8))
def test_stream_gives_every_item_once_in_order(n: int):
    stream = ((index, [make_detection(index, 0)] * (index % 3)) for index in range(n))
    out = list(steady_stream(stream))
    assert [item for item, _ in out] == list(range(n))
    assert [len(found) for _, found in out] == [index % 3 for index in range(n)]


def test_stream_averages_the_same_as_all_frames_at_once(rng: np.random.Generator):
    frames = [[make_detection(0, 0, rng.normal(0, 1, (5, 2)))] for _ in range(9)]
    for index, found in enumerate(steady_all(frames)):
        before = frames[max(index - 2, 0) : index][::-1]
        after = frames[index + 1 : index + 3]
        expected = steady_landmarks(frames[index][0], before, after)
        np.testing.assert_array_equal(found[0].landmarks, expected.landmarks)


def test_stream_looks_only_two_frames_ahead():
    read = []

    def frames() -> Iterator[tuple[int, list[Detection]]]:
        for index in range(100):
            read.append(index)
            yield index, []

    for index, _ in steady_stream(frames()):
        assert len(read) <= index + 3
        if index == 50:
            break
    assert len(read) == 53


@pytest.mark.parametrize("n", range(6))
def test_stream_gives_what_was_read_before_an_error(n: int):
    def frames() -> Iterator[tuple[int, list[Detection]]]:
        for index in range(n):
            yield index, [make_detection(index, 0)]
        raise OSError("the disk is gone")

    given = []
    with pytest.raises(OSError, match="the disk is gone"):
        for item, _ in steady_stream(frames()):
            given.append(item)
    assert given == list(range(n))
