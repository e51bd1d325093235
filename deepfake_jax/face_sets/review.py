"""Looking through face sets: summaries, contact sheets, dropping, checks and repairs.

The record is edited, not the pictures: a face that is dropped moves from
``faces.jsonl`` to ``dropped.jsonl`` and comes back with ``--restore``. Pictures are
removed by ``--delete`` alone, and only those of faces that were dropped.
"""

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepfake_jax.face_sets.both_records import (
    QUERY_MARK,
    bring_back,
    read_both,
    write_both,
)
from deepfake_jax.face_sets.contact_sheets import write_sheets
from deepfake_jax.face_sets.face_queries import check_key, parse_query, read_key
from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.face_sets.face_set import list_sets
from deepfake_jax.face_sets.repair import check_set, list_damaged_sets, repair_set
from deepfake_jax.files import file_crc
from deepfake_jax.output_lock import lock_output
from deepfake_jax.progress import count

_log = logging.getLogger("deepfake_jax")


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
        OutputBusyError: another process writes the set.
    """
    folder, edit = Path(folder), _Edit(sort, drop, keep, restore, delete)
    edit.check()
    parts = list_damaged_sets(folder) if repair or check else list_sets(folder)
    problems: list[str] = []
    edited: dict[Path, _Edited] = {}
    with ExitStack() as stack:
        if folder.is_dir() and (edit.changes or delete or repair or sheets):
            # A person's set may be reviewed by itself meanwhile, too.
            for place in dict.fromkeys((folder, *parts)):
                stack.enter_context(lock_output(place))
        for part in parts:
            if repair:
                problems += repair_set(part)
            elif check:
                found = _check(part, alone=len(parts) == 1)
                problems += found
                if found and not (edit.changes or delete) and not _is_readable(part):
                    continue
            edited[part] = _edit_set(part, edit)
        kept = [(part, face) for part, own in edited.items() for face in own.records]
        written = write_sheets(folder, kept) if sheets and kept else []
    counts = Counter(record.person for _, record in kept)
    reasons = Counter(face.dropped for own in edited.values() for face in own.left)
    return FacesResult(
        folder=str(folder),
        faces=len(kept),
        persons=tuple({"number": n, "faces": counts[n]} for n in sorted(counts)),
        dropped=dict(sorted(reasons.items())),
        changed=sum(own.changed for own in edited.values()),
        deleted=sum(own.deleted for own in edited.values()),
        sheets=tuple(str(path) for path in written),
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Edit:
    """What is to be changed in each set; see `review_faces`."""

    sort: str
    drop: str
    keep: str
    restore: bool
    delete: bool

    @property
    def changes(self) -> bool:
        """Whether records are written anew."""
        return bool(self.drop or self.keep or self.sort or self.restore)

    def check(self) -> None:
        """Raises QueryError where a query or key cannot be understood."""
        for text in (self.drop, self.keep):
            if text:
                parse_query(text)
        if self.sort:
            check_key(self.sort.removeprefix("-"))


@dataclass(frozen=True)
class _Edited:
    """A set after that: its faces, those left out, and how many changed or went."""

    records: list[FaceRecord]
    left: list[FaceRecord]
    changed: int
    deleted: int


def _edit_set(folder: Path, edit: _Edit) -> _Edited:
    header, records, left = read_both(folder)
    changed = 0
    if edit.restore:
        before = len(records)
        records, left = bring_back(folder, records, left)
        changed += len(records) - before
    for text, wanted in ((edit.drop, False), (edit.keep, True)):
        if text:
            query, note = parse_query(text), f"{QUERY_MARK}{'not ' * wanted}{text}"
            out = [replace(r, dropped=note) for r in records if query(r) != wanted]
            records = [r for r in records if query(r) == wanted]
            left = [*left, *out]
            changed += len(out)
    if edit.sort:
        key, falling = edit.sort.removeprefix("-"), edit.sort.startswith("-")
        records.sort(key=lambda r: read_key(r, key), reverse=falling)
    if edit.changes:
        write_both(folder, header, records, left)
    deleted = _delete_pictures(folder, left) if edit.delete else 0
    return _Edited(records, left, changed, deleted)


def _check(folder: Path, *, alone: bool) -> list[str]:
    try:
        return check_set(folder)
    except FaceSetError as error:
        if alone:
            raise
        return [str(error)]


def _is_readable(folder: Path) -> bool:
    try:
        read_both(folder)
    except FaceSetError:
        return False
    return True


def _delete_pictures(folder: Path, left: list[FaceRecord]) -> int:
    """Removes the pictures of faces left out; another picture of that name stays."""
    removed = 0
    for record in left:
        path = folder / record.file
        if not (record.dropped and path.is_file() and path.parent == folder):
            continue
        if record.picture and file_crc(path) != record.picture:
            _log.warning("%s: is not the picture that was recorded; it stays", path)
            continue
        path.unlink()
        removed += 1
    return removed


def summarise(result: FacesResult, kept: list[FaceRecord]) -> str:
    """A few lines of text about a set."""
    lines = [f"{count(result.faces, 'face')} in {result.folder}"]
    for person in result.persons:
        lines.append(f"  person {person['number']}: {count(person['faces'], 'face')}")
    for key in ("width", "sharpness", "alignment", "occlusion", "yaw", "pitch"):
        values = np.array([getattr(record, key) for record in kept], float)
        if len(values):
            low, middle, high = np.percentile(values, [5, 50, 95])
            lines.append(f"  {key}: {middle:.2f} (90% in {low:.2f} to {high:.2f})")
    for reason, number in result.dropped.items():
        lines.append(f"  left out for {reason}: {number}")
    return "\n".join(lines)
