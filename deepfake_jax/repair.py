"""Face sets checked against their record, and records rebuilt from what is there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake_jax.align import FACE_SIZE
from deepfake_jax.facefiles import file_crc
from deepfake_jax.faceset import (
    DROPPED_NAME,
    RECORD_NAME,
    VERSION,
    FaceRecord,
    FaceSetError,
    check_header,
    line_check,
    make_header,
    make_record,
    read_lines,
    write_record,
)
from deepfake_jax.pictures import PictureError, list_pictures, read_picture
from deepfake_jax.scanlog import parse_checked


def check_set(folder: Path) -> list[str]:
    """What is wrong with a set: damaged lines, missing and changed pictures."""
    path, problems, listed = folder / RECORD_NAME, [], set()
    if not path.exists():
        raise FaceSetError(f"{folder} has no {RECORD_NAME}; --repair makes one")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            values = _parse_loosely(line)
            if values is None:
                problems.append(f"{path}, line {number}: is damaged")
                continue
            if "check" in values and values["check"] != line_check(values):
                problems.append(f"{path}, line {number}: was changed by hand")
            if number > 1:
                listed.add(values.get("file"))
                problems += _check_picture(folder, values, number)
    left = folder / DROPPED_NAME
    if left.exists():
        listed |= {line.get("file") for n, line in read_lines(left) if n > 1}
    for picture in list_pictures(folder):
        if picture.name not in listed and not picture.name.startswith("sheet_"):
            problems.append(f"{picture}: is not in the record")
    return problems


def _parse_loosely(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _check_picture(folder: Path, values: dict[str, Any], number: int) -> list[str]:
    where = f"{folder / RECORD_NAME}, line {number}"
    try:
        record = make_record(values)
    except TypeError as error:
        return [f"{where}: {error}"]
    path = folder / record.file
    if not path.is_file():
        return [f"{where}: the picture {record.file} is missing"]
    if record.picture and file_crc(path) != record.picture:
        return [f"{path}: is not the picture that was recorded"]
    return []


def repair_set(folder: Path) -> list[str]:
    """Rebuilds a set's record from its good lines and its pictures.

    Lines that cannot be read, or whose picture is gone or unreadable, are left out;
    pictures without a line get one, with what the picture itself tells. The old record
    stays beside as ``faces.jsonl.before``.

    Returns:
        What was changed.
    """
    path, notes = folder / RECORD_NAME, []
    header: dict[str, Any] = {}
    records: dict[str, FaceRecord] = {}
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        values = _parse_loosely(line)
        if number == 1 and values is not None and "format" in values:
            header = check_header(path, values)
            continue
        record, fault = _salvage(folder, values)
        if record is None:
            notes.append(f"line {number} left out: {fault}")
        else:
            if parse_checked(line) is None:
                notes.append(f"line {number}: checksum renewed")
            records[record.file] = record
    left = folder / DROPPED_NAME
    dropped = set()
    if left.exists():
        rest = [_parse_loosely(line) for line in left.read_bytes().splitlines()]
        dropped = {values["file"] for values in rest if values and "file" in values}
    for picture in list_pictures(folder):
        if picture.name in records or picture.name in dropped:
            continue
        record = _recognise(picture)
        if record is not None:
            records[picture.name] = record
            notes.append(f"{picture.name}: line made anew")
    if path.exists():
        path.replace(path.with_name(f"{RECORD_NAME}.before"))
    header = header or make_header([], "repair")
    ordered = sorted(records.values(), key=lambda r: r.file)
    write_record(folder, {**header, "version": VERSION}, ordered)
    return [f"{folder}: {note}" for note in notes]


def _salvage(
    folder: Path, values: dict[str, Any] | None
) -> tuple[FaceRecord | None, str]:
    if values is None:
        return None, "damaged"
    try:
        record = make_record(values)
        path = folder / record.file
        face = read_picture(path)
    except (TypeError, PictureError, OSError) as error:
        return None, str(error)
    if face.shape != (FACE_SIZE, FACE_SIZE, 3):
        return None, f"{record.file} is of another size"
    return replace(record, picture=file_crc(path), dropped=""), ""


def _recognise(picture: Path) -> FaceRecord | None:
    """A line for a face picture that lost its own; None if it is no such picture."""
    try:
        if read_picture(picture).shape != (FACE_SIZE, FACE_SIZE, 3):
            return None
    except (PictureError, OSError):
        return None
    parts = picture.stem.split("_")
    numbers = [int(part) if part.isdecimal() else 0 for part in parts]
    numbers += [0] * (3 - len(numbers))
    side = float(FACE_SIZE)
    return FaceRecord(
        file=picture.name,
        source="",
        frame=numbers[1],
        time=0.0,
        box=(0.0, 0.0, side, side),
        score=0.0,
        landmarks=(),
        frame_to_face=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        size=side,
        track=numbers[2],
        picture=file_crc(picture),
    )
