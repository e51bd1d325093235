"""Sources to tracked faces: decode, find and steady, each a stage of its own.

What extraction and conversion share. Every stage has a thread and works a few frames
ahead of the next; memory does not grow with the length of a video.
"""

import ctypes
import functools
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deepfake_jax.faces.detection import make_searcher
from deepfake_jax.faces.face_finder import (
    EMBED_EVERY,
    LINK_SCORE,
    FaceFinder,
    TrackEmbedding,
)
from deepfake_jax.faces.identity import make_crop_embedder
from deepfake_jax.faces.landmark_networks import LandmarkSource, make_landmarker
from deepfake_jax.faces.search_journal import (
    ScanLog,
    embedding_from_json,
    embedding_to_json,
    frame_from_json,
    frame_to_json,
)
from deepfake_jax.faces.steady_tracks import (
    RADIUS,
    FrameFaces,
    JitterMeter,
    TrackedFace,
    steady_stream,
)
from deepfake_jax.faces.track_state import FinderState
from deepfake_jax.media.media_probe import VideoError
from deepfake_jax.media.pictures import PictureError
from deepfake_jax.media.sources import Source, read_source
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.pipeline import Stopwatch, run_ahead

_log = logging.getLogger("deepfake_jax")
_AHEAD = 4  # frames between two stages
_TRIM_EVERY = 8  # checkpoints
# Pixels; up to here the whole frame is converted at once, cheaper than its parts.
_SMALL_FRAME = 640 * 480
_MOST_APART = 2  # every n-th frame up to which neighbours still tell of each other

Scanned = tuple[TimedFrame, FrameFaces, list[TrackedFace]]


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What a scan looks for; see `ExtractConfig` for each."""

    landmarks: LandmarkSource = "mesh"
    min_score: float = 0.7
    min_size: float = 20.0
    every: int = 1
    start: float = 0.0
    end: float | None = None
    steady: bool = True


class Scan:
    """Finds and follows the faces of sources, one after another.

    Attributes:
        frames: frames searched.
        small: faces below the least size.
        embeddings: views of the tracks.
        problems: sources that could be read in part only.
        meter: jitter before and after.
        watch: time of each part.
    """

    def __init__(self, options: ScanOptions, *, journal: ScanLog | None = None):
        self.options = options
        self.frames = self.small = 0
        self.embeddings: list[TrackEmbedding] = []
        self.problems: list[str] = []
        self.meter, self.watch = JitterMeter(), Stopwatch()
        self._journal = journal
        search = make_searcher(min_score=min(LINK_SCORE, options.min_score))
        landmark = make_landmarker(options.landmarks)
        if landmark is not None:
            landmark = self.watch.wrap("landmarks", landmark)
        self._finder = FaceFinder(
            self.watch.wrap("detect", search),
            landmark,
            self.watch.wrap("embed", make_crop_embedder()),
            min_score=options.min_score,
            min_size=options.min_size,
            follow=options.landmarks == "mesh" and options.every <= _MOST_APART,
        )

    def read(self, source: Source, *, alone: bool) -> Generator[Scanned]:
        """The frames of a source with their faces.

        Args:
            source: what to read.
            alone: whether there is no other source, so that one which cannot be read
                at all is an error and not a problem.

        Raises:
            VideoError, PictureError: the only source cannot be read at all.
        """
        options = self.options
        film = source.kind == "video" and options.every <= _MOST_APART
        decoded = self.watch.follow("decode", self._frames(source, alone=alone))
        steady = film and options.steady
        with (
            closing(run_ahead(decoded, ahead=_AHEAD)) as frames,
            closing(run_ahead(self._find(frames), ahead=_AHEAD)) as found,
        ):
            yield from steady_stream(
                found,
                radius=RADIUS if steady else 0,
                meter=self.meter if film else None,
            )

    def _frames(self, source: Source, *, alone: bool) -> Iterator[TimedFrame]:
        """Frames asked for; what is damaged is noted where the rest can be used."""
        read, options = 0, self.options
        try:
            for timed in read_source(source):
                read += 1
                if source.kind == "video":
                    if options.end is not None and timed.time >= options.end:
                        return
                    if timed.time < options.start or timed.index % options.every:
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
                found = self._finder.look(timed)
                if self._journal is not None:
                    self._journal.append(frame_to_json(found))
                if self._finder.state.frames % EMBED_EVERY == 0:
                    self._checkpoint(end=False)
            self.small += found.small
            yield timed, found
        if not self._take_end():
            self._checkpoint(end=True)

    def _checkpoint(self, *, end: bool) -> None:
        views = [embedding_to_json(view) for view in self._finder.flush()]
        if self._finder.state.flushes % _TRIM_EVERY == 0:
            trim_heap()
        state = self._finder.state.to_json()
        # Read back as an interrupted run would, so that both come to the same.
        self.embeddings += [embedding_from_json(view) for view in views]
        if self._journal is not None:
            line = {"embeddings": views, "end": end, "state": state}
            self._journal.append(line, sync=True)

    def _take(self, timed: TimedFrame) -> FrameFaces | None:
        """What an earlier run found in a frame, its checkpoint taken along."""
        line = self._journal.peek() if self._journal is not None else None
        if self._journal is None or line is None or "faces" not in line:
            return None
        self._journal.take()
        line_after = self._journal.peek()
        if line_after is not None and "state" in line_after and not line_after["end"]:
            self._journal.take()
            self._restore(line_after, timed)
        return frame_from_json(line)

    def _take_end(self) -> bool:
        line = self._journal.peek() if self._journal is not None else None
        if self._journal is None or line is None or not line.get("end"):
            return False
        self._journal.take()
        self._restore(line, None)
        return True

    def _restore(self, line: dict[str, Any], last: TimedFrame | None) -> None:
        self.embeddings += [embedding_from_json(view) for view in line["embeddings"]]
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
