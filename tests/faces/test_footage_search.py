"""Times, cuts, regions and people: the parts of a scan on made-up footage."""

import numpy as np
import pytest

from deepfake_jax.faces.face_finder import TrackEmbedding
from deepfake_jax.faces.people import PersonError, choose_persons, sort_people
from deepfake_jax.faces.scene_cuts import is_cut, make_thumbnail
from deepfake_jax.media.pixel_formats import ColorTags
from deepfake_jax.media.sources import parse_time
from deepfake_jax.media.tone_mapping import HLG, PQ, tone_map
from deepfake_jax.media.video_reader import TimedFrame

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
        TrackEmbedding(track, 0, 1.0, vector.astype(np.float32))
        for track, vector in enumerate(vectors)
    ]


def test_tracks_become_people_by_how_much_is_seen(rng):
    embeddings = views(rng, [2, 0, 0, 1])
    people = sort_people(embeddings, {0: 50, 1: 10, 2: 10, 3: 5}, set())
    assert people.person_of == {0: 1, 1: 2, 2: 2, 3: 3}
    assert people.frames == {1: 50, 2: 20, 3: 5}
    # Two faces in one frame are two people, however alike.
    apart = sort_people(embeddings, {1: 10, 2: 9}, {(1, 2)})
    assert apart.person_of == {1: 1, 2: 2}
    assert sort_people([], {}, set()).person_of == {}


def test_people_are_chosen_by_number_and_likeness(rng):
    embeddings = views(rng, [0, 1, 2])
    people = sort_people(embeddings, {0: 3, 1: 2, 2: 1}, set())
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
