"""Times, cuts, regions and people: the parts of a scan on made-up footage."""

from dataclasses import replace

import numpy as np
import pytest

from deepfake_jax.faces.people import (
    PersonError,
    TrackParts,
    choose_persons,
    sort_people,
)
from deepfake_jax.faces.scene_cuts import is_cut, make_thumbnail
from deepfake_jax.faces.track_views import TrackEmbedding
from deepfake_jax.media.pixel_formats import ColorTags
from deepfake_jax.media.sources import parse_time
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.tone_mapping import HLG, PQ, tone_map

NONE = np.zeros((0, 128), np.float32)


def test_times_are_seconds_or_clock():
    assert parse_time("", option="--start") is None
    assert parse_time("90.5", option="--start") == 90.5
    assert parse_time("1:02:03", option="--start") == 3723
    for text in ("soon", "1:2:3:4", "-5", "1:x"):
        with pytest.raises(ValueError, match="--end"):
            parse_time(text, option="--end")


def timed(picture: np.ndarray) -> TimedFrame:
    return TimedFrame(index=0, time=0.0, pts=0, duration=1, picture=picture)


def test_cuts_are_told_from_motion_and_light(portrait, rng):
    first = make_thumbnail(timed(portrait))
    moved = make_thumbnail(timed(np.roll(portrait, 12, axis=1)))
    darker = make_thumbnail(timed((portrait * 0.6).astype(np.uint8)))
    other = make_thumbnail(timed(np.ascontiguousarray(portrait[::-1])))
    assert not is_cut(first, moved) and not is_cut(first, darker)
    assert is_cut(first, other)
    black = np.zeros((90, 160, 3), np.uint8)
    noisy = rng.integers(0, 4, black.shape).astype(np.uint8)
    assert not is_cut(make_thumbnail(timed(black)), make_thumbnail(timed(noisy)))


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_becomes_brighter_and_keeps_its_order(transfer):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tags = ColorTags(matrix=9, range=1, primaries=9, transfer=transfer)
    shown = tone_map(ramp, tags)
    levels = shown[0, :, 1].astype(int)
    assert (np.diff(levels) >= 0).all() and levels[0] == 0 and levels[-1] > 200
    plain = ColorTags(matrix=1, range=1, primaries=1, transfer=1)
    assert tone_map(ramp, plain) is ramp


def views(rng, owners: list[int]) -> list[TrackEmbedding]:
    people = np.linalg.qr(rng.normal(size=(128, 4)))[0].T
    noise = rng.normal(scale=0.02, size=(len(owners), 128))
    vectors = people[owners] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        TrackEmbedding(track, 0, -1, 1.0, vector.astype(np.float32))
        for track, vector in enumerate(vectors)
    ]


def parts_of(frames: dict[int, int]) -> TrackParts:
    parts = TrackParts()
    for track, count in frames.items():
        for frame in range(count):
            parts.count(frame + 100 * track, [track])
    return parts


def test_tracks_become_people_by_how_much_is_seen(rng):
    embeddings = views(rng, [2, 0, 0, 1])
    people = sort_people(embeddings, parts_of({0: 50, 1: 10, 2: 10, 3: 5}))
    assert [people.find_person(track, 0) for track in range(5)] == [1, 2, 2, 3, 0]
    assert people.frames == {1: 50, 2: 20, 3: 5}
    # Two faces in one frame are two people, however alike.
    apart = parts_of({1: 10, 2: 9})
    apart.together.add(((1, 0), (2, 0)))
    people = sort_people(embeddings, apart)
    assert people.person_of == {(1, 0): 1, (2, 0): 2}
    assert sort_people([], TrackParts()).person_of == {}


def test_a_track_that_passes_to_somebody_else_is_two_people(rng):
    """Track 0 shows one and then the other, who is track 1 after that."""
    first, second, other = views(rng, [0, 1, 1])
    passing = [
        replace(first, track=0),
        replace(second, track=0, part=1, begins=20),
        replace(other, track=1),
    ]
    parts = TrackParts({0: [20]})
    for frame in range(50):
        parts.count(frame, [0])
    for frame in range(60, 80):
        parts.count(frame, [1])
    people = sort_people(passing, parts)
    assert people.frames == {1: 50, 2: 20}
    assert people.find_person(0, 19) == 2
    assert people.find_person(0, 20) == people.find_person(1, 70) == 1


def test_a_face_that_turns_away_stays_itself(rng):
    """Its own view from the side is unlike the others, but like nobody else."""
    front, side, other = (view.vector for view in views(rng, [0, 1, 2]))
    side = 0.25 * front + np.sqrt(1 - 0.25**2) * side
    passing = [
        TrackEmbedding(0, 0, -1, 1.0, front),
        TrackEmbedding(0, 1, 30, 0.3, side.astype(np.float32)),
        TrackEmbedding(1, 0, -1, 1.0, other),
    ]
    parts = TrackParts({0: [30]})
    for frame in range(40):
        parts.count(frame, [0, 1])
    people = sort_people(passing, parts)
    assert people.find_person(0, 10) == people.find_person(0, 35)
    assert sorted(people.frames) == [1, 2]


def test_people_are_chosen_by_number_and_likeness(rng):
    embeddings = views(rng, [0, 1, 2])
    people = sort_people(embeddings, parts_of({0: 3, 1: 2, 2: 1}))
    like = np.stack([embeddings[1].vector])
    assert choose_persons(people, "each", NONE, NONE) == [1, 2, 3]
    assert choose_persons(people, "main", NONE, NONE) == [1]
    assert choose_persons(people, "3", NONE, NONE) == [3]
    assert choose_persons(people, "each", like, NONE) == [2]
    assert choose_persons(people, "each", NONE, like) == [1, 3]
    with pytest.raises(PersonError, match="3 people"):
        choose_persons(people, "4", NONE, NONE)
    with pytest.raises(PersonError, match="looks like"):
        choose_persons(people, "each", -like, NONE)
