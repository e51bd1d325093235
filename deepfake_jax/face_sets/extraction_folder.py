"""The hidden folder that an extraction works in, and the place that it takes at last.

What a later run of the same search can go on with is left there: the journal of the
search, the pictures and their lines, and by which limits these were chosen.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.face_set import RECORD_NAME
from deepfake_jax.face_sets.set_files import (
    KNOWN,
    SEARCH_ENDING,
    check_own_files,
    holds_sets,
)
from deepfake_jax.face_sets.wanted_people import NothingKept
from deepfake_jax.faces.search_journal import JOURNAL_NAME, SearchJournal, count_frames
from deepfake_jax.files import ForeignFilesError, hidden_path, replace_folder
from deepfake_jax.media.sources import Source
from deepfake_jax.output_lock import clear_partials, lock_output
from deepfake_jax.progress import count

_log = logging.getLogger("deepfake_jax")
_FILTERS_NAME = "filters.json"  # beside the journal: what the pictures were chosen by
_SEARCH_OPTIONS = ("landmarks", "start", "end", "every", "min_score")
# These choose among faces that are on disk already.
_LATER_OPTIONS = (
    *("overwrite", "person", "reference", "not_reference", "min_track", "search"),
)
_WORTH_KEEPING = 100  # frames; fewer are searched anew in a few seconds


class ExtractError(ValueError):
    """Nothing could be extracted; the text says why and the usual fix."""


@contextmanager
def work_beside(place: Path) -> Iterator[Path]:
    """Lends the hidden folder of an output, which takes its place at a good end.

    When the block raises, the folder stays if another try can go on with it.

    Raises:
        ExtractError: nothing was kept, or the folder cannot be put in its place.
        OutputBusyError: another process writes the output.
    """
    folder = hidden_path(place, SEARCH_ENDING)
    with lock_output(place):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        except NothingKept as error:
            raise _keep_or_remove(folder, error) from error
        except Exception as error:
            # What was found is of no use to a command that cannot succeed; a full disk
            # or memory can be mended.
            if isinstance(error, ValueError) or not count_frames(folder):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                clear_partials(folder)
                _log.warning(
                    "what was found is kept in %s; the same command goes on from there",
                    folder,
                )
            raise
        try:
            check_own_files(place)
            clear_partials(folder)
            replace_folder(folder, place, known=KNOWN)
        except (OSError, ForeignFilesError) as error:
            raise ExtractError(f"{error}; what was made is in {folder}") from error


def open_journal(
    folder: Path, config: ExtractConfig, header: dict[str, Any]
) -> SearchJournal:
    """The journal of this very search; pictures chosen by other limits are removed."""
    options = asdict(config)
    facts = {"header": header, "options": {k: options[k] for k in _SEARCH_OPTIONS}}
    journal = SearchJournal(folder, json.loads(json.dumps(facts)))
    if journal.resumed_frames:
        _log.warning("going on after %s", count(journal.resumed_frames, "frame"))
    limits = {k: v for k, v in options.items() if k not in _LATER_OPTIONS}
    text, path = json.dumps(limits), folder / _FILTERS_NAME
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if not journal.resumed or known != text:
        (folder / RECORD_NAME).unlink(missing_ok=True)
        for picture in folder.glob("*.png"):
            picture.unlink()
        path.write_text(text, encoding="utf-8")
    return journal


def forget_search(folder: Path) -> None:
    """Removes what only another try would need."""
    (folder / JOURNAL_NAME).unlink()
    (folder / _FILTERS_NAME).unlink()


def _keep_or_remove(partial: Path, error: NothingKept) -> ExtractError:
    if count_frames(partial) < _WORTH_KEEPING:
        shutil.rmtree(partial, ignore_errors=True)
        return ExtractError(str(error))
    return ExtractError(
        f"{error}. The search is kept in {partial}: the same command with another "
        "--person, --reference or limit goes on from there at once; remove that "
        "folder if you want none of it"
    )


def check_out(out: Path, place: Path, files: list[Source], *, overwrite: bool) -> None:
    """Refuses, before any work, an output that could not be put there at its end.

    Args:
        out: as it was named.
        place: the same with links followed.
        files: the sources.
        overwrite: whether a face set that exists may be replaced.
    """
    if Path.cwd().is_relative_to(place):
        raise ExtractError(
            f"--out {out} is the folder that you are in, or holds it, and cannot be "
            f"replaced; name a new folder, such as {out / 'faces'}"
        )
    inside = [s.path for s in files if s.path.resolve().is_relative_to(place)]
    if inside:
        raise ExtractError(
            f"--out {out} holds {inside[0].name}, which is a source; name another "
            "folder"
        )
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not place.is_dir() or not holds_sets(place):
        raise ExtractError(
            f"--out {out} exists and is no face set; name a new folder (it would not "
            "be safe to replace this one)"
        )
    check_own_files(place)
    if not overwrite:
        raise ExtractError(
            f"the face set {out} exists; give --overwrite to replace it, or name "
            "another --out"
        )
