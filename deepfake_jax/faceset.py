"""A face set on disk: a folder of face pictures and one readable record.

``faces.jsonl`` holds a header line, then one JSON object a face. Files are named
relative to the folder, so a set can be moved. The header says the format's version, the
faces' side and template; a face's line says where it came from and how it was aligned:

- ``file``: the face picture;
- ``source``, ``frame``, ``time``: file name, frame index and time stamp (s) of its
  frame; ``source`` indexes the header's ``sources`` by name;
- ``box`` (x, y, width, height), ``score``, ``landmarks`` (five of (x, y)): as detected,
  in the frame's pixels;
- ``frame_to_face``: the 2x3 matrix of the alignment;
- ``size``: side of the whole face picture in the frame, pixels; where it is below the
  side of the face picture itself, the face was enlarged.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.align import COVERAGE, FACE_SIZE
from deepfake_jax.files import write_whole
from deepfake_jax.mapped import MEMORY_LIMIT_MB, allocate_pictures
from deepfake_jax.pictures import PictureError, read_picture

RECORD_NAME = "faces.jsonl"
FORMAT = "deepfake-jax faces"
VERSION = 1


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
        "template": "arcface-5",
        "coverage": COVERAGE,
        "sources": sources,
    }


def write_record(
    folder: Path, header: dict[str, Any], records: list[FaceRecord]
) -> None:
    """Writes ``faces.jsonl`` in one piece: beside, fsync, rename."""
    lines = [header, *map(asdict, records)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with write_whole(folder / RECORD_NAME, overwrite=True) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


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
    try:
        # Not splitlines: JSON leaves U+2028 and its like as they are in a file's name.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise FaceSetError(
            f"{folder} is no face set: it has no {RECORD_NAME}; make one from its "
            f"pictures with `deepfake-jax extract {folder} --out FACES`"
        ) from None
    except UnicodeDecodeError as error:
        raise FaceSetError(f"{path} is damaged: {error}") from None
    header = _parse_line(path, 1, lines[0]) if lines[0] else {}
    if header.get("format") != FORMAT:
        raise FaceSetError(f"{path} does not begin with a header of {FORMAT!r}")
    if header.get("version") != VERSION:
        raise FaceSetError(
            f"{path} has format version {header.get('version')}, this program reads "
            f"{VERSION}; extract the set anew or use the version that wrote it"
        )
    records = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            fields = _parse_line(path, number, line)
            records.append(FaceRecord(**{k: _freeze(v) for k, v in fields.items()}))
        except TypeError as error:
            raise FaceSetError(f"{path}, line {number}: {error}") from None
    return header, records


def _freeze(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise FaceSetError(
            f"{path}, line {number} is damaged ({error.msg}); remove that line, or "
            "extract the set anew"
        ) from None
    if not isinstance(value, dict):
        raise FaceSetError(f"{path}, line {number}: expected an object, got {value!r}")
    return value


def load_faces(
    folder: str | Path, *, min_faces: int = 2, memory_limit_mb: float = MEMORY_LIMIT_MB
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
                f"{folder}: cannot read the face {record.file}: {error}; remove its "
                f"line from {RECORD_NAME} or extract the set anew"
            ) from error
        if face.shape != faces.shape[1:]:
            height, width = face.shape[:2]
            raise FaceSetError(
                f"{path} is {width}x{height}, the set's faces are "
                f"{FACE_SIZE}x{FACE_SIZE}; extract the set anew from its sources"
            )
        faces[index] = face
    return FaceSet(folder, faces, tuple(records), header)
