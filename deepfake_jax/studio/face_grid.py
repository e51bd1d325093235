"""The faces of a project as a grid: what is known of each, and small pictures.

What is known goes to the page as columns: 5,000 faces take 400 kB and a moment. Small
pictures are made once, each when it is first looked at.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import cv2

from deepfake_jax.face_sets.both_records import can_return, read_both
from deepfake_jax.face_sets.face_queries import parse_query
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import DROPPED_NAME, RECORD_NAME, list_sets
from deepfake_jax.face_sets.set_files import SEARCH_ENDING
from deepfake_jax.files import hidden_path, write_whole
from deepfake_jax.studio.texts import RequestError

THUMB = 160  # pixels; sharp at 112 on a screen of one and a half times the density
_QUALITY = 85
_MOST_FOUND = 24  # of the faces that an extraction has just written
_COLUMNS = ("file", "source", "frame", "time", "track", "width")
_COLUMNS += ("sharpness", "occlusion", "alignment", "yaw", "pitch", "roll")

Record = tuple[dict[str, Any], list[FaceRecord], list[FaceRecord]]


@dataclass
class FaceGrids:
    """Records of sets as they are on disk; the last few are remembered."""

    _known: dict[Path, tuple[Any, Record]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def read(self, folder: Path) -> Record:
        """Header, faces and those left out of a set."""
        state = find_state(folder)
        with self._lock:
            known = self._known.get(folder)
            if known is not None and known[0] == state:
                return known[1]
        record = read_both(folder)
        with self._lock:
            while len(self._known) > 3:
                self._known.pop(next(iter(self._known)))
            self._known[folder] = state, record
        return record

    def describe(self, folder: Path) -> dict[str, Any]:
        """The columns of a set's faces, those that can be brought back included."""
        _, kept, left = self.read(folder)
        back = [record for record in left if can_return(folder, record)]
        faces = sorted([*kept, *back], key=lambda record: record.order)
        columns = {
            name: [_short(record, name) for record in faces] for name in _COLUMNS
        }
        sources = list(dict.fromkeys(columns["source"]))
        numbers = {name: number for number, name in enumerate(sources)}
        columns["source"] = [numbers[name] for name in columns["source"]]
        return {
            "sources": sources,
            "columns": columns,
            "dropped": [bool(record.dropped) for record in faces],
            "version": str(find_state(folder)),
            "reasons": Counter(r.dropped for r in left if not can_return(folder, r)),
        }

    def find_files(self, folder: Path, query: str, *, dropped: bool) -> list[str]:
        """The faces of a set, or those left out of it, that meet a query.

        Raises:
            QueryError: a query that cannot be understood.
        """
        meets, (_, kept, left) = parse_query(query), self.read(folder)
        back = (record for record in left if can_return(folder, record))
        return [record.file for record in (back if dropped else kept) if meets(record)]

    def find_picture(self, folder: Path, name: str) -> Path:
        """The picture of a face that a record names.

        Raises:
            RequestError: none does, or it is not there.
        """
        _, kept, left = self.read(folder)
        path = folder / name
        named = any(record.file == name for part in (kept, left) for record in part)
        if not named or path.parent != folder or not path.is_file():
            raise RequestError("no_face", status=404)
        return path


def list_person_sets(folder: Path) -> list[Path]:
    """The sets of a side's faces, the person seen most first; none before there are."""
    if not folder.is_dir():
        return []
    return [part for part in list_sets(folder) if (part / RECORD_NAME).exists()]


def count_faces(folder: Path) -> int:
    """How many faces a set's record has, without reading what it says of them."""
    with (folder / RECORD_NAME).open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)


def find_state(folder: Path) -> tuple[Any, ...]:
    """What changes whenever a set's records do."""
    states = []
    for name in (RECORD_NAME, DROPPED_NAME):
        try:
            stat = (folder / name).stat()
        except OSError:
            continue
        states += [stat.st_mtime_ns, stat.st_size, stat.st_ino]
    return tuple(states)


def make_thumb(picture: Path, cache: Path) -> Path:
    """The small picture of a face, made if it is not there or older than the face."""
    small = cache / picture.parent.parent.name / picture.parent.name
    small = (small / picture.name).with_suffix(".jpg")
    if small.exists() and small.stat().st_mtime_ns >= picture.stat().st_mtime_ns:
        return small
    face = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if face is None:
        raise RequestError("no_face", status=404)
    face = cv2.resize(face, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    small.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(small, overwrite=True) as path:
        path.write_bytes(coded.tobytes())
    return small


def list_found(out: Path) -> Sequence[Path]:
    """The faces that an extraction into a folder wrote last, the latest first."""
    folder = hidden_path(out.resolve(), SEARCH_ENDING)
    if not folder.is_dir():
        return []
    names = sorted(folder.glob("[0-9]*.png"), reverse=True)
    return names[:_MOST_FOUND]


def _short(record: FaceRecord, name: str) -> Any:
    value = getattr(record, name)
    return round(value, 3) if isinstance(value, float) else value
