"""An extraction: search the sources, write the faces, sort them by person.

Which people there are, and their numbers, is up to the search alone; the limits decide
which of their faces are stored.
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction_folder import (
    ExtractError,
    check_out,
    forget_search,
    open_journal,
    work_beside,
)
from deepfake_jax.face_sets.face_set import make_header
from deepfake_jax.face_sets.face_writer import FaceWriter, recall_pictures
from deepfake_jax.face_sets.sort_by_person import PersonSet, sort_out
from deepfake_jax.face_sets.wanted_people import (
    NothingKept,
    Wanted,
    choose_wanted,
    count_kept,
    read_wanted,
)
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.faces.people import PersonError
from deepfake_jax.media.sources import Source, describe_source, list_sources, parse_part
from deepfake_jax.progress import count
from deepfake_jax.version import own_version

_log = logging.getLogger("deepfake_jax")


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
    check_out(out, place, files, overwrite=config.overwrite)
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
    with work_beside(place) as folder:
        return _extract(folder, config, files, wanted, header, out)


def _extract(
    folder: Path,
    config: ExtractConfig,
    sources: list[Source],
    wanted: Wanted,
    header: dict[str, Any],
    out: Path,
) -> ExtractResult:
    """Searches the sources and leaves the sets in a folder that becomes `out`."""
    search, writer, seconds = _search(folder, config, sources, header)
    dropped = Counter(writer.dropped)
    short = _find_short(search, writer, sources, config)
    dropped["short track"] += sum(len(writer.kept_of.get(track, ())) for track in short)
    people = search.sort_people()
    kept = count_kept(people, writer.kept_of, short)
    if not kept:
        kind = NothingKept if writer.source_of else ExtractError
        raise kind(_explain_nothing(search.frames, sources, dropped, config))
    chosen = choose_wanted(people, wanted, kept)
    for number, source in enumerate(header["sources"]):
        source["last"] = search.last_frames.get(number)
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
    forget_search(folder)
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
        resumed_frames=search.resumed_frames,
        problems=(*search.problems, *_tell_damage(search, sources)),
        out=str(out),
    )


def _search(
    folder: Path,
    config: ExtractConfig,
    sources: list[Source],
    header: dict[str, Any],
) -> tuple[FootageSearch, FaceWriter, float]:
    """Writes all faces of the sources into a folder; the seconds that it took, too."""
    recall_pictures(folder)
    journal = open_journal(folder, config, header)
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
    return search, writer, time.monotonic() - start


def _tell_damage(search: FootageSearch, sources: list[Source]) -> list[str]:
    """Says which sources are interlaced; gives those with frames left out."""
    for number in sorted(search.deinterlaced):
        _log.warning(
            "%s is interlaced; its frames were made whole pictures",
            sources[number].path.name,
        )
    return [
        f"{sources[number].path}: {frames} of its frames are damaged and were left "
        "out; copy or download it again"
        for number, frames in sorted((+search.damaged).items())
    ]


def _find_short(
    search: FootageSearch,
    writer: FaceWriter,
    sources: list[Source],
    config: ExtractConfig,
) -> set[int]:
    """Tracks of videos that were seen in too few frames to be stored."""
    least = min(config.min_track, max(1, search.frames // 2))
    return {
        track
        for track, number in writer.source_of.items()
        if sources[number].kind == "video" and search.frames_of[track] < least
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
