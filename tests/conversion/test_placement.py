"""Where faces lie: looked up by frame, found by a search or in a record."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from footage import write_pan

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.conversion.placement import ROW, Placement, place_faces
from deepfake_jax.conversion.recorded_placement import read_placement
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import extract_faces
from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.face_sets.face_set import (
    DROPPED_NAME,
    make_header,
    read_record,
    write_record,
)
from deepfake_jax.files import hash_file
from deepfake_jax.imaging.affine import apply_affine, invert_affine
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.video_writer import VideoWriter

ALL = ConvertConfig(person="all")
MIDDLE = np.array([[127.5, 127.5]])


def test_faces_are_looked_up_by_source_and_frame(rng):
    table = np.zeros(60, ROW)
    table["source"], table["frame"] = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    table["track"], table["width"] = np.arange(60), rng.permutation(60)
    table["frame_to_face"][:, [0, 1], [0, 1]] = 2.0
    placement, largest = Placement(table), Placement(table, largest=True)
    for source in range(4):
        for frame in range(10):
            here = table[(table["source"] == source) & (table["frame"] == frame)]
            tracks = here["track"][np.argsort(here["width"])].tolist()
            assert [f.track for f in placement.find(source, frame)] == tracks
            assert [f.track for f in largest.find(source, frame)] == tracks[-1:]
    assert len(placement) == 60 and len(Placement(table[:0])) == 0
    np.testing.assert_allclose(placement.sides(), 128)


def make_record(frame: int, *, track: int = 0, **fields: Any) -> FaceRecord:
    """A face that moves by 3 pixels a frame to the right and grows by 1 %."""
    number = fields.get("source_number", 0)
    scale = 0.5 / (1 + frame / 100)
    left = 40.0 + 3 * frame + 500 * track
    matrix = ((scale, 0.0, -scale * left), (0.0, scale, -scale * 30))
    landmarks = (template_landmarks(256, count=68) / scale) + [left, 30]
    values: dict[str, Any] = {
        "file": f"{number:03d}_{frame:06d}_{track:04d}.png",
        "source": "clip.mp4",
        "frame": frame,
        "time": frame / 25,
        "box": (left, 30.0, 100.0, 100.0),
        "score": 1.0,
        "landmarks": tuple(map(tuple, landmarks.tolist())),
        "frame_to_face": matrix,
        "size": 256.0,
        "track": track,
        "source_number": number,
    }
    return FaceRecord(**(values | fields))


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a video, of which only the hash is asked for")
    return path


def write_set(
    source: Path, records: Sequence[FaceRecord], *, header: dict | None = None, **search
) -> Path:
    known = {"number": 0, "name": source.name, "sha256": hash_file(source), "last": 20}
    head = {**make_header([known], "test"), **(header or {})}
    if search:
        head["search"] = {"every": 1, "start": 0.0, "end": None, **search}
    folder = source.parent / "faces"
    folder.mkdir()
    write_record(folder, head, records)
    return folder


def find_left(placement: Placement, frame: int) -> float:
    (face,) = placement.find(0, frame)
    corner = apply_affine(invert_affine(face.frame_to_face), np.zeros((1, 2)))
    return float(corner[0, 0])


def test_what_lies_between_searched_frames_is_filled_along_the_track(source):
    records = [make_record(frame) for frame in range(0, 21, 5)]
    placement = read_placement(write_set(source, records, every=5), source, ALL, None)
    for frame in range(21):
        assert find_left(placement, frame) == pytest.approx(40 + 3 * frame, abs=1e-6)
        (face,) = placement.find(0, frame)
        assert face.landmarks is not None
        expected = template_landmarks(256, count=68)
        np.testing.assert_allclose(face.landmarks, expected, atol=1 / 32)
    # After the last searched frame, which is number 20, its face stays; not for long.
    assert find_left(placement, 24) == find_left(placement, 20)
    assert placement.find(0, 25) == []


def test_no_gap_of_a_track_is_filled_but_those_of_the_search(source):
    """Dropped by hand at 10, gone at 25: nothing is pasted there nor beside."""
    records = [make_record(frame) for frame in (*range(0, 25, 5), *range(35, 200, 5))]
    folder = write_set(source, [r for r in records if r.frame != 10], every=5)
    by_hand = make_record(10, dropped="query yaw>60")
    write_record(folder, read_record(folder)[0], [by_hand], name=DROPPED_NAME)
    placement = read_placement(folder, source, ALL, None)
    empty = [frame for frame in range(196) if not placement.find(0, frame)]
    # Frame 20 was the last of the source in this record, and holds its face.
    assert empty == [*range(6, 15), *range(25, 35)]


def test_records_of_an_earlier_version_tell_by_their_frames(source):
    known = {"name": source.name, "sha256": hash_file(source)}
    records = [make_record(frame, source_number=-1) for frame in range(0, 21, 5)]
    header = {"sources": [known], "version": 2}
    placement = read_placement(
        write_set(source, records, header=header), source, ALL, None
    )
    assert find_left(placement, 7) == pytest.approx(61)


@pytest.mark.parametrize("numbered", [True, False])
def test_sources_of_one_name_are_told_apart(source, numbered):
    """Earlier versions have the source's number in the file's name alone."""
    other = {"number": 0, "name": source.name, "sha256": "0" * 64}
    own = {"number": 1, "name": source.name, "sha256": hash_file(source)}
    fields = [{"source_number": n} for n in (0, 1)]
    records = [make_record(f, track=n, **fields[n]) for n in (0, 1) for f in range(3)]
    if not numbered:
        records = [replace(record, source_number=-1) for record in records]
    header = {"sources": [other, own]}
    folder = write_set(source, records, header=header, every=1)
    placement = read_placement(folder, source, ALL, None)
    assert [face.track for f in range(3) for face in placement.find(0, f)] == [1, 1, 1]


def test_what_was_not_searched_is_refused(source):
    records = [make_record(frame) for frame in range(25, 50)]
    folder = write_set(source, records, start=1.0, end=2.0)
    for start, end in (("", ""), ("1", ""), ("0.5", "2"), ("1", "2.5")):
        with pytest.raises(FaceSetError, match="--start 1 --end 2"):
            read_placement(
                folder, source, ConvertConfig(start=start, end=end, person="all"), None
            )
    part = ConvertConfig(person="all", start="1", end="1.5")
    assert read_placement(folder, source, part, None).find(0, 30)


@pytest.mark.parametrize(
    ("records", "every", "words"),
    [
        ([make_record(f) for f in range(0, 60, 10)], 10, "may be anywhere after 10"),
        ([make_record(f, track=f) for f in range(0, 30, 5)], 5, "move too fast"),
    ],
)
def test_gaps_that_cannot_be_filled_are_refused(source, records, every, words):
    folder = write_set(source, records, every=every)
    with pytest.raises(FaceSetError, match=f"{words}.*--every 1"):
        read_placement(folder, source, ALL, None)


def middles(placement: Placement, frames: int) -> list[list[float]]:
    return [
        [
            float(apply_affine(invert_affine(face.frame_to_face), MIDDLE)[0, 0])
            for face in placement.find(0, frame)
        ]
        for frame in range(frames)
    ]


@pytest.mark.usefixtures("detector_weights")
def test_a_record_of_every_nth_frame_does_for_a_search(portrait, tmp_path):
    pan = write_pan(tmp_path / "pan.mp4", portrait, frames=16)
    extract_faces(pan, tmp_path / "faces", ExtractConfig(every=5, steady=False))
    found = read_placement(tmp_path / "faces", pan, ALL, None)
    searched = place_faces([Source(pan, "video", 16)], ALL, None)
    # The picture pans by whole pixels; what differs is the landmarks' noise.
    np.testing.assert_allclose(middles(found, 16), middles(searched, 16), atol=4)


def write_two(path: Path, portrait: np.ndarray) -> Path:
    """Two people: left one seen longer but mostly too small, right one for 8 frames."""
    other = read_picture(get_sample("grace_hopper"))
    rate = Fraction(25)
    spec = OutputSpec(
        path=path, width=640, height=360, frame_rate=rate, time_base=1 / rate, crf=5
    )
    with VideoWriter(spec) as writer:
        for index in range(16):
            frame = np.full((360, 640, 3), 90, np.uint8)
            side = 140 if index < 11 else 300
            left = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
            frame[:side, :side] = left
            if index < 8:
                height, width = other.shape[:2]
                size = (round(300 * width / height), 300)
                right = cv2.resize(other, size, interpolation=cv2.INTER_AREA)
                frame[:300, 330 : 330 + size[0]] = right
            writer.write(frame, pts=index)
    return path


@pytest.mark.usefixtures("detector_weights")
def test_a_persons_number_is_the_same_in_every_command(portrait, tmp_path):
    path = write_two(tmp_path / "two.mp4", portrait)
    options = ExtractConfig(min_size=40, min_track=1)
    result = extract_faces(path, tmp_path / "sets", options)
    assert [person.number for person in result.persons] == [1, 2]
    lefts = {}
    for number in (1, 2):
        records = read_record(tmp_path / "sets" / f"person_{number}")[1]
        lefts[number] = np.mean([record.box[0] for record in records])
    assert lefts[1] < 320 < lefts[2]
    whole = [Source(path, "video", 16)]
    for number in (1, 2):
        # Of a part, as preview searches it, too: there the right one is seen more.
        for end in ("", "0.3"):
            config = ConvertConfig(person=str(number), end=end)
            found = middles(place_faces(whole, config, None), 7)
            assert all(len(here) == 1 for here in found)
            assert all((here[0] < 320) == (number == 1) for here in found)
