"""Face sets checked against their record, and records rebuilt from what is there."""

import errno
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake_jax.face_sets.face_record import (
    FaceRecord,
    FaceSetError,
    make_record,
    was_edited,
)
from deepfake_jax.face_sets.face_set import (
    DROPPED_NAME,
    RECORD_NAME,
    VERSION,
    check_header,
    list_sets,
    make_header,
    write_record,
)
from deepfake_jax.face_sets.set_files import (
    PEOPLE_SHEET,
    PERSON_FOLDER,
    SHEETS,
    find_person,
)
from deepfake_jax.files import file_crc
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.json_files import line_check, parse_object
from deepfake_jax.media.pictures import PictureError, list_pictures, read_picture

_NO_FACES = (SHEETS, PEOPLE_SHEET)  # how pictures begin that are none of a set
_Values = dict[str, Any]


def list_damaged_sets(folder: Path) -> list[Path]:
    """As `list_sets`, with those folders of persons whose record is gone."""
    parts = list_sets(folder)
    if (folder / RECORD_NAME).exists() or not folder.is_dir():
        return parts
    lost = [
        path
        for path in folder.glob(f"{PERSON_FOLDER}*")
        if path.is_dir() and path not in parts and _list_faces(path)
    ]
    parts = [path for path in parts if path != folder or not lost]
    return sorted([*parts, *lost], key=lambda path: (len(path.name), path.name))


def check_set(folder: Path) -> list[str]:
    """What is wrong with a set: damaged lines, missing and changed pictures."""
    path, problems = folder / RECORD_NAME, []
    if not folder.is_dir():
        raise FaceSetError(f"no face set at {folder}: no such folder")
    if not path.exists():
        raise FaceSetError(
            f"{folder} has no {RECORD_NAME}; `deepfake-jax faces {folder} --repair` "
            "makes one from its pictures"
        )
    listed: Counter[str] = Counter()
    for number, values in _read_loosely(path):
        where = f"{path}, line {number}"
        if values is None:
            problems.append(f"{where}: is damaged")
            continue
        if was_edited(values):
            problems.append(f"{where}: was changed by hand")
        if number == 1:
            problems += _check_header(path, values)
        else:
            file = str(values.get("file"))
            listed[file] += 1
            if listed[file] == 2:
                problems.append(f"{where}: {file} stands there twice")
            problems += _check_picture(folder, values, where)
    left = folder / DROPPED_NAME
    for number, values in _read_loosely(left):
        if values is None:
            problems.append(f"{left}, line {number}: is damaged")
        else:
            listed[str(values.get("file"))] += 1
    for picture in _list_faces(folder):
        if picture.name not in listed:
            problems.append(f"{picture}: is not in the record")
    return problems


def _list_faces(folder: Path) -> list[Path]:
    pictures = list_pictures(folder)
    return [path for path in pictures if not path.name.startswith(_NO_FACES)]


def _read_loosely(path: Path) -> Iterator[tuple[int, _Values | None]]:
    """Numbers and values of a record's lines, None for a damaged one's."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, parse_object(line)


def _check_header(path: Path, values: _Values) -> list[str]:
    try:
        check_header(path, values)
    except FaceSetError as error:
        return [str(error)]
    return []


def _check_picture(folder: Path, values: _Values, where: str) -> list[str]:
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
    stays beside as ``faces.jsonl.before``, ``faces.jsonl.before.2`` and so on.

    Returns:
        What was changed.

    Raises:
        FaceSetError: there is neither a record nor a face picture.
    """
    path = folder / RECORD_NAME
    if not path.exists() and not (folder.is_dir() and _list_faces(folder)):
        raise FaceSetError(
            f"no face set at {folder}: neither {RECORD_NAME} nor pictures of faces; "
            f"make one with `deepfake-jax extract SOURCE --out {folder}`"
        )
    header, records, notes = _salvage_lines(folder)
    left_header, left, left_notes = _salvage_dropped(folder)
    notes += left_notes
    header = header or left_header or make_header([], "repair")
    listed = {*records, *(record.file for record in left)}
    numbers = Counter(record.person for record in records.values())
    most = max(numbers, key=lambda n: numbers[n], default=find_person(folder) or 1)
    person = header.get("person", most)
    for picture in _list_faces(folder):
        if picture.name in listed:
            continue
        record = _recognise(picture, person)
        if record is None:
            side = f"{FACE_SIZE}x{FACE_SIZE}"
            notes.append(f"{picture.name}: left alone, it is no face picture of {side}")
        else:
            records[picture.name] = record
            notes.append(f"{picture.name}: line made anew")
    if not records and not left and not path.exists():
        raise FaceSetError(
            f"no face set at {folder}: no picture there is a face of "
            f"{FACE_SIZE}x{FACE_SIZE}; make a set from them with `deepfake-jax extract "
            f"{folder} --out FACES`"
        )
    _keep_old(path)
    header = {**header, "version": VERSION}
    if left_notes:
        _keep_old(folder / DROPPED_NAME)
        write_record(folder, header, left, name=DROPPED_NAME)
    write_record(folder, header, sorted(records.values(), key=lambda r: r.order))
    return [f"{folder}: {note}" for note in notes]


def _keep_old(path: Path) -> None:
    """Copies a record aside; a kill in between leaves it where it was."""
    number, copy = 1, path.with_name(f"{path.name}.before")
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.before.{number}")
    if path.exists():
        shutil.copy2(path, copy)


def _salvage_lines(
    folder: Path,
) -> tuple[_Values, dict[str, FaceRecord], list[str]]:
    """Header, good lines by their files, and what was wrong with the others."""
    path = folder / RECORD_NAME
    header: _Values = {}
    records: dict[str, FaceRecord] = {}
    notes = []
    for number, values in _read_loosely(path):
        if number == 1 and values is not None and "format" in values:
            header = check_header(path, values)
            if was_edited(values):
                notes.append("line 1: checksum renewed")
            continue
        record, fault = _salvage(folder, values)
        if record is None:
            notes.append(f"line {number} left out: {fault}")
        elif record.file in records:
            notes.append(f"line {number} left out: {record.file} stands there twice")
        else:
            if fault:
                notes.append(f"line {number}: {fault}")
            records[record.file] = record
    return header, records, notes


def _salvage(folder: Path, values: _Values | None) -> tuple[FaceRecord | None, str]:
    """A line whose picture is there, and what was mended; or None and the fault."""
    if values is None:
        return None, "damaged"
    try:
        record = make_record(values)
        path = folder / record.file
        face = read_picture(path)
    except (TypeError, PictureError, OSError) as error:
        _raise_passing(error)
        return None, str(error)
    if face.shape != (FACE_SIZE, FACE_SIZE, 3):
        return None, f"{record.file} is of another size"
    crc, mended = file_crc(path), ""
    if record.picture and record.picture != crc:
        mended = f"{record.file} is another picture now; its qualities are the old ones"
    elif values.get("check") != line_check(values):
        mended = "checksum renewed"
    return replace(record, picture=crc, dropped=""), mended


def _raise_passing(error: Exception) -> None:
    """Raises what says nothing of the picture: too many open files, missing rights."""
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in (None, errno.ENOENT):
            raise error
        cause = cause.__cause__


def _salvage_dropped(
    folder: Path,
) -> tuple[_Values, list[FaceRecord], list[str]]:
    """Header and good lines of the faces left out, and what was wrong with others."""
    path = folder / DROPPED_NAME
    header: _Values = {}
    records, notes = [], []
    for number, values in _read_loosely(path):
        if number == 1 and values is not None and "format" in values:
            header = check_header(path, values)
            continue
        try:
            if values is None:
                raise TypeError("damaged")
            records.append(make_record(values))
        except TypeError as error:
            notes.append(f"{DROPPED_NAME}, line {number} left out: {error}")
    return header, records, notes


def _recognise(picture: Path, person: int) -> FaceRecord | None:
    """A line for a face picture that lost its own; None if it is no such picture."""
    try:
        if read_picture(picture).shape != (FACE_SIZE, FACE_SIZE, 3):
            return None
    except (PictureError, OSError) as error:
        _raise_passing(error)
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
        person=person,
        track=numbers[2],
        picture=file_crc(picture),
    )
