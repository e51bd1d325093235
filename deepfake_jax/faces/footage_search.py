"""Footage to faces in tracks, and tracks to people: the one search that all share.

Extraction, preview and conversion look for faces by this, so that the people that they
tell apart, and their numbers, are the same. Decoding, finding and steadying are stages
of their own: each has a thread and works a few frames ahead of the next; memory does
not grow with the length of a video.
"""

import ctypes
import functools
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.detection import make_sized_detector
from deepfake_jax.faces.face_finder import (
    EMBED_EVERY,
    LINK_SCORE,
    FaceFinder,
)
from deepfake_jax.faces.identity import make_crop_embedder
from deepfake_jax.faces.landmark_fitting import make_fitting
from deepfake_jax.faces.people import People, TrackParts, sort_people
from deepfake_jax.faces.search_journal import (
    SearchJournal,
    embedding_from_json,
    embedding_to_json,
    frame_from_json,
    frame_to_json,
)
from deepfake_jax.faces.square_pixels import square_frame, to_frame_pixels
from deepfake_jax.faces.steady_tracks import (
    RADIUS,
    SURE,
    FrameFaces,
    JitterMeter,
    TrackedFace,
    steady_stream,
)
from deepfake_jax.faces.track_state import FinderState
from deepfake_jax.faces.track_views import TrackEmbedding
from deepfake_jax.media.media_probe import VideoError
from deepfake_jax.media.pictures import PictureError
from deepfake_jax.media.sources import Source, parse_part, read_source
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.pipeline import Stopwatch, run_ahead
from deepfake_jax.progress import Progress, count

_log = logging.getLogger("deepfake_jax")
_AHEAD = 4  # frames between two stages
_TRIM_EVERY = 8  # checkpoints
# Pixels; up to here the whole frame is converted at once, cheaper than its parts.
_SMALL_FRAME = 640 * 480
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

    Attributes:
        frames: frames searched.
        frames_of: in how many frames each track was found with sure landmarks.
        last_frames: index of the last frame searched of each source.
        damaged: frames of each source that cannot be trusted.
        deinterlaced: sources of which frames were drawn whole of half pictures.
        problems: sources that could be read in part only.
        meter: jitter before and after.
        watch: time of each part.

    Raises:
        ValueError: a part that ends before it starts.
        AssetError, ImportError: a network cannot be had.
    """

    def __init__(
        self,
        config: SearchConfig,
        *,
        every: int = 1,
        journal: SearchJournal | None = None,
    ):
        start, self._end = parse_part(config.start, config.end)
        self._start, self._every, self._steady = start or 0.0, every, config.steady
        self.frames = 0
        self.frames_of: Counter[int] = Counter()
        self.last_frames: dict[int, int] = {}
        self.damaged: Counter[int] = Counter()
        self.deinterlaced: set[int] = set()
        self.problems: list[str] = []
        self.meter, self.watch = JitterMeter(), Stopwatch()
        self._embeddings: list[TrackEmbedding] = []
        self._parts = TrackParts()
        # Found since the last checkpoint, which tells in which part of its track.
        self._uncounted: list[FrameFaces] = []
        self._journal = journal
        detect = make_sized_detector(min_score=min(LINK_SCORE, config.min_score))
        film = every <= _MOST_APART
        self._finder = FaceFinder(
            self.watch.wrap("detect", detect),
            make_fitting(config.landmarks, film=film, watch=self.watch),
            self.watch.wrap("embed", make_crop_embedder()),
            min_score=config.min_score,
        )

    def search(
        self, sources: Sequence[Source], *, label: str = "search"
    ) -> Generator[SearchedFrame]:
        """The frames of some sources with their faces.

        Args:
            sources: what to read.
            label: what the progress bar says.

        Raises:
            VideoError, PictureError: the only source cannot be read at all.
        """
        part = {"start": self._start, "end": self._end, "every": self._every}
        counts = [source.expect_frames(**part) for source in sources]
        total = None if None in counts else sum(count or 0 for count in counts)
        seen = faces = 0
        with Progress(label, total=total, unit="frame") as progress:
            for number, source in enumerate(sources):
                with closing(self._read(source, alone=len(sources) == 1)) as stream:
                    for timed, found in stream:
                        self.last_frames[number] = timed.index
                        self.damaged[number] += timed.damaged
                        if timed.deinterlaced:
                            self.deinterlaced.add(number)
                        yield SearchedFrame(number, timed, found)
                        seen, faces = seen + 1, faces + len(found)
                        progress.update_to(seen, count(faces, "face"))

    def sort_people(self) -> People:
        """Who is who, of all that was searched so far."""
        return sort_people(self._embeddings, self._parts)

    def _read(
        self, source: Source, *, alone: bool
    ) -> Generator[tuple[TimedFrame, list[TrackedFace]]]:
        film = source.kind == "video" and self._every <= _MOST_APART
        decoded = self.watch.follow("decode", self._decode(source, alone=alone))
        with (
            closing(run_ahead(decoded, ahead=_AHEAD)) as frames,
            closing(run_ahead(self._find(frames), ahead=_AHEAD)) as found,
        ):
            for timed, _, faces in steady_stream(
                found,
                radius=RADIUS if film and self._steady else 0,
                meter=self.meter if film else None,
            ):
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

    def _find(
        self, frames: Iterator[TimedFrame]
    ) -> Iterator[tuple[TimedFrame, FrameFaces]]:
        self._finder.start_source()
        for timed in frames:
            self.frames += 1
            found = self._take(timed)
            if found is None:
                found = self._finder.find(square_frame(timed))
                self._uncounted.append(found)
                if self._journal is not None:
                    self._journal.append(frame_to_json(found))
                if self._finder.state.frames % EMBED_EVERY == 0:
                    self._checkpoint(end=False)
            yield timed, found
        if not self._take_end():
            self._checkpoint(end=True)

    def _note_views(self, views: list[dict[str, Any]]) -> None:
        """Takes in who the tracks show, and counts the frames since the last time."""
        for view in map(embedding_from_json, views):
            self._embeddings.append(view)
            if view.begins >= 0:
                self._parts.cuts.setdefault(view.track, []).append(view.begins)
        for found in self._uncounted:
            # A face whose landmarks are guesses has an embedding that says little: such
            # ones resemble each other and would be one person, seen more than anybody.
            sure = sorted(f.track for f in found.faces if f.confidence >= SURE)
            self.frames_of.update(sure)
            self._parts.count(found.index, sure)
        self._uncounted.clear()

    def _checkpoint(self, *, end: bool) -> None:
        views = [embedding_to_json(view) for view in self._finder.flush()]
        if self._finder.state.flushes % _TRIM_EVERY == 0:
            trim_heap()
        state = self._finder.state.to_json()
        # Read back as an interrupted run would, so that both come to the same.
        self._note_views(views)
        if self._journal is not None:
            line = {"embeddings": views, "end": end, "state": state}
            self._journal.append(line, sync=True)

    def _take(self, timed: TimedFrame) -> FrameFaces | None:
        """What an earlier run found in a frame, its checkpoint taken along."""
        line = self._journal.peek() if self._journal is not None else None
        if self._journal is None or line is None or "faces" not in line:
            return None
        self._journal.take()
        found = frame_from_json(line)
        self._uncounted.append(found)
        line_after = self._journal.peek()
        if line_after is not None and "state" in line_after and not line_after["end"]:
            self._journal.take()
            self._restore(line_after, square_frame(timed))
        return found

    def _take_end(self) -> bool:
        line = self._journal.peek() if self._journal is not None else None
        if self._journal is None or line is None or not line.get("end"):
            return False
        self._journal.take()
        self._restore(line, None)
        return True

    def _restore(self, line: dict[str, Any], last: TimedFrame | None) -> None:
        self._note_views(line["embeddings"])
        self._finder.restore(FinderState.from_json(line["state"]), last)


def trim_heap() -> None:
    """Gives back what was freed but is kept by the C library, where that is glibc.

    Frames come and go in several threads, and glibc keeps the gaps between what
    stays: a search of 11,000 frames grew from 390 to 470 MB, of which 210 MB were
    free. Takes some milliseconds; to be called every few hundred frames.
    """
    _find_trim()(0)


@functools.cache
def _find_trim() -> Callable[[int], int]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # macOS, Windows, musl
        return lambda _: 0
