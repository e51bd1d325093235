"""The files of face sets: what may be removed because this program wrote it."""

from collections.abc import Iterator
from pathlib import Path

from deepfake_jax.face_sets.face_record import FaceSetError, read_lines
from deepfake_jax.face_sets.face_set import DROPPED_NAME, RECORD_NAME, list_sets
from deepfake_jax.files import ForeignFilesError, check_known

PERSON_FOLDER = "person_"
PEOPLE_SHEET = "people.png"
SEARCH_ENDING = ".search"  # of the hidden folder beside the output
SHEETS = "sheet_"  # begins the names of contact sheets
# A set's own file names; which pictures are faces is in its record.
_IN_SET = (RECORD_NAME, f"{RECORD_NAME}.*", DROPPED_NAME, f"{DROPPED_NAME}.*", "*.png")
KNOWN = (PEOPLE_SHEET, *_IN_SET, *(f"{PERSON_FOLDER}*/{name}" for name in _IN_SET))


def check_own_files(folder: Path) -> None:
    """Checks that a folder has nothing but face sets of this program.

    Raises:
        ForeignFilesError: there is anything else, a picture that no record names
            included; some are named.
    """
    check_known(folder, KNOWN)
    foreign = list(_find_strange_pictures(folder))
    if foreign:
        raise ForeignFilesError(
            f"{folder} holds {len(foreign)} picture{'s' * (len(foreign) > 1)} that no "
            f"record names ({', '.join(foreign[:3])}) and is not replaced; move what "
            f"is yours elsewhere, or run `deepfake-jax faces {folder} --repair`, or "
            "name another folder"
        )


def _find_strange_pictures(folder: Path) -> Iterator[str]:
    parts = [folder, *folder.glob(f"{PERSON_FOLDER}*")]
    for part in parts:
        if not part.is_dir():
            continue
        listed = {PEOPLE_SHEET} if part == folder else set()
        for name in (RECORD_NAME, DROPPED_NAME):
            listed |= _list_files(part / name)
        for path in sorted(part.glob("*.png")):
            ours = path.name in listed or path.name.startswith(SHEETS)
            if not ours and not path.name.startswith("."):
                yield str(path.relative_to(folder))


def _list_files(record: Path) -> set[str]:
    if not record.exists():
        return set()
    try:
        return {str(line.get("file")) for _, line in read_lines(record)}
    except FaceSetError:  # the pictures of a damaged record are not known
        return set()


def find_person(folder: Path) -> int | None:
    """The number of the person whose folder it is; None where its name tells none."""
    number = folder.name.removeprefix(PERSON_FOLDER)
    return int(number) if number.isdecimal() and number != folder.name else None


def holds_sets(folder: Path) -> bool:
    """Whether a folder is a face set or holds several people's."""
    return all((path / RECORD_NAME).exists() for path in list_sets(folder))
