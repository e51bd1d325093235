"""Both records of a set together: the faces that are in it, and those left out."""

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
    path, left = folder / DROPPED_NAME, []
    if path.exists():
        try:
            left = [make_record(line) for n, line in read_lines(path) if n > 1]
        except TypeError as error:
            raise FaceSetError(
                f"{path}: {error}; `deepfake-jax faces {folder} --repair` mends it"
            ) from None
    return header, records, left


def write_both(
    folder: Path,
    header: dict[str, Any],
    records: list[FaceRecord],
    left: list[FaceRecord],
) -> None:
    """Writes both records, each in one piece."""
    header = {**header, "version": VERSION}
    # First where the faces go to: a kill in between leaves them twice, not nowhere.
    if left or (folder / DROPPED_NAME).exists():
        write_record(folder, header, left, name=DROPPED_NAME)
    write_record(folder, header, records)
