"""Looking through face sets: summaries, contact sheets, dropping, checks and repairs.

The record is edited, not the pictures: a face that is dropped moves from
``faces.jsonl`` to ``dropped.jsonl`` and comes back with ``--restore``. Pictures are
removed by ``--delete`` alone, and only those of faces that were dropped.
"""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

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
    list_sets,
    make_header,
    make_record,
    read_lines,
    write_record,
)
from deepfake_jax.pictures import (
    PictureError,
    list_pictures,
    read_picture,
    write_picture,
)
from deepfake_jax.query import parse_query, read_key
from deepfake_jax.scanlog import parse_checked
from deepfake_jax.sheet import Row, Tile, draw_sheet, spread

_log = logging.getLogger("deepfake_jax")
# Quality -> whether high values are bad.
_WORST = {
    "alignment": False,
    "sharpness": False,
    "score": False,
    "width": False,
    "occlusion": True,
    "yaw": True,
    "pitch": True,
}
_YAWS = (-90, -45, -20, 20, 45, 90)
_PITCHES = (90, 15, -15, -90)
QUERY_MARK = "query "  # begins the reason of a face that was dropped by hand


@dataclass(frozen=True)
class FacesResult:
    """What a review did and found.

    Attributes:
        folder: what was reviewed.
        faces: faces in it now.
        persons: number and faces of each person.
        dropped: faces left out, by reason.
        changed: faces that this call dropped or restored.
        deleted: pictures that this call removed.
        sheets: contact sheets written.
        problems: what a check found wrong.
    """

    folder: str
    faces: int
    persons: tuple[dict[str, int], ...]
    dropped: dict[str, int]
    changed: int
    deleted: int
    sheets: tuple[str, ...]
    problems: tuple[str, ...]


def review_faces(
    folder: str | Path,
    *,
    sort: str = "",
    drop: str = "",
    keep: str = "",
    restore: bool = False,
    delete: bool = False,
    check: bool = False,
    repair: bool = False,
    sheets: bool = True,
) -> FacesResult:
    """Reviews a face set, or the sets of all people of an extraction.

    Args:
        folder: a face set or a folder of persons' sets.
        sort: key to order the record by, a leading ``-`` for falling order.
        drop: leave out the faces that meet a query.
        keep: leave out all others.
        restore: first bring back what was dropped by hand.
        delete: remove the pictures of faces that were dropped.
        check: compare the record with what is there.
        repair: rebuild the record from what is there.
        sheets: whether to write contact sheets.

    Raises:
        FaceSetError: no face set, or a damaged record (without `repair`).
        QueryError: a query or key that cannot be understood.
    """
    folder = Path(folder)
    queries = [parse_query(text) for text in (drop, keep) if text]
    if sort:
        read_key(_nobody(), sort.removeprefix("-"))
    del queries
    parts = list_sets(folder)
    problems: list[str] = []
    changed = deleted = 0
    kept: list[tuple[Path, FaceRecord]] = []
    reasons: Counter[str] = Counter()
    for part in parts:
        if repair:
            problems += repair_set(part)
        elif check:
            problems += check_set(part)
        header, records, left = _read_all(part)
        changed += len(records)
        records, left, moved = _choose(records, left, drop, keep, restore=restore)
        changed -= len(records) - moved
        if sort:
            key, falling = sort.removeprefix("-"), sort.startswith("-")
            records.sort(key=lambda r: read_key(r, key), reverse=falling)
        if drop or keep or restore or sort:
            _write_all(part, header, records, left)
        if delete:
            deleted += _delete_pictures(part, left)
        kept += [(part, record) for record in records]
        reasons.update(record.dropped for record in left)
    written = _write_sheets(folder, kept) if sheets and kept else []
    counts = Counter(record.person for _, record in kept)
    return FacesResult(
        folder=str(folder),
        faces=len(kept),
        persons=tuple({"number": n, "faces": counts[n]} for n in sorted(counts)),
        dropped=dict(sorted(reasons.items())),
        changed=changed,
        deleted=deleted,
        sheets=tuple(str(path) for path in written),
        problems=tuple(problems),
    )


def _nobody() -> FaceRecord:
    return FaceRecord("", "", 0, 0.0, (0.0, 0.0, 0.0, 0.0), 0.0, (), (), 0.0)


def _read_all(
    folder: Path,
) -> tuple[dict[str, Any], list[FaceRecord], list[FaceRecord]]:
    from deepfake_jax.faceset import read_record

    header, records = read_record(folder)
    path, left = folder / DROPPED_NAME, []
    if path.exists():
        left = [make_record(line) for n, line in read_lines(path) if n > 1]
    return header, records, left


def _choose(
    records: list[FaceRecord],
    left: list[FaceRecord],
    drop: str,
    keep: str,
    *,
    restore: bool,
) -> tuple[list[FaceRecord], list[FaceRecord], int]:
    """Faces kept and left out by queries, and how many came back before."""
    back: list[FaceRecord] = []
    if restore:
        back = [r for r in left if r.dropped.startswith(QUERY_MARK)]
        left = [r for r in left if not r.dropped.startswith(QUERY_MARK)]
        records = [*records, *(replace(r, dropped="") for r in back)]
        records.sort(key=lambda r: r.file)
    for text, wanted in ((drop, False), (keep, True)):
        if not text:
            continue
        query = parse_query(text)
        out = [r for r in records if query(r) != wanted]
        records = [r for r in records if query(r) == wanted]
        note = f"{QUERY_MARK}{'not ' if wanted else ''}{text}"
        left = [*left, *(replace(r, dropped=note) for r in out)]
    return records, left, 2 * len(back)


def _write_all(
    folder: Path,
    header: dict[str, Any],
    records: list[FaceRecord],
    left: list[FaceRecord],
) -> None:
    header = {**header, "version": VERSION}
    # First where the faces go to: a kill in between leaves them twice, not nowhere.
    if left or (folder / DROPPED_NAME).exists():
        write_record(folder, header, left, name=DROPPED_NAME)
    write_record(folder, header, records)


def _delete_pictures(folder: Path, left: list[FaceRecord]) -> int:
    count = 0
    for record in left:
        path = folder / record.file
        if record.dropped and path.is_file() and path.parent == folder:
            path.unlink()
            count += 1
    return count


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
    import json

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


def _write_sheets(folder: Path, kept: list[tuple[Path, FaceRecord]]) -> list[Path]:
    sheets = {
        "sheet_people.png": _rows_by_person(kept),
        "sheet_poses.png": _rows_by_pose(kept),
        "sheet_worst.png": _rows_of_worst(kept),
    }
    for name, rows in sheets.items():
        write_picture(folder / name, draw_sheet(rows))
    return [folder / name for name in sheets]


def _rows_by_person(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for person in sorted({record.person for _, record in kept}):
        own = [pair for pair in kept if pair[1].person == person]
        tracks = len({record.track for _, record in own})
        title = f"person {person}   {len(own)} faces in {tracks} tracks"
        tiles = [_tile(own[i], "frame") for i in spread(len(own), 20)]
        rows.append(Row(title, tiles))
    return rows


def _rows_by_pose(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for high, low in zip(_PITCHES, _PITCHES[1:], strict=False):
        for left, right in zip(_YAWS, _YAWS[1:], strict=False):
            own = [
                pair
                for pair in kept
                if low <= pair[1].pitch < high and left <= pair[1].yaw < right
            ]
            if own:
                title = (
                    f"yaw {left} to {right}, pitch {low} to {high}   {len(own)} faces"
                )
                tiles = [_tile(own[i], "yaw") for i in spread(len(own), 10)]
                rows.append(Row(title, tiles))
    return rows


def _rows_of_worst(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for key, high_is_bad in _WORST.items():
        own = sorted(kept, key=lambda pair: read_key(pair[1], key), reverse=high_is_bad)
        tiles = [_tile(pair, key) for pair in own[:20]]
        rows.append(Row(f"worst by {key}", tiles))
    return rows


def _tile(pair: tuple[Path, FaceRecord], key: str) -> Tile:
    folder, record = pair
    value = getattr(record, key)
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return Tile(folder / record.file, f"{key} {text}")


def summarise(result: FacesResult, kept: list[FaceRecord]) -> str:
    """A few lines of text about a set."""
    lines = [f"{result.faces} faces in {result.folder}"]
    for person in result.persons:
        lines.append(f"  person {person['number']}: {person['faces']} faces")
    for key in ("width", "sharpness", "alignment", "occlusion", "yaw", "pitch"):
        values = np.array([getattr(record, key) for record in kept], float)
        if len(values):
            low, middle, high = np.percentile(values, [5, 50, 95])
            lines.append(f"  {key}: {middle:.2f} (90% in {low:.2f} to {high:.2f})")
    for reason, count in result.dropped.items():
        lines.append(f"  left out for {reason}: {count}")
    return "\n".join(lines)
