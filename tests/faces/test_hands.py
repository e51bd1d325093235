"""Hands near faces: found in real footage, followed, and not seen where none are."""

import json

import numpy as np
import pytest

import deepfake_jax.faces.hands as hands_module
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.footage_search import FootageSearch, SearchedFrame
from deepfake_jax.faces.hands import HandState, HandTracker
from deepfake_jax.faces.kept_searches import SearchKeeper
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.faces.search_journal import frame_from_json, frame_to_json
from deepfake_jax.faces.steady_tracks import FrameFaces
from deepfake_jax.faces.track_state import FinderState
from deepfake_jax.faces.weights import get_weights
from deepfake_jax.media.sources import Source
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame

FACE = np.array([100.0, 100.0, 80.0, 80.0])
# A hand as the network gives it, in the 224 pixels of its window.
SEEN = np.stack(
    [112 + 12 * np.sin(np.arange(21)), 190 - 8.0 * np.arange(21), np.zeros(21)], axis=1
)


def make_tracker(
    presence: list[float], palms: int = 0, *, middle: float = 96.0, score: float = 0.9
):
    """A tracker of made-up networks; each look for palms is counted."""
    looks: list[int] = []

    def find_palms(_: np.ndarray) -> dict[int, np.ndarray]:
        looks.append(1)
        scores = np.full(2016, -9.0)
        scores[:palms] = np.log(score / (1 - score))
        places = np.zeros((2016, 9, 2))
        for place in places[:palms]:  # relative to the first cell, at (4, 4)
            place[0], place[1] = middle - 4, 20
            place[2], place[4] = (middle - 4, middle + 6), (middle - 4, middle - 14)
        return {2016: scores, 2016 * 18: places.ravel()}

    def find_points(_: np.ndarray) -> dict[int, np.ndarray]:
        return {63: SEEN.ravel(), 1: np.array([presence.pop(0)])}

    return HandTracker(find_palms, find_points, find_points), looks


def remember(hand: np.ndarray, **fields: int) -> HandState:
    return HandState(hand[None].tolist(), **fields)


def frame() -> TimedFrame:
    return picture_frame(np.zeros((300, 400, 3), np.uint8))


def test_a_palm_becomes_a_hand_and_is_followed_until_it_is_gone():
    tracker, looks = make_tracker(
        [0.95, 0.7, 0.3, 0.65, 0.3, 0.3], palms=1, middle=130.0
    )
    wide, state = FACE * [1, 1, 2, 1], HandState()
    assert tracker.find(frame(), [wide], state).shape == (1, 21, 2)
    for _ in range(2):
        assert len(tracker.find(frame(), [wide], state)) == 1
    assert not len(tracker.find(frame(), [wide], state)) and not state.hands
    assert len(looks) == 1


def test_the_palm_of_a_hand_that_is_followed_is_no_news(monkeypatch):
    monkeypatch.setattr(hands_module, "_AROUND", ((2.2, 0.0),))
    tracker, looks = make_tracker([0.95] * 40, palms=1, middle=130.0)
    wide, state = FACE * [1, 1, 2, 1], HandState()
    first = tracker.find(frame(), [wide], state)
    for _ in range(23):
        state.hands = first.tolist()  # it stays where it is
        assert len(tracker.find(frame(), [wide], state)) == 1
    assert len(looks) == 3


@pytest.mark.parametrize("presence", [0.85, 0.95])
def test_what_is_not_sure_or_has_its_wrist_in_the_face_is_no_hand(presence: float):
    middle = 170.0 if presence < 0.9 else 96.0
    tracker, _ = make_tracker([presence], palms=1, middle=middle)
    assert not len(tracker.find(frame(), [FACE], HandState()))


def test_nothing_is_looked_for_without_a_face_or_for_tiny_ones():
    tracker, looks = make_tracker([], palms=1)
    assert not len(tracker.find(frame(), [], remember(SEEN[:, :2])))
    assert not len(tracker.find(frame(), [FACE / 4], HandState()))
    assert not looks


def test_what_may_be_a_palm_is_looked_at_again_at_once_and_not_for_ever():
    for score, busy in ((0.1, 3), (0.45, 12)):
        tracker, looks = make_tracker([], palms=1, score=score)
        state = HandState()
        for _ in range(24):
            tracker.find(frame(), [FACE], state)
        assert abs(len(looks) - busy) <= 2, score


def test_a_hand_that_leaves_the_face_is_left_alone():
    tracker, _ = make_tracker([])
    assert not len(tracker.find(frame(), [FACE], remember(SEEN[:, :2] + 900, wait=3)))


def test_pictures_know_of_no_hand_before_them():
    tracker, looks = make_tracker([])
    tracker = HandTracker(tracker._palms, tracker._begin, tracker._go_on, film=False)
    for _ in range(2):
        assert not len(tracker.find(frame(), [FACE], remember(SEEN[:, :2])))
    assert len(looks) == 4  # both windows of both


def test_what_is_known_of_hands_goes_through_json():
    hands = np.round(SEEN[None, :, :2], 2)
    found = FrameFaces(3, 0.1, False, (), hands)
    line = json.loads(json.dumps(frame_to_json(found)))
    np.testing.assert_array_equal(frame_from_json(line).hands, hands)
    del line["hands"]  # as earlier versions wrote them
    assert frame_from_json(line).hands.shape == (0, 21, 2)
    state = FinderState(hands=HandState(hands.tolist(), 3, 1, 7))
    assert FinderState.from_json(json.loads(json.dumps(state.to_json()))) == state


@pytest.fixture(scope="module")
def woman(detector_weights, tmp_path_factory) -> list[SearchedFrame]:
    """A woman who lifts her hand to her face, searched once and read once more."""
    try:
        clip = get_sample("crying_woman")
        for name in ("palm", "hand", "hand_lite"):
            get_weights(name)
    except AssetError as error:
        pytest.skip(f"no sample clip or no networks: {error}")
    keeper = SearchKeeper(tmp_path_factory.mktemp("searches"))
    config = SearchConfig(start="2", end="5.2")
    searched, kept = (
        list(FootageSearch(config, keeper=keeper).search([Source(clip, "video", 472)]))
        for _ in range(2)
    )
    assert len(searched) == len(kept)
    for one, other in zip(searched, kept, strict=True):
        for face, again in zip(one.faces, other.faces, strict=True):
            np.testing.assert_allclose(face.hands, again.hands, atol=0.006)
    return searched


def test_a_hand_before_a_face_is_found_where_it_is(woman):
    with_hands = {
        found.timed.index: found.faces[0].hands
        for found in woman
        if found.faces and len(found.faces[0].hands)
    }
    assert not with_hands.keys() & range(48, 54)  # not lifted yet
    assert len(with_hands.keys() & range(64, 124)) > 54
    # Her fingers lie over her face by then, her wrist below it.
    for index in range(104, 120):
        (face,) = next(found.faces for found in woman if found.timed.index == index)
        x, y, width, height = face.box
        hand = with_hands[index][0]
        tip = hand[[8, 12, 16]].min(axis=0)
        assert x < tip[0] < x + width and y < tip[1] < y + 0.8 * height
        assert hand[0, 1] > y + 0.9 * height
