"""Both records of a set together: the faces that are in it, and those left out."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake_jax.face_sets.face_record import (
    FaceRecord,
    FaceSetError,
    make_record,
    read_lines,
)
from deepfake_jax.face_sets.face_set import (
    DROPPED_NAME,
    VERSION,
    read_record,
    write_record,
)

QUERY_MARK = "query "  # begins the reason of a face that was dropped by hand


def read_both(
    folder: Path,
) -> tuple[dict[str, Any], list[FaceRecord], list[FaceRecord]]:
    """A set's header, its faces and those left out.

    Raises:
        FaceSetError: as `read_record`, of either file.
    """
    header, records = read_record(folder)
    # What an edit that was cut short left in both is in the set.
    listed = {record.file for record in records}
    left = [
        record
        for record in _read_left(folder)
        if record.file not in listed or not record.dropped.startswith(QUERY_MARK)
    ]
    return header, records, left


def _read_left(folder: Path) -> list[FaceRecord]:
    path = folder / DROPPED_NAME
    if not path.exists():
        return []
    try:
        return [make_record(line) for n, line in read_lines(path) if n > 1]
    except TypeError as error:
        raise FaceSetError(
            f"{path}: {error}; `deepfake-jax faces {folder} --repair` mends it"
        ) from None


def write_both(
    folder: Path,
    header: dict[str, Any],
    records: list[FaceRecord],
    left: list[FaceRecord],
) -> None:
    """Writes both records, each in one piece.

    First where faces go to: a kill in between leaves them in both, not in none.
    """
    header = {**header, "version": VERSION}
    wanted = {record.file for record in records} - {record.file for record in left}
    back = [record for record in _read_left(folder) if record.file in wanted]
    if left or (folder / DROPPED_NAME).exists():
        write_record(folder, header, [*left, *back], name=DROPPED_NAME)
    write_record(folder, header, records)
    if back:
        write_record(folder, header, left, name=DROPPED_NAME)


def can_return(folder: Path, record: FaceRecord) -> bool:
    """Whether a face that was left out can come back: its picture is there."""
    return record.dropped.startswith(QUERY_MARK) and (folder / record.file).is_file()


def bring_back(
    folder: Path,
    records: list[FaceRecord],
    left: list[FaceRecord],
    *,
    files: Collection[str] | None = None,
) -> tuple[list[FaceRecord], list[FaceRecord]]:
    """Both records when those left out by hand or query have come back, by order.

    Args:
        folder: the set's.
        records: faces that are in it.
        left: faces left out.
        files: the only ones to bring back; None takes all.
    """
    back, staying = list[FaceRecord](), list[FaceRecord]()
    for record in left:
        asked = files is None or record.file in files
        returns = asked and can_return(folder, record)
        (back if returns else staying).append(record)
    records = [*records, *(replace(record, dropped="") for record in back)]
    return sorted(records, key=lambda r: r.order), staying
