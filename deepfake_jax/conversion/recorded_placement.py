"""The faces to swap as an extraction's record has them, in the place of a search.

What lies between the frames that were searched is filled along each track; what was not
searched and cannot be filled is refused.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from deepfake_jax.conversion.placement import (
    ROW,
    Placement,
    choose_faces,
    has_landmarks,
    pack_hands,
    pack_landmarks,
    read_wanted,
    stack_rows,
)
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.face_sets.both_records import QUERY_MARK
from deepfake_jax.face_sets.face_record import (
    FaceRecord,
    FaceSetError,
    make_record,
    read_lines,
)
from deepfake_jax.face_sets.face_set import (
    DROPPED_NAME,
    RECORD_NAME,
    check_header,
    list_sets,
)
from deepfake_jax.faces.identity import Embedding
from deepfake_jax.faces.people import People, TrackParts
from deepfake_jax.faces.steady_tracks import MAX_GAP, SURE
from deepfake_jax.files import hash_once
from deepfake_jax.imaging.affine import invert_affine
from deepfake_jax.media.sources import parse_part

_log = logging.getLogger("deepfake_jax")
_MOST_BROKEN = 0.1  # share of the gaps that no track goes through


@dataclass(frozen=True)
class _Searched:
    """What an extraction looked at of a source."""

    every: int | None
    start: float
    end: float | None
    last: int | None


def read_placement(
    folder: Path, source: Path, config: ConvertConfig, identity: Embedding | None
) -> Placement:
    """The faces that an extraction of a video found, as its record has them now.

    Faces that were left out for their quality alone are taken too; those that were
    dropped by hand are not.

    Args:
        folder: a face set, or the folder of several people's sets.
        source: the video.
        config: whom to swap.
        identity: the person that the run's faces show, where it knows.

    Raises:
        FaceSetError: no face set, or not of this video or all of its part, or of too
            few of its frames.
        PersonError: the person asked for is not in it.
    """
    hashed, people = hash_once(source), People({}, {}, {}, TrackParts())
    start, end = parse_part(config.start, config.end)
    wanted, parts = read_wanted(config), list_sets(folder)
    numbers = [_find_source(part, source, hashed) for part in parts]
    searched = _read_searched(_read_header(parts[0]), numbers[0])
    _check_part(folder, searched, start or 0.0, end)

    def rows() -> Iterator[tuple[Any, ...]]:
        for part, number in zip(parts, numbers, strict=True):
            _note_identity(part, people)
            for record in _read_faces(part):
                # A line without a source was made anew from its picture alone.
                if not record.source or record.source_key[1] not in (number, -1):
                    continue
                people.means.setdefault(record.person, np.zeros(128, np.float32))
                matrix = np.array(record.frame_to_face)
                landmarks = np.array(record.landmarks, np.float64).reshape(-1, 2)
                width = record.width or record.box[2]
                place = (0, record.frame, record.track, record.person)
                hands = np.array(record.hands, np.float64).reshape(-1, 21, 2)
                packed = pack_hands(hands, matrix)
                yield *place, width, matrix, pack_landmarks(landmarks, matrix), packed

    table = stack_rows(rows())
    every = searched.every or _guess_every(table["frame"])
    chosen = choose_faces(table, people, config, identity, wanted)
    if every > 1:
        chosen = _fill(folder, chosen, every, searched.last)
    return Placement(chosen, largest=config.person != "all")


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / RECORD_NAME
    if not path.exists():
        raise FaceSetError(
            f"no face set at --faces {folder}; name the folder that `deepfake-jax "
            "extract` made of this video. (To choose whom to swap use --person)"
        )
    return check_header(path, next(read_lines(path), (1, {}))[1])


def _find_source(part: Path, source: Path, hashed: str) -> int:
    """The number of a source in a set's record, told by its hash."""
    listed = _read_header(part)["sources"]
    for number, known in enumerate(listed):
        if known["sha256"] == hashed:
            return number
    raise FaceSetError(
        f"--faces {part} was extracted from "
        f"{', '.join(known['name'] for known in listed[:3])}, not from {source.name} "
        "as it is now; extract that, or leave --faces out"
    )


def _read_searched(header: dict[str, Any], number: int) -> _Searched:
    """What the record says; earlier versions did not."""
    search = header.get("search", {})
    return _Searched(
        every=search.get("every"),
        start=float(search.get("start", 0.0)),
        end=search.get("end"),
        last=header["sources"][number].get("last"),
    )


def _check_part(
    folder: Path, searched: _Searched, start: float, end: float | None
) -> None:
    late = searched.end is not None and (end is None or end > searched.end)
    if start < searched.start or late:
        until = "the end" if searched.end is None else f"{searched.end:g} s"
        options = f"--start {searched.start:g}" * (searched.start > 0)
        options += f" --end {searched.end or 0:g}" * (searched.end is not None)
        raise FaceSetError(
            f"--faces {folder} was extracted from {searched.start:g} s to {until} "
            f"alone; convert that part ({options.strip()}), extract all of the video, "
            "or leave --faces out"
        )


def _note_identity(part: Path, people: People) -> None:
    header = _read_header(part)
    if "identity" in header:
        mean = np.asarray(header["identity"], np.float32)
        people.means[int(header.get("person", 1))] = mean


def _read_faces(folder: Path) -> Iterator[FaceRecord]:
    """The faces of a set that were found where they should be."""
    for path in (folder / RECORD_NAME, folder / DROPPED_NAME):
        for number, line in read_lines(path) if path.exists() else ():
            if number > 1:
                record = make_record(line)
                by_hand = record.dropped.startswith(QUERY_MARK)
                if not by_hand and record.alignment >= SURE:
                    yield record


def _guess_every(frames: Int32[np.ndarray, "n"]) -> int:
    """Which frames a record of an earlier version is of, by those that it has."""
    steps = np.diff(np.unique(frames)).tolist()
    return gcd(*steps) if len(steps) > 1 else 1


def _fill(folder: Path, table: np.ndarray, every: int, last: int | None) -> np.ndarray:
    """Puts faces between those of each track that are `every` frames apart.

    Raises:
        FaceSetError: they are too far apart, or too few tracks go through.
    """
    rows = table[np.lexsort((table["frame"], table["track"], table["person"]))]
    before, after = rows[:-1], rows[1:]
    joined = (before["track"] == after["track"]) & (before["person"] == after["person"])
    joined &= after["frame"] - before["frame"] == every
    through = np.unique(before["frame"][joined])
    _check_gaps(folder, np.unique(rows["frame"]), through, every)
    between = [
        _mix(first, second, step / every, int(first["frame"]) + step)
        for first, second in zip(before[joined], after[joined], strict=True)
        for step in range(1, every)
    ]
    # Nothing was searched after the last one: its faces stay where they are.
    ends = rows[rows["frame"] == (-1 if last is None else last)]
    held = [
        _mix(row, row, 0.0, int(row["frame"]) + step)
        for row in ends
        for step in range(1, every)
    ]
    filled = np.concatenate([np.zeros(0, ROW), *(r[None] for r in (*between, *held))])
    return np.concatenate([rows, filled])


def _check_gaps(
    folder: Path,
    shown: Int32[np.ndarray, "n"],
    through: Int32[np.ndarray, "m"],
    every: int,
) -> None:
    """Refuses frames that are too far apart for what lies between to be filled.

    Args:
        folder: the face set.
        shown: frames with faces.
        through: those of them from which a track goes to the next searched one.
        every: frames from one to the next.
    """
    fix = (
        f"extract the video with --every 1 (--faces {folder} has each {every}th frame "
        "alone), or leave --faces out"
    )
    if every > MAX_GAP + 1:
        raise FaceSetError(
            f"a face may be anywhere after {every} frames, so those between are not "
            f"filled; {fix}"
        )
    gaps = np.intersect1d(shown, shown - every)  # with a face on both sides
    broken = np.setdiff1d(gaps, through)
    if len(broken) > _MOST_BROKEN * max(1, len(gaps)):
        raise FaceSetError(
            f"the faces move too fast to be followed: between {len(broken)} of "
            f"{len(gaps)} searched frames no track goes through; {fix}"
        )
    if len(broken):
        _log.warning(
            "after %d searched frames no track goes on; the faces between stay as "
            "they are",
            len(broken),
        )


def _mix(first: Any, second: Any, share: float, frame: int) -> Any:
    """A row between two of a track."""
    row = (first if share < 0.5 else second).copy()
    row["frame"] = frame
    row["width"] = (1 - share) * first["width"] + share * second["width"]
    # A face moves evenly in the frame, so it is the way back that is linear.
    back = [invert_affine(each["frame_to_face"]) for each in (first, second)]
    row["frame_to_face"] = invert_affine((1 - share) * back[0] + share * back[1])
    known = [each for each in (first, second) if has_landmarks(each)] or [first]
    # Where one of the two has none, the other's are near enough in the face's picture.
    mixed = (1 - share) * known[0]["landmarks"] + share * known[-1]["landmarks"]
    row["landmarks"] = np.rint(mixed)
    return row
