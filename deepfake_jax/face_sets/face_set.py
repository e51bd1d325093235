"""A face set on disk: a folder of face pictures and one readable record.

``faces.jsonl`` holds a header line, then one JSON object a face. Files are named
relative to the folder, so a set can be moved. The header says the format's version, the
faces' side and template, whose faces they are; a face's line says where it came from
and how it was aligned:

- ``file``: the face picture; ``picture``: the CRC-32 of its bytes;
- ``source``, ``source_number``, ``frame``, ``time``: file name, frame index and time
  stamp (s) of its frame; the number is that of the header's ``sources``, which have
  each one's hash, so that sources of one name are told apart;
- ``person``, ``track``: whose face it is, and the run of frames that it belongs to;
- ``box`` (x, y, width, height), ``width``, ``score``: as detected, in the frame's
  pixels;
- ``landmarks`` (68 or 5 of (x, y)): steadied over the track;
- ``frame_to_face``: the 2x3 matrix of the alignment;
- ``size``: side of the whole face picture in the frame, pixels; where it is below the
  side of the face picture itself, the face was enlarged;
- ``filled``: the face was not found in this frame, but shortly before and after;
- ``alignment``, ``sharpness``, ``occlusion``, ``yaw``, ``pitch``, ``roll``: see
  `quality`;
- ``check``: the CRC-32 of the line without it. A line edited by hand is still read.

``dropped.jsonl``, where there is one, has the lines of faces left out, each with the
reason in ``dropped``. The header's ``search`` says what was searched: ``every`` so
many-th frame, from ``start`` to ``end`` seconds (null: all); ``last`` of a source is
the last frame searched. Earlier versions are read too: 1 lacked person, track and
quality, 2 the sources' numbers and ``search``.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.face_sets.face_arrays import allocate_pictures
from deepfake_jax.files import encode_line, line_check, write_whole
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.train_config import MEMORY_LIMIT_MB

RECORD_NAME = "faces.jsonl"
FORMAT = "deepfake-jax faces"
DROPPED_NAME = "dropped.jsonl"
VERSION = 3
_READABLE = (1, 2, 3)
_FACE_NAME = re.compile(r"(\d+)_(\d+)_(\d+)\.png")
_log = logging.getLogger("deepfake_jax")


class FaceSetError(ValueError):
    """A face set that cannot be used; the text says what is wrong and the fix."""


@dataclass(frozen=True)
class FaceRecord:
    """One line of the record; the module docstring says what each field means."""

    file: str
    source: str
    frame: int
    time: float
    box: tuple[float, ...]
    score: float
    landmarks: tuple[tuple[float, ...], ...]
    frame_to_face: tuple[tuple[float, ...], ...]
    size: float
    person: int = 1
    track: int = 0
    width: float = 0.0
    filled: bool = False
    alignment: float = 1.0
    sharpness: float = 1.0
    occlusion: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    picture: str = ""
    dropped: str = ""
    source_number: int = -1

    @property
    def source_key(self) -> tuple[str, int]:
        """Tells the source from all others of its set.

        Earlier versions noted its number in the face's file name alone; it is -1 where
        that does not tell either.
        """
        number = self.source_number
        if number < 0 and (name := _FACE_NAME.fullmatch(self.file)):
            number = int(name[1])
        return self.source, number

    @property
    def order(self) -> tuple[int, int, int, str]:
        """By source, frame and track: by its file, counting as people do."""
        name = _FACE_NAME.fullmatch(self.file)
        if name is None:
            return 0, 0, 0, self.file
        return int(name[1]), int(name[2]), int(name[3]), self.file


_WORDS = {
    str: (str, "a text"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}
_KINDS: dict[str, Any] = {
    field.name: _WORDS[field.type]  # type: ignore[index]
    for field in fields(FaceRecord)
    if field.type in _WORDS
}


@dataclass(frozen=True)
class FaceSet:
    """A face set in memory.

    Attributes:
        folder: where it lies.
        faces: all pictures, uint8 RGB.
        records: their lines, in the same order.
        header: the record's first line.
    """

    folder: Path
    faces: UInt8[np.ndarray, "n face_size face_size 3"]
    records: tuple[FaceRecord, ...]
    header: dict[str, Any]


def make_header(sources: list[dict[str, Any]], tool_version: str) -> dict[str, Any]:
    """The first line of a record."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "tool_version": tool_version,
        "face_size": FACE_SIZE,
        "template": "mean-face",
        "coverage": COVERAGE,
        "sources": sources,
    }


def write_record(
    folder: Path,
    header: dict[str, Any],
    records: Iterable[FaceRecord],
    *,
    name: str = RECORD_NAME,
) -> None:
    """Writes ``faces.jsonl`` in one piece: beside, fsync, rename."""
    with write_whole(folder / name, overwrite=True) as path:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(encode_line(header))
            for record in records:
                file.write(encode_record(record))


def encode_record(record: FaceRecord) -> str:
    """A face's line, its ``check`` last."""
    line = dict(vars(record))  # `asdict` copies each number: a millisecond a face
    if not record.dropped:
        del line["dropped"]
    return encode_line(line)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a record one by one, with their numbers; memory stays bounded.

    Raises:
        FaceSetError: a line that is no JSON object, named.
    """
    try:
        # Not splitlines: JSON leaves U+2028 and its like as they are in a file's name.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                # Editors add an empty line at the end, and a mark at the beginning.
                if line.strip():
                    yield number, _parse_line(path, number, line.removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise FaceSetError(f"{path} is damaged: {error}") from None


def make_record(values: dict[str, Any]) -> FaceRecord:
    """A face's line as a record.

    Raises:
        TypeError: a field that lacks, is unknown or of a wrong kind, named.
    """
    for name in _KINDS.keys() & values.keys():
        (kind, words), value = _KINDS[name], values[name]
        # JSON's true is no number, and its NaN none to compare with.
        odd = isinstance(value, bool) != (kind is bool) or value != value
        if odd or not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}, expected {words}")
    shapes = {"box": (4,), "frame_to_face": (2, 3)}
    if not all(_has_shape(values[k], v) for k, v in shapes.items() if k in values):
        raise TypeError("box must be 4 numbers and frame_to_face 2 x 3")
    return FaceRecord(**{k: _freeze(v) for k, v in values.items() if k != "check"})


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return False
    return array.shape == shape and array.dtype.kind in "if"


def read_record(folder: Path) -> tuple[dict[str, Any], list[FaceRecord]]:
    """Reads a set's header and lines.

    Raises:
        FaceSetError: no such folder, no record in it, a damaged line (named), or a
            format that this version does not know.
    """
    if not folder.is_dir():
        raise FaceSetError(
            f"no face set at {folder}: no such folder; make one with "
            f"`deepfake-jax extract SOURCE --out {folder}`"
        )
    path = folder / RECORD_NAME
    if not path.exists():
        raise FaceSetError(_explain_missing(folder))
    header: dict[str, Any] | None = None
    records, edited = [], 0
    for number, values in read_lines(path):
        if header is None:
            header = check_header(path, values)
            continue
        edited += "check" in values and values["check"] != line_check(values)
        try:
            records.append(make_record(values))
        except TypeError as error:
            raise FaceSetError(f"{path}, line {number}: {error}") from None
    if edited:
        _log.warning(
            "%s: %d lines were changed by hand; `deepfake-jax faces %s --repair` "
            "renews their checksums",
            path,
            edited,
            folder,
        )
    return header or check_header(path, {}), records


def check_header(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """A record's first line, if this version can read what follows.

    Raises:
        FaceSetError: it is no header of ours, or of a version that is not known.
    """
    if header.get("format") != FORMAT:
        raise FaceSetError(
            f"{path} does not begin with a header of {FORMAT!r}; `deepfake-jax faces "
            f"{path.parent} --repair` makes one"
        )
    if header.get("version") not in _READABLE:
        raise FaceSetError(
            f"{path} has format version {header.get('version')}, this program reads "
            f"{' and '.join(map(str, _READABLE))}; extract the set anew or use the "
            "version that wrote it"
        )
    return header


def list_sets(folder: Path) -> list[Path]:
    """The face sets of an extraction: the folder itself, or its folders of persons."""
    if (folder / RECORD_NAME).exists() or not folder.is_dir():
        return [folder]
    inner = [path for path in folder.iterdir() if (path / RECORD_NAME).exists()]
    return sorted(inner, key=lambda path: (len(path.name), path.name)) or [folder]


def _explain_missing(folder: Path) -> str:
    sets = [path for path in list_sets(folder) if path != folder]
    if sets:
        names = ", ".join(path.name for path in sets[:4])
        more = f" and {len(sets) - 4} more" if len(sets) > 4 else ""
        return (
            f"{folder} holds the faces of several people ({names}{more}); name one of "
            f"them, such as {sets[0]}; people.png there shows who is who"
        )
    return (
        f"{folder} is no face set: it has no {RECORD_NAME}; make one from its "
        f"pictures with `deepfake-jax extract {folder} --out FACES`"
    )


def _freeze(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise FaceSetError(
            f"{path}, line {number} is damaged ({error.msg}); `deepfake-jax faces "
            f"{path.parent} --repair` mends the record"
        ) from None
    if not isinstance(value, dict):
        raise FaceSetError(f"{path}, line {number}: expected an object, got {value!r}")
    return value


def load_faces(
    folder: str | Path, *, min_faces: int = 1, memory_limit_mb: float = MEMORY_LIMIT_MB
) -> FaceSet:
    """Reads a whole face set, each picture decoded once.

    Args:
        folder: the face set.
        min_faces: fewest faces that will do.
        memory_limit_mb: decoded faces beyond it go to a mapped file; see `mapped`.

    Raises:
        FaceSetError: as `read_record`; too few faces; a picture that is missing,
            damaged or not of the set's size.
        OSError: no room for the mapped file.
    """
    folder = Path(folder)
    header, records = read_record(folder)
    if len(records) < min_faces:
        raise FaceSetError(
            f"{folder} holds {len(records)} face{'s' * (len(records) != 1)}, training "
            f"needs at least {min_faces}; extract more footage of this person, some "
            "hundred faces in varied poses and light work best"
        )
    face_size = header.get("face_size")
    if face_size != FACE_SIZE:
        raise FaceSetError(
            f"{folder} has faces of {face_size} pixels, this version trains on "
            f"{FACE_SIZE}; extract the set anew from its sources"
        )
    shape = (len(records), FACE_SIZE, FACE_SIZE, 3)
    faces = allocate_pictures(shape, memory_limit_mb=memory_limit_mb)
    for index, record in enumerate(records):
        path = folder / record.file
        try:
            face = read_picture(path)
        except (PictureError, OSError) as error:
            raise FaceSetError(
                f"{folder}: cannot read the face {record.file}: {error}; "
                f"`deepfake-jax faces {folder} --repair` takes it out of the set"
            ) from error
        if face.shape != faces.shape[1:]:
            height, width = face.shape[:2]
            raise FaceSetError(
                f"{path} is {width}x{height}, the set's faces are "
                f"{FACE_SIZE}x{FACE_SIZE}; extract the set anew from its sources"
            )
        faces[index] = face
    return FaceSet(folder, faces, tuple(records), header)
