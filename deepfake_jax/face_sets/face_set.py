"""A face set on disk: a folder of face pictures and one readable record.

``faces.jsonl`` holds a header line, then one JSON object a face, see `face_record`.
Files are named relative to the folder, so a set can be moved. The header says the
format's version, the faces' side and template, whose faces they are.

``dropped.jsonl``, where there is one, has the lines of faces left out, each with the
reason in ``dropped``. The header's ``search`` says what was searched: ``every`` so
many-th frame, from ``start`` to ``end`` seconds (null: all); ``last`` of a source is
the last frame searched. Earlier versions are read too: 1 lacked person, track and
quality, 2 the sources' numbers and ``search``.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.face_sets.face_arrays import allocate_pictures
from deepfake_jax.face_sets.face_record import (
    FACE_NAME,
    FaceRecord,
    FaceSetError,
    encode_record,
    make_record,
    read_lines,
    was_edited,
)
from deepfake_jax.files import file_crc, write_whole
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.json_files import encode_line
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.progress import count
from deepfake_jax.train_config import MEMORY_LIMIT_MB

RECORD_NAME = "faces.jsonl"
FORMAT = "deepfake-jax faces"
DROPPED_NAME = "dropped.jsonl"
VERSION = 3
_READABLE = (1, 2, 3)
_log = logging.getLogger("deepfake_jax")


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
        edited += was_edited(values)
        if header is None:
            header = check_header(path, values)
            continue
        try:
            records.append(make_record(values))
        except TypeError as error:
            raise FaceSetError(f"{path}, line {number}: {error}") from None
    if edited:
        _log.warning(
            "%s: changed by hand: %s; `deepfake-jax faces %s --repair` renews the "
            "checksums",
            path,
            count(edited, "line"),
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


def load_faces(
    folder: str | Path, *, min_faces: int = 1, memory_limit_mb: float = MEMORY_LIMIT_MB
) -> FaceSet:
    """Reads a whole face set, each picture decoded once.

    Args:
        folder: the face set.
        min_faces: fewest faces that will do.
        memory_limit_mb: decoded faces beyond it go to a mapped file; see `face_arrays`.

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
    _tell_changes(folder, records)
    return FaceSet(folder, faces, tuple(records), header)


def _tell_changes(folder: Path, records: list[FaceRecord]) -> None:
    """Says what of a set's folder its record does not know."""
    fix = f"see `deepfake-jax faces {folder} --check`"
    odd = [r.file for r in records if r.picture not in ("", file_crc(folder / r.file))]
    if odd:
        _log.warning(
            "%s: other than when they were recorded: %s (%s); %s",
            folder,
            count(len(odd), "picture"),
            ", ".join(odd[:3]),
            fix,
        )
    known = {record.file for record in records}
    if len(known) < len(records):
        more = len(records) - len(known)
        _log.warning(
            "%s: twice in its record: %s; %s", folder, count(more, "face"), fix
        )
    if (folder / DROPPED_NAME).exists():
        try:
            lines = list(read_lines(folder / DROPPED_NAME))
        except FaceSetError as error:
            _log.warning("%s", error)
            return
        known |= {str(values.get("file")) for _, values in lines}
    strays = [path.name for path in folder.glob("*.png") if path.name not in known]
    strays = [name for name in strays if FACE_NAME.fullmatch(name)]
    if strays:
        _log.warning(
            "%s: not in its record, which may have been cut: %s (%s); %s",
            folder,
            count(len(strays), "face"),
            ", ".join(sorted(strays)[:3]),
            fix,
        )
