"""Footage to faces in tracks, and tracks to people: the one search that all share.

Extraction, preview and conversion look for faces by this, so that the people that they
tell apart, and their numbers, are the same. Decoding, finding and steadying are stages
of their own: each has a thread and works a few frames ahead of the next; memory does
not grow with the length of a video. What was found in a video is kept, and read from
there the next time (`kept_searches`).
"""

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.face_finder import make_finder
from deepfake_jax.faces.jitter_meter import JitterMeter
from deepfake_jax.faces.kept_searches import (
    Findings,
    KeptSearch,
    SearchKeeper,
    SearchNotes,
    describe_search,
)
from deepfake_jax.faces.people import People
from deepfake_jax.faces.resumed_finder import ResumedFinder
from deepfake_jax.faces.search_journal import SearchJournal, embedding_to_json
from deepfake_jax.faces.search_tally import SearchTally
from deepfake_jax.faces.square_pixels import to_frame_pixels
from deepfake_jax.faces.steady_tracks import RADIUS, TrackedFace, steady_stream
from deepfake_jax.faces.track_views import shift_track
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import PictureError
from deepfake_jax.media.sources import Source, parse_part, read_source
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch, run_ahead
from deepfake_jax.progress import Progress, count

_log = logging.getLogger("deepfake_jax")
_AHEAD = 4  # frames between two stages
# Pixels; up to here the whole frame is converted at once, cheaper than its parts.
_SMALL_FRAME = 400 * 300
_MOST_APART = 2  # every n-th frame up to which neighbours still tell of each other


@dataclass(frozen=True, eq=False)
class SearchedFrame:
    """A frame and the faces in it.

    Attributes:
        source: number of its source, from 0.
        timed: the frame.
        faces: its faces, in tracks that last over neighbouring frames of one source.
    """

    source: int
    timed: TimedFrame
    faces: list[TrackedFace]


class FootageSearch:
    """Finds and follows the faces of sources, one after another.

    Args:
        config: what is looked for, and in which part of videos.
        every: only each so many-th frame of a video is looked at.
        journal: what an interrupted search has found so far, and where to note more.
        keeper: where searches of videos are kept.
        cut_from_whole: whether a part of a video may be taken from a kept search of
            all of it: its people are then those of the whole.

    Attributes:
        frames: frames searched.
        last_frames: index of the last frame searched of each source.
        damaged: frames of each source that cannot be trusted.
        deinterlaced: sources of which frames were drawn whole of half pictures.
        problems: sources that could be read in part only.
        meter: jitter before and after.
        watch: time of each part.

    Raises:
        ValueError: a part that ends before it starts.
    """

    def __init__(
        self,
        config: SearchConfig,
        *,
        every: int = 1,
        journal: SearchJournal | None = None,
        keeper: SearchKeeper | None = None,
        cut_from_whole: bool = False,
    ):
        start, self._end = parse_part(config.start, config.end)
        self._start, self._every, self._config = start or 0.0, every, config
        self.frames = 0
        self.last_frames: dict[int, int] = {}
        self.damaged: Counter[int] = Counter()
        self.deinterlaced: set[int] = set()
        self.problems: list[str] = []
        self.meter, self.watch = JitterMeter(), Stopwatch()
        self._tally, self._journal = SearchTally(), journal
        self._keeper = keeper or SearchKeeper()
        self._cut_from_whole = cut_from_whole
        self._kept: dict[int, KeptSearch] | None = None  # by number of the source
        self._finder: ResumedFinder | None = None
        self._tracks = 0  # of the sources before

    def prepare(self, sources: Sequence[Source]) -> None:
        """Asks which sources were searched before, and loads networks for the others.

        Raises:
            AssetError, ImportError: a network cannot be had.
        """
        self._kept = {}
        for number, source in enumerate(sources):
            facts = self._describe(source)
            # An interrupted search of its own goes on.
            begun = self._journal is not None and self._journal.peek(number) is not None
            if facts and self._config.search == "kept" and not begun:
                kept = self._keeper.find(facts)
                if kept is None and self._cut_from_whole:
                    kept = self._keeper.find({**facts, "start": 0.0, "end": None})
                if kept is not None:
                    self._kept[number] = kept
        known = [sources[number].path.name for number in self._kept]
        if known:
            more = f" and {len(known) - 3} more" if len(known) > 3 else ""
            _log.warning(
                "%s%s: searched before, so the faces are those that were found then; "
                "--search again looks for them anew",
                ", ".join(known[:3]),
                more,
            )
        if len(known) < len(sources) and self._finder is None:
            film = self._every <= _MOST_APART
            finder = make_finder(self._config, film=film, watch=self.watch)
            self._finder = ResumedFinder(finder, self._tally, self._journal)

    def search(
        self,
        sources: Sequence[Source],
        *,
        label: str = "search",
        pictures: bool = True,
    ) -> Generator[SearchedFrame]:
        """The frames of some sources with their faces.

        Args:
            sources: what to read.
            label: what the progress bar says.
            pictures: whether the frames' pictures are wanted; without, what was
                searched before need not be decoded.

        Raises:
            VideoError, PictureError: the only source cannot be read at all.
        """
        if self._kept is None:
            self.prepare(sources)
        part = {"start": self._start, "end": self._end, "every": self._every}
        counts = [source.expect_frames(**part) for source in sources]
        total = None if None in counts else sum(count or 0 for count in counts)
        seen = faces = 0
        with Progress(label, total=total, unit="frame") as progress:
            for number, source in enumerate(sources):
                stream = self._open(number, source, len(sources) == 1, pictures)
                with closing(stream):
                    for timed, found in stream:
                        self.last_frames[number] = timed.index
                        self.damaged[number] += timed.damaged
                        if timed.deinterlaced:
                            self.deinterlaced.add(number)
                        yield SearchedFrame(number, timed, found)
                        seen, faces = seen + 1, faces + len(found)
                        progress.update_to(seen, count(faces, "face"))

    @property
    def resumed_frames(self) -> int:
        """Frames that an earlier, interrupted search has seen."""
        return 0 if self._journal is None else self._journal.resumed_frames

    @property
    def frames_of(self) -> Counter[int]:
        """In how many frames each track was found with sure landmarks."""
        return self._tally.frames_of

    def sort_people(self) -> People:
        """Who is who, of all that was searched so far."""
        return self._tally.sort_people()

    def _describe(self, source: Source) -> dict[str, Any]:
        """What decides a search of a source; empty where it is not kept."""
        part = (self._start, self._end)
        return describe_search(source, self._config, every=self._every, part=part)

    def _open(
        self, number: int, source: Source, alone: bool, pictures: bool
    ) -> Generator[tuple[TimedFrame, list[TrackedFace]]]:
        kept = None if self._kept is None else self._kept.get(number)
        if kept is None:
            return self._note(number, source, alone=alone)
        if pictures:
            decoded = self.watch.follow("decode", self._decode(source, alone=alone))
            return self._replay(kept, run_ahead(decoded, ahead=_AHEAD))
        return self._replay(kept, None)

    def _replay(
        self, kept: KeptSearch, decoded: Generator[TimedFrame] | None
    ) -> Generator[tuple[TimedFrame, list[TrackedFace]]]:
        """The frames of a kept search, with their pictures where these are decoded."""
        findings, first = kept.findings, self._tracks
        self._tracks += findings.tracks
        self._tally.note_cuts(findings.views, first_track=first)
        self.meter.add_counts(findings.jitter)
        with closing(run_ahead((), ahead=1) if decoded is None else decoded) as frames:
            for known in kept.frames(first_track=first):
                found = tuple(face for face in known.faces if not face.filled)
                self._tally.count(known.index, found)
                late = self._end is not None and known.time >= self._end
                if known.time < self._start or late:
                    continue
                self.frames += 1
                timed = TimedFrame(known.index, known.time, 0, 0)
                if decoded is not None:
                    timed = known.check_same(next(frames, None))
                yield timed, known.faces
            for _ in frames:  # to its end, which says what is wrong with the file
                pass

    def _note(
        self, number: int, source: Source, *, alone: bool
    ) -> Generator[tuple[TimedFrame, list[TrackedFace]]]:
        """The frames of a search, which is kept when it has come to its end."""
        finder, first = self._finder, self._tracks
        assert finder is not None
        finder.start_source(number, first_track=first)
        views, troubles = len(self._tally.embeddings), len(self.problems)
        before = self.meter.counts()
        facts = self._describe(source)
        if self._config.hands and not finder.sees_hands:
            facts = {}  # or what lacks hands would be taken for a whole search
        notes = SearchNotes(self._keeper, facts, first_track=first)
        with (
            closing(notes),
            closing(self._read(finder, source, alone=alone)) as stream,
        ):
            for timed, faces in stream:
                if facts:
                    notes.add(timed.index, timed.time, faces)
                yield timed, faces
            self._tracks = finder.next_track
            # What could not be read to its end may be whole the next time.
            if facts and len(self.problems) == troubles:
                own = [shift_track(v, -first) for v in self._tally.embeddings[views:]]
                jitter = self.meter.counts() - before
                notes.finish(
                    Findings(
                        self._tracks - first,
                        [embedding_to_json(view) for view in own],
                        [[*place, often] for place, often in jitter.items()],
                    )
                )

    def _read(
        self, finder: ResumedFinder, source: Source, *, alone: bool
    ) -> Generator[tuple[TimedFrame, list[TrackedFace]]]:
        film = source.kind == "video" and self._every <= _MOST_APART
        decoded = self.watch.follow("decode", self._decode(source, alone=alone))
        with (
            closing(run_ahead(decoded, ahead=_AHEAD)) as frames,
            closing(run_ahead(finder.find(frames), ahead=_AHEAD)) as found,
        ):
            for timed, _, faces in steady_stream(
                found,
                radius=RADIUS if film and self._config.steady else 0,
                meter=self.meter if film else None,
            ):
                self.frames += 1
                yield timed, to_frame_pixels(timed, faces)

    def _decode(self, source: Source, *, alone: bool) -> Iterator[TimedFrame]:
        """Frames asked for; what is damaged is noted where the rest can be used."""
        read = 0
        try:
            for timed in read_source(source):
                read += 1
                if source.kind == "video":
                    if self._end is not None and timed.time >= self._end:
                        return
                    if timed.time < self._start or timed.index % self._every:
                        continue
                    if timed.size[0] * timed.size[1] <= _SMALL_FRAME:
                        # Wanted whole later on: converted here, where there is time.
                        _ = timed.frame
                yield timed
        except (VideoError, PictureError) as error:
            if read == 0 and alone:
                raise
            self.problems.append(str(error))
            _log.warning("%s", error)
