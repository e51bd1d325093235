"""An extraction under way: search the sources, write the faces, sort them by person.

It works in one folder and leaves there what a later run of the same search can go on
with: the journal of the search, the pictures and their lines, and by which limits these
were chosen.
"""

import json
import logging
import shutil
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.face_set import RECORD_NAME, list_sets, make_header
from deepfake_jax.face_sets.face_writer import FaceWriter, recall_pictures
from deepfake_jax.face_sets.sort_by_person import PersonSet, sort_out
from deepfake_jax.faces.footage_search import Scan, ScanOptions
from deepfake_jax.faces.people import (
    People,
    PersonError,
    choose_persons,
    read_references,
    sort_people,
)
from deepfake_jax.faces.search_journal import JOURNAL_NAME, ScanLog, holds_frames
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.media.sources import Source, describe_source, list_sources, parse_time
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.progress import Progress
from deepfake_jax.version import own_version

_log = logging.getLogger("deepfake_jax")
FILTERS_NAME = "filters.json"  # beside the journal: what the pictures were chosen by
_SEARCH_OPTIONS = ("landmarks", "start", "end", "every", "min_score", "min_size")
_WORTH_KEEPING = 100  # frames; fewer are searched anew in a few seconds


class ExtractError(ValueError):
    """Nothing could be extracted; the text says why and the usual fix."""


class NothingLeftError(ValueError):
    """Faces were found, and none was good enough."""


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


class Extraction:
    """An extraction under way, in its hidden folder."""

    def __init__(self, folder: Path, config: ExtractConfig, sources: list[Source]):
        self.folder, self.config, self.sources = folder, config, sources
        self.start = parse_time(config.start, option="--start") or 0.0
        self.end = parse_time(config.end, option="--end")
        pictures = [*config.reference]
        self.person = config.person
        if not (self.person in ("each", "main", "all") or self.person.isdecimal()):
            pictures.append(self.person)
        self.wanted = read_references(pictures, option="--person or --reference")
        self.unwanted = read_references(
            [*config.not_reference], option="--not-reference"
        )
        self.header = make_header([describe_source(s) for s in sources], own_version())
        self.header["landmarks"] = config.landmarks
        self.dropped: Counter[str] = Counter()
        self.faces_of: Counter[int] = Counter()
        self.films: set[int] = set()
        self.together: set[tuple[int, int]] = set()
        self.searched = 0

    def run(self, out: Path) -> ExtractResult:
        """Searches the sources and sorts the faces by person."""
        recall_pictures(self.folder)
        journal = ScanLog(self.folder, self._facts())
        if journal.resumed_frames:
            _log.warning("going on after %d frames", journal.resumed_frames)
        self._forget_other_pictures(resumed=journal.resumed)
        scan = Scan(self._scan_options(), journal=journal)
        writer = FaceWriter(self.folder, self.config, scan.watch)
        start = time.monotonic()
        try:
            self._read(scan, writer)
        finally:
            writer.close()
            journal.close()
        seconds = time.monotonic() - start
        self.searched = scan.frames
        self._check_found(scan, writer)
        people = self._sort(scan)
        chosen = choose_persons(people, self.person, self.wanted, self.unwanted)
        sets = sort_out(
            self.folder,
            self.header,
            people,
            chosen,
            one=self.person == "all" or len(self.wanted) > 0,
            out=out,
            dropped=self.dropped,
        )
        (self.folder / JOURNAL_NAME).unlink()
        (self.folder / FILTERS_NAME).unlink()
        before, after = scan.meter.medians()
        return ExtractResult(
            frames=scan.frames,
            faces=sum(person.faces for person in sets),
            persons=tuple(sets),
            dropped=dict(sorted(self.dropped.items())),
            frames_per_second=round(scan.frames / max(seconds, 1e-9), 2),
            parts=scan.watch.shares(),
            jitter_before=before,
            jitter_after=after,
            resumed_frames=journal.resumed_frames,
            problems=tuple(scan.problems),
            out=str(out),
        )

    def _facts(self) -> dict[str, Any]:
        """What a journal must be of to be gone on with."""
        options = asdict(self.config)
        search = {name: options[name] for name in _SEARCH_OPTIONS}
        return json.loads(json.dumps({"header": self.header, "options": search}))

    def _forget_other_pictures(self, *, resumed: bool) -> None:
        """Keeps an earlier run's pictures only if the same limits chose them."""
        options = asdict(self.config)
        # These choose among faces that are on disk already.
        later = ("overwrite", "person", "reference", "not_reference", "min_track")
        filters = json.dumps({k: v for k, v in options.items() if k not in later})
        path = self.folder / FILTERS_NAME
        if resumed and path.exists() and path.read_text(encoding="utf-8") == filters:
            return
        (self.folder / RECORD_NAME).unlink(missing_ok=True)
        for picture in self.folder.glob("*.png"):
            picture.unlink()
        path.write_text(filters, encoding="utf-8")

    def _scan_options(self) -> ScanOptions:
        config = self.config
        return ScanOptions(
            landmarks=config.landmarks,
            min_score=config.min_score,
            min_size=config.min_size,
            every=config.every,
            start=self.start,
            end=self.end,
            steady=config.steady,
        )

    def _read(self, scan: Scan, writer: FaceWriter) -> None:
        counts = [
            source.expect_frames(
                start=self.start, end=self.end, every=self.config.every
            )
            for source in self.sources
        ]
        total = None if None in counts else sum(count or 0 for count in counts)
        alone, seen = len(self.sources) == 1, 0
        with Progress("extract", total=total, unit="frame") as progress:
            for number, source in enumerate(self.sources):
                with closing(scan.read(source, alone=alone)) as stream:
                    for timed, _, faces in stream:
                        self._take(writer, number, source, timed, faces)
                        seen += 1
                        progress.update_to(seen, f"{writer.kept} faces")

    def _check_found(self, scan: Scan, writer: FaceWriter) -> None:
        self.dropped.update(writer.dropped)
        if scan.small:
            self.dropped["size"] += scan.small
        if not writer.kept:
            kind = NothingLeftError if writer.dropped else ExtractError
            raise kind(self._nothing(scan))

    def _take(
        self,
        writer: FaceWriter,
        number: int,
        source: Source,
        timed: TimedFrame,
        faces: list[TrackedFace],
    ) -> None:
        kept = []
        for face in faces:
            if source.kind == "video":
                self.films.add(face.track)
            if not writer.write(number, source, timed, face):
                kept.append(face.track)
                self.faces_of[face.track] += 1
        self.together.update(combinations(kept, 2))

    def _nothing(self, scan: Scan) -> str:
        names = ", ".join(source.path.name for source in self.sources[:3])
        more = " and others" if len(self.sources) > 3 else ""
        left = ", ".join(f"{n} for {why}" for why, n in sorted(self.dropped.items()))
        left = f" ({left} left out)" if left else ""
        return (
            f"no face found in {scan.frames} frames of {names}{more}{left}; nothing "
            f"was written. Lower --min-score (now {self.config.min_score}) or "
            f"--min-size (now {self.config.min_size}) or another limit"
        )

    def _sort(self, scan: Scan) -> People:
        """Who is who, tracks that are too short left out."""
        least = min(self.config.min_track, max(1, scan.frames // 2))
        faces = {}
        for track, count in self.faces_of.items():
            if track in self.films and count < least:
                self.dropped["short track"] += count
            else:
                faces[track] = count
        people = sort_people(scan.embeddings, faces, self.together)
        if not people.person_of:
            raise NothingLeftError(self._nothing(scan))
        return people


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
