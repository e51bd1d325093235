"""An extraction: search the sources, write the faces, sort them by person.

It works in a hidden folder and leaves there what a later run of the same search can go
on with: the journal of the search, the pictures and their lines, and by which limits
these were chosen. Which people there are, and their numbers, is up to the search alone;
the limits decide which of their faces are stored.
"""

import json
import logging
import shutil
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.face_set import RECORD_NAME, make_header
from deepfake_jax.face_sets.face_writer import FaceWriter, recall_pictures
from deepfake_jax.face_sets.set_files import (
    KNOWN,
    SEARCH_ENDING,
    check_own_files,
    holds_sets,
)
from deepfake_jax.face_sets.sort_by_person import PersonSet, sort_out
from deepfake_jax.face_sets.wanted_people import (
    NothingKept,
    Wanted,
    choose_wanted,
    count_kept,
    read_wanted,
)
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.faces.people import (
    PersonError,
)
from deepfake_jax.faces.search_journal import (
    JOURNAL_NAME,
    SearchJournal,
    count_frames,
)
from deepfake_jax.files import (
    ForeignFilesError,
    clear_partials,
    hidden_path,
    lock_output,
    replace_folder,
)
from deepfake_jax.media.sources import (
    Source,
    describe_source,
    list_sources,
    parse_part,
)
from deepfake_jax.progress import count
from deepfake_jax.version import own_version

_log = logging.getLogger("deepfake_jax")
FILTERS_NAME = "filters.json"  # beside the journal: what the pictures were chosen by
_SEARCH_OPTIONS = ("landmarks", "start", "end", "every", "min_score")
# These choose among faces that are on disk already.
_LATER_OPTIONS = (
    *("overwrite", "person", "reference", "not_reference", "min_track", "search"),
)
_WORTH_KEEPING = 100  # frames; fewer are searched anew in a few seconds


class ExtractError(ValueError):
    """Nothing could be extracted; the text says why and the usual fix."""


@dataclass(frozen=True)
class ExtractResult:
    """What an extraction gave.

    Attributes:
        frames: frames searched.
        faces: faces in the sets.
        persons: whose they are, the one seen most first; several may share a folder.
        dropped: faces left out, by reason.
        frames_per_second: of the whole extraction, start-up left out.
        parts: share of the work of each part; parts overlap.
        jitter_before: median tremble of the alignments as found, in pixels of the face
            picture; None of pictures.
        jitter_after: the same after steadying.
        resumed_frames: frames that an earlier, interrupted run had searched.
        problems: sources that could be read in part only.
        out: the set's folder, or that of all sets.
    """

    frames: int
    faces: int
    persons: tuple[PersonSet, ...]
    dropped: dict[str, int]
    frames_per_second: float
    parts: dict[str, float]
    jitter_before: float | None
    jitter_after: float | None
    resumed_frames: int
    problems: tuple[str, ...]
    out: str


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
        ForeignFilesError: `out` holds what this program did not write.
        OutputBusyError: another process writes `out`.
        SourceError: a source does not exist or is empty.
        VideoError: a source is no video.
        PictureError: a source is no picture.
    """
    config, out = config or ExtractConfig(), Path(out)
    paths = [sources] if isinstance(sources, str | Path) else sources
    files = list_sources([Path(path) for path in paths])
    place = out.resolve()
    _check_out(out, place, files, overwrite=config.overwrite)
    # Before anything is written: a wrong option must not cost an earlier run's work.
    start, end = parse_part(config.start, config.end)
    try:
        wanted = read_wanted(config)
    except PersonError as error:
        raise ExtractError(str(error)) from error
    listed = [{"number": n, **describe_source(file)} for n, file in enumerate(files)]
    header = make_header(listed, own_version())
    header["landmarks"] = config.landmarks
    header["search"] = {"every": config.every, "start": start or 0.0, "end": end}
    folder = hidden_path(place, SEARCH_ENDING)
    with lock_output(place):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = _extract(folder, config, files, wanted, header, out)
        except NothingKept as error:
            raise _keep_or_remove(folder, error) from error
        except Exception as error:
            # What was found is of no use to a command that cannot succeed; a full disk
            # or memory can be mended.
            if isinstance(error, ValueError) or not count_frames(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            check_own_files(place)
            clear_partials(folder)
            replace_folder(folder, place, known=KNOWN)
        except (OSError, ForeignFilesError) as error:
            raise ExtractError(f"{error}; what was made is in {folder}") from error
    return result


def _extract(
    folder: Path,
    config: ExtractConfig,
    sources: list[Source],
    wanted: Wanted,
    header: dict[str, Any],
    out: Path,
) -> ExtractResult:
    """Searches the sources and leaves the sets in a folder that becomes `out`."""
    recall_pictures(folder)
    journal = _open_journal(folder, config, header)
    search = FootageSearch(config, every=config.every, journal=journal)
    writer = FaceWriter(folder, config, [s.path.name for s in sources], search.watch)
    search.prepare(sources)
    start = time.monotonic()
    try:
        for found in search.search(sources, label="extract"):
            writer.write(found)
    finally:
        writer.close()
        journal.close()
    seconds = time.monotonic() - start
    dropped = Counter(writer.dropped)
    films = {n for n, source in enumerate(sources) if source.kind == "video"}
    short = _find_short(search, writer, films, config)
    dropped["short track"] += sum(len(writer.kept_of.get(track, ())) for track in short)
    people = search.sort_people()
    kept = count_kept(people, writer.kept_of, short)
    if not kept:
        kind = NothingKept if writer.source_of else ExtractError
        raise kind(_explain_nothing(search.frames, sources, dropped, config))
    chosen = choose_wanted(people, wanted, kept)
    for number, source in enumerate(header["sources"]):
        source["last"] = search.last_frames.get(number)
    for number in sorted(search.deinterlaced):
        _log.warning(
            "%s is interlaced; its frames were made whole pictures",
            sources[number].path.name,
        )
    problems = search.problems + [
        f"{sources[number].path}: {count} of its frames are damaged and were left out; "
        "copy or download it again"
        for number, count in sorted((+search.damaged).items())
    ]
    sets = sort_out(
        folder,
        header,
        people,
        chosen,
        short=short,
        one=wanted.as_one,
        out=out,
        dropped=dropped,
    )
    (folder / JOURNAL_NAME).unlink()
    (folder / FILTERS_NAME).unlink()
    before, after = search.meter.medians()
    return ExtractResult(
        frames=search.frames,
        faces=sum(person.faces for person in sets),
        persons=tuple(sets),
        dropped=dict(sorted((+dropped).items())),
        frames_per_second=round(search.frames / max(seconds, 1e-9), 2),
        parts=search.watch.shares(),
        jitter_before=before,
        jitter_after=after,
        resumed_frames=journal.resumed_frames,
        problems=tuple(problems),
        out=str(out),
    )


def _open_journal(
    folder: Path, config: ExtractConfig, header: dict[str, Any]
) -> SearchJournal:
    """The journal of this very search; pictures chosen by other limits are removed."""
    options = asdict(config)
    facts = {"header": header, "options": {k: options[k] for k in _SEARCH_OPTIONS}}
    journal = SearchJournal(folder, json.loads(json.dumps(facts)))
    if journal.resumed_frames:
        _log.warning("going on after %d frames", journal.resumed_frames)
    limits = {k: v for k, v in options.items() if k not in _LATER_OPTIONS}
    text, path = json.dumps(limits), folder / FILTERS_NAME
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if not journal.resumed or known != text:
        (folder / RECORD_NAME).unlink(missing_ok=True)
        for picture in folder.glob("*.png"):
            picture.unlink()
        path.write_text(text, encoding="utf-8")
    return journal


def _find_short(
    search: FootageSearch, writer: FaceWriter, films: set[int], config: ExtractConfig
) -> set[int]:
    """Tracks of videos that were seen in too few frames to be stored."""
    least = min(config.min_track, max(1, search.frames // 2))
    return {
        track
        for track, source in writer.source_of.items()
        if source in films and search.frames_of[track] < least
    }


def _explain_nothing(
    frames: int,
    sources: list[Source],
    dropped: Counter[str],
    config: ExtractConfig,
) -> str:
    names = ", ".join(source.path.name for source in sources[:3])
    names += " and others" * (len(sources) > 3)
    if not frames:
        start, end = config.start or "0", config.end or "the end"
        return (
            f"{names}: no frame is shown from {start} to {end}; nothing was written. "
            "Give another --start or --end"
        )
    left = ", ".join(f"{n} for {why}" for why, n in sorted((+dropped).items()))
    left = f" ({left} left out)" if left else ""
    return (
        f"no face found in {count(frames, 'frame')} of {names}{left}; nothing was "
        f"written. Lower --min-score (now {config.min_score}) or --min-size (now "
        f"{config.min_size}) or another limit"
    )


def _keep_or_remove(partial: Path, error: NothingKept) -> ExtractError:
    if count_frames(partial) < _WORTH_KEEPING:
        shutil.rmtree(partial, ignore_errors=True)
        return ExtractError(str(error))
    return ExtractError(
        f"{error}. The search is kept in {partial}: the same command with another "
        "--person, --reference or limit goes on from there at once; remove that "
        "folder if you want none of it"
    )


def _check_out(out: Path, place: Path, files: list[Source], *, overwrite: bool) -> None:
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
