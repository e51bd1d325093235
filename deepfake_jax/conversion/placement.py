"""Which faces of some footage to swap, and where they lie in each frame.

The same tracks, people and steadying as in extraction: a first pass over the footage,
or an extraction's record in its stead. A face takes 0.4 kB, so that an hour of one face
takes 30 MB.
"""

import logging
from array import array
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.face_sets.face_set import (
    DROPPED_NAME,
    RECORD_NAME,
    FaceSetError,
    check_header,
    list_sets,
    make_record,
    read_lines,
)
from deepfake_jax.faces.footage_search import Scan, ScanOptions
from deepfake_jax.faces.identity import Embedding
from deepfake_jax.faces.people import (
    People,
    PersonError,
    choose_persons,
    read_references,
    sort_people,
)
from deepfake_jax.faces.steady_tracks import SURE
from deepfake_jax.files import hash_file
from deepfake_jax.imaging.affine import affine_scale, apply_affine
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.media.sources import Source, parse_part
from deepfake_jax.progress import Progress
from deepfake_jax.types import Affine, Landmarks

_log = logging.getLogger("deepfake_jax")
_MIN_SIZE = 16.0  # pixels; a smaller face would not gain from a swap
_NONE = np.zeros((0, 128), np.float32)
_FINENESS = 64  # steps a pixel of a stored landmark
_UNKNOWN = -32768


@dataclass(frozen=True, eq=False)
class PlacedFace:
    """A face to swap.

    Attributes:
        track: number of its track; it lasts over neighbouring frames of one source.
        frame_to_face: its alignment to a face picture of `FACE_SIZE`.
        landmarks: 68 points in the pixels of that picture, None where only five are
            known.
    """

    track: int
    frame_to_face: Affine
    landmarks: Landmarks | None


class Placement:
    """Faces of sources and frames, to look up by their numbers."""

    def __init__(self) -> None:
        # source, frame, track, width, and the six numbers of the matrix
        self._rows = array("d")
        # Landmarks in the face picture, in 64ths of its pixels.
        self._points = array("h")
        self._at: dict[tuple[int, int], list[int]] = {}

    def add(self, source: int, frame: int, width: float, face: PlacedFace) -> None:
        """Takes in a face, `width` pixels wide in its frame."""
        matrix = face.frame_to_face.ravel().tolist()
        self._rows.extend([source, frame, face.track, width, *matrix])
        points = np.full((68, 2), _UNKNOWN)
        if face.landmarks is not None:
            limit = -_UNKNOWN - 1
            points = np.clip(np.rint(face.landmarks * _FINENESS), -limit, limit)
        self._points.extend(points.astype(np.int16).ravel().tolist())

    def keep(self, tracks: set[int] | None, *, largest: bool = False) -> None:
        """Chooses tracks (all if None); of each frame only the largest if so asked."""
        rows = self._table()
        for number, row in enumerate(rows):
            key = int(row[0]), int(row[1])
            if tracks is not None and int(row[2]) not in tracks:
                continue
            chosen = self._at.setdefault(key, [])
            if not largest or not chosen:
                chosen.append(number)
            elif row[3] > rows[chosen[0]][3]:
                chosen[0] = number

    def find(self, source: int, frame: int) -> list[PlacedFace]:
        """The faces to swap in a frame, the largest last."""
        rows, faces = self._table(), []
        numbers = self._at.get((source, frame), [])
        for number in sorted(numbers, key=lambda number: float(rows[number][3])):
            row = rows[number]
            points = np.array(self._points[136 * number : 136 * (number + 1)])
            known = points[0] != _UNKNOWN
            landmarks = points.reshape(68, 2) / _FINENESS if known else None
            matrix = row[4:].reshape(2, 3).copy()
            faces.append(PlacedFace(int(row[2]), matrix, landmarks))
        return faces

    def sides(self) -> Float64[np.ndarray, "n"]:
        """Side in its frame, pixels, of each chosen face's whole face picture."""
        chosen = [number for numbers in self._at.values() for number in numbers]
        matrices = self._table()[chosen][:, 4:].reshape(-1, 2, 3)
        return FACE_SIZE / np.array([affine_scale(matrix) for matrix in matrices])

    def _table(self) -> Float64[np.ndarray, "n 10"]:
        return np.frombuffer(self._rows, np.float64).reshape(-1, 10)

    def __len__(self) -> int:
        return len(self._at)


def make_scan(config: ConvertConfig) -> Scan:
    """Loads the networks that look for the faces of a config."""
    start, end = parse_part(config.start, config.end)
    options = ScanOptions(
        landmarks=config.landmarks,
        min_score=config.min_score,
        min_size=_MIN_SIZE,
        steady=config.steady,
        start=start or 0.0,
        end=end,
    )
    return Scan(options)


def place_faces(
    sources: list[Source],
    config: ConvertConfig,
    identity: Embedding | None,
    *,
    scan: Scan | None = None,
) -> Placement:
    """Looks through footage for the faces that a config asks for.

    Args:
        sources: a video, or pictures.
        config: whom to swap, and how to find them.
        identity: the person that the run's faces show, where it knows.
        scan: by which to look, as `make_scan` makes it; by default a new one.

    Raises:
        PersonError: the person asked for is not there.
        VideoError, PictureError: the only source cannot be read.
    """
    wanted = read_references(_pictures(config), option="--person")
    scan, placement = scan or make_scan(config), Placement()
    faces_of: Counter[int] = Counter()
    together: set[tuple[int, int]] = set()
    start, end = scan.options.start, scan.options.end
    counts = [source.expect_frames(start=start, end=end) or 0 for source in sources]
    with Progress("look", total=sum(counts) or None, unit="frame") as progress:
        for number, source in enumerate(sources):
            with closing(scan.read(source, alone=len(sources) == 1)) as stream:
                for timed, _, faces in stream:
                    good = [face for face in faces if face.confidence >= SURE]
                    for face in good:
                        faces_of[face.track] += 1
                        placed = _place(face.track, face.frame_to_face, face.landmarks)
                        placement.add(number, timed.index, float(face.box[2]), placed)
                    together.update(combinations([face.track for face in good], 2))
                    progress.update_to(scan.frames, f"{sum(faces_of.values())} faces")
    people = sort_people(scan.embeddings, faces_of, together)
    persons = _choose(people, config, identity, wanted)
    tracks = {t for t, p in people.person_of.items() if p in persons}
    everyone = config.person in ("all", "largest")
    placement.keep(None if everyone else tracks, largest=config.person != "all")
    return placement


def _place(track: int, matrix: Affine, landmarks: Landmarks) -> PlacedFace:
    """A face of a frame; the landmarks are given in the frame's pixels."""
    points = apply_affine(matrix, landmarks) if len(landmarks) == 68 else None
    return PlacedFace(track, matrix, points)


def _pictures(config: ConvertConfig) -> list[str]:
    known = ("auto", "largest", "all")
    plain = config.person in known or config.person.isdecimal()
    return [] if plain else [config.person]


def _choose(
    people: People,
    config: ConvertConfig,
    identity: Embedding | None,
    wanted: np.ndarray,
) -> list[int]:
    """Persons to swap; none where the person of the run is not there."""
    if config.person in ("all", "largest") or not people.means:
        return sorted(people.means)
    if config.person == "auto":
        if identity is None:
            _log.warning(
                "the run knows no person's face; swapping the person seen most often"
            )
            return choose_persons(people, "main", _NONE, _NONE)
        try:
            return choose_persons(people, "auto", identity[None], _NONE)
        except PersonError:
            return []
    return choose_persons(people, config.person, wanted, _NONE)


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
        FaceSetError: no face set, or not of this video.
        PersonError: the person asked for is not in it.
    """
    placement, people = Placement(), People()
    people_seen: Counter[int] = Counter()
    hashed = hash_file(source)
    tracks_of: dict[int, set[int]] = {}
    for part in list_sets(folder):
        header = _read_header(part)
        names = {s["name"] for s in header["sources"] if s["sha256"] == hashed}
        if not names:
            raise FaceSetError(
                f"--faces {folder} was extracted from "
                f"{', '.join(s['name'] for s in header['sources'][:3])}, not from "
                f"{source.name} as it is now; extract that, or leave --faces out"
            )
        for name in (RECORD_NAME, DROPPED_NAME):
            for line in _read_faces(part / name):
                record = make_record(line)
                if record.source not in names or record.dropped.startswith("query"):
                    continue
                placed = _place(
                    record.track,
                    np.array(record.frame_to_face),
                    np.array(record.landmarks),
                )
                width = record.width or record.box[2]
                placement.add(0, record.frame, width, placed)
                tracks_of.setdefault(record.person, set()).add(record.track)
                people_seen[record.person] += 1
        if "identity" in header:
            number = int(header.get("person", 1))
            people.means[number] = np.asarray(header["identity"], np.float32)
    for number in people_seen:
        people.means.setdefault(number, np.zeros(128, np.float32))
    wanted = read_references(_pictures(config), option="--person")
    persons = _choose(people, config, identity, wanted)
    tracks = {track for person in persons for track in tracks_of.get(person, ())}
    everyone = config.person in ("all", "largest")
    placement.keep(None if everyone else tracks, largest=config.person != "all")
    return placement


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / RECORD_NAME
    if not path.exists():
        raise FaceSetError(
            f"no face set at --faces {folder}; name the folder that `deepfake-jax "
            "extract` made of this video. (To choose whom to swap use --person)"
        )
    return check_header(path, next(read_lines(path), (1, {}))[1])


def _read_faces(path: Path) -> Any:
    if not path.exists():
        return
    for number, line in read_lines(path):
        if number > 1:
            yield line
