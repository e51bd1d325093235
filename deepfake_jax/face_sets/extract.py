"""Videos and pictures to face sets: find, align, judge, sort by person, record.

A set grows in a hidden folder beside its place and is renamed when it is whole. What a
killed or interrupted extraction left there is gone on with by the same command.
"""

import shutil
from pathlib import Path

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import (
    ExtractError,
    Extraction,
    ExtractResult,
    NothingLeftError,
)
from deepfake_jax.face_sets.face_set import RECORD_NAME, list_sets
from deepfake_jax.faces.people import (
    PersonError,
)
from deepfake_jax.faces.search_journal import holds_frames
from deepfake_jax.media.sources import Source, list_sources
from deepfake_jax.version import own_version

__all__ = ["ExtractError", "ExtractResult", "extract_faces", "own_version"]
_WORTH_KEEPING = 100  # frames; fewer are searched anew in a few seconds


def extract_faces(
    sources: list[str | Path] | str | Path,
    out: str | Path,
    config: ExtractConfig | None = None,
) -> ExtractResult:
    """Makes a face set of each person, or of those asked for, in some footage.

    Of one person the set is `out` itself; of several, `out` holds a set a person and
    people.png, which shows who is who. An extraction that was interrupted goes on where
    it stopped and comes to the same result.

    Args:
        sources: videos, pictures and folders of pictures.
        out: folder of the set or sets, made anew.
        config: which faces to keep.

    Raises:
        ExtractError: no face was found, nobody is the person asked for, or `out` exists
            and may not be replaced.
        SourceError: a source does not exist or is empty.
        VideoError: a source is no video.
        PictureError: a source is no picture.
    """
    config = config or ExtractConfig()
    out = Path(out)
    _check_out(out, overwrite=config.overwrite)
    paths = [sources] if isinstance(sources, str | Path) else sources
    files = list_sources([Path(path) for path in paths])
    partial = out.with_name(f".{out.name}.partial")
    # Before anything is written: a wrong option must not cost an earlier run's work.
    extraction = _prepare(partial, config, files)
    partial.mkdir(parents=True, exist_ok=True)
    try:
        result = extraction.run(out)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except Exception as error:
        if isinstance(error, PersonError | NothingLeftError):
            raise _keep_or_remove(partial, extraction, error) from error
        # What was found is of no use to a command that cannot succeed; a full disk
        # or memory can be mended.
        if isinstance(error, ValueError) or not holds_frames(partial):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    return result


def _keep_or_remove(
    partial: Path, extraction: Extraction, error: Exception
) -> ExtractError:
    """Keeps a long search whose faces nobody wanted: another choice is quick then."""
    if extraction.searched < _WORTH_KEEPING:
        shutil.rmtree(partial, ignore_errors=True)
        return ExtractError(str(error))
    return ExtractError(
        f"{error}. The search is kept in {partial}: the same command with another "
        "--person, --reference or limit goes on from there at once; remove that "
        "folder if you want none of it"
    )


def _prepare(folder: Path, config: ExtractConfig, sources: list[Source]) -> Extraction:
    try:
        return Extraction(folder, config, sources)
    except PersonError as error:
        raise ExtractError(str(error)) from error


def _check_out(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not all((path / RECORD_NAME).exists() for path in list_sets(out)):
        raise ExtractError(
            f"--out {out} exists and is no face set; name a new folder (it would not "
            "be safe to replace this one)"
        )
    if not overwrite:
        raise ExtractError(
            f"the face set {out} exists; give --overwrite to replace it, or name "
            "another --out"
        )
