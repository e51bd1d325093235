"""Which faces of some footage to swap, and where they lie in each frame.

The same tracks, people and steadying as in extraction: a first pass over the footage,
or an extraction's record in its stead. A face takes 64 bytes until the choice is made.
"""

import logging
from array import array
from collections import Counter
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.faceset import (
    DROPPED_NAME,
    RECORD_NAME,
    FaceSetError,
    check_header,
    list_sets,
    make_record,
    read_lines,
)
from deepfake_jax.identity import Embedding
from deepfake_jax.options import ConvertConfig
from deepfake_jax.people import (
    People,
    PersonError,
    choose_persons,
    read_references,
    sort_people,
)
from deepfake_jax.progress import Progress
from deepfake_jax.scan import Scan, ScanOptions
from deepfake_jax.source import Source, hash_file
from deepfake_jax.track import SURE
from deepfake_jax.types import Affine

_log = logging.getLogger("deepfake_jax")
_MIN_SIZE = 16.0  # pixels; a smaller face would not gain from a swap
_NONE = np.zeros((0, 128), np.float32)


class Placement:
    """Faces of sources and frames, to look up by their numbers."""

    def __init__(self) -> None:
        # source, frame, track, width, and the six numbers of the matrix
        self._rows = array("d")
        self._at: dict[tuple[int, int], list[Affine]] = {}

    def add(
        self, source: int, frame: int, track: int, width: float, matrix: Affine
    ) -> None:
        """Takes in a face."""
        self._rows.extend([source, frame, track, width, *matrix.ravel().tolist()])

    def keep(self, tracks: set[int] | None, *, largest: bool = False) -> None:
        """Chooses tracks (all if None); of each frame only the largest if so asked."""
        rows = np.frombuffer(self._rows, np.float64).reshape(-1, 10)
        best: dict[tuple[int, int], float] = {}
        for row in rows:
            key = int(row[0]), int(row[1])
            if tracks is not None and int(row[2]) not in tracks:
                continue
            matrix = row[4:].reshape(2, 3).copy()
            if not largest:
                self._at.setdefault(key, []).append(matrix)
            elif row[3] > best.get(key, 0.0):
                best[key] = float(row[3])
                self._at[key] = [matrix]

    def find(self, source: int, frame: int) -> list[Affine]:
        """The ``frame_to_face`` of each face to swap in a frame."""
        return self._at.get((source, frame), [])

    def __len__(self) -> int:
        return len(self._at)


def place_faces(
    sources: list[Source], config: ConvertConfig, identity: Embedding | None
) -> Placement:
    """Looks through footage for the faces that a config asks for.

    Args:
        sources: a video, or pictures.
        config: whom to swap, and how to find them.
        identity: the person that the run's faces show, where it knows.

    Raises:
        PersonError: the person asked for is not there.
        VideoError, PictureError: the only source cannot be read.
    """
    wanted = read_references(_pictures(config), option="--person")
    options = ScanOptions(
        landmarks=config.landmarks,
        min_score=config.min_score,
        min_size=_MIN_SIZE,
        steady=config.steady,
    )
    scan, placement = Scan(options), Placement()
    faces_of: Counter[int] = Counter()
    together: set[tuple[int, int]] = set()
    counts = [source.frames or 0 for source in sources]
    with Progress("look", total=sum(counts) or None, unit="frame") as progress:
        for number, source in enumerate(sources):
            with closing(scan.read(source, alone=len(sources) == 1)) as stream:
                for timed, _, faces in stream:
                    good = [face for face in faces if face.confidence >= SURE]
                    for face in good:
                        faces_of[face.track] += 1
                        matrix, width = face.frame_to_face, float(face.box[2])
                        placement.add(number, timed.index, face.track, width, matrix)
                    together.update(combinations([face.track for face in good], 2))
                    progress.update_to(scan.frames, f"{sum(faces_of.values())} faces")
    people = sort_people(scan.embeddings, faces_of, together)
    persons = _choose(people, config, identity, wanted)
    tracks = {t for t, p in people.person_of.items() if p in persons}
    everyone = config.person in ("all", "largest")
    placement.keep(None if everyone else tracks, largest=config.person != "all")
    return placement


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
                matrix = np.array(record.frame_to_face)
                width = record.width or record.box[2]
                placement.add(0, record.frame, record.track, width, matrix)
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
