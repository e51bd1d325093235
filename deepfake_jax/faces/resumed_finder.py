"""A finder that goes on where an interrupted search stopped, and takes notes itself."""

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

from deepfake_jax.faces.face_finder import EMBED_EVERY, FaceFinder
from deepfake_jax.faces.search_journal import (
    SearchJournal,
    embedding_to_json,
    frame_from_json,
    frame_to_json,
)
from deepfake_jax.faces.search_tally import SearchTally
from deepfake_jax.faces.square_pixels import square_frame
from deepfake_jax.faces.steady_tracks import FrameFaces
from deepfake_jax.faces.track_state import FinderState
from deepfake_jax.media.timed_frames import TimedFrame

_TRIM_EVERY = 8  # checkpoints


class ResumedFinder:
    """Finds the faces of one source after another, with checkpoints.

    Args:
        finder: what looks at frames.
        tally: takes in what was found.
        journal: what an interrupted search has found so far, and where to note more.
    """

    def __init__(
        self, finder: FaceFinder, tally: SearchTally, journal: SearchJournal | None
    ):
        self._finder, self._tally, self._journal = finder, tally, journal
        self._number = 0

    @property
    def next_track(self) -> int:
        """The number that the next new track will have."""
        return self._finder.state.next_track

    @property
    def sees_hands(self) -> bool:
        """Whether it can look for hands."""
        return self._finder.hands is not None

    def start_source(self, number: int, *, first_track: int) -> None:
        """Begins a source of that number, whose tracks are counted from a first."""
        self._number = number
        self._finder.start_source(first_track=first_track)

    def find(
        self, frames: Iterator[TimedFrame]
    ) -> Iterator[tuple[TimedFrame, FrameFaces]]:
        """The frames of the source that was begun, with their faces."""
        for timed in frames:
            found = self._take(timed)
            if found is None:
                found = self._finder.find(square_frame(timed))
                self._tally.hold(found)
                if self._journal is not None:
                    self._journal.append(frame_to_json(found, self._number))
                if self._finder.state.frames % EMBED_EVERY == 0:
                    self._checkpoint(end=False)
            yield timed, found
        if not self._take_end():
            self._checkpoint(end=True)

    def _checkpoint(self, *, end: bool) -> None:
        views = [embedding_to_json(view) for view in self._finder.flush()]
        if self._finder.state.flushes % _TRIM_EVERY == 0:
            trim_heap()
        # Read back as an interrupted run would, so that both come to the same.
        self._tally.note_views(views)
        if self._journal is not None:
            line = {"source": self._number, "embeddings": views, "end": end}
            state = self._finder.state.to_json()
            self._journal.append({**line, "state": state}, sync=True)

    def _peek(self) -> dict[str, Any]:
        """The next line of an earlier run about this source; empty if there is none."""
        line = None if self._journal is None else self._journal.peek(self._number)
        return line or {}

    def _take(self, timed: TimedFrame) -> FrameFaces | None:
        """What an earlier run found in a frame, its checkpoint taken along."""
        line, journal = self._peek(), self._journal
        if journal is None or "faces" not in line:
            return None
        journal.take()
        found = frame_from_json(line)
        self._tally.hold(found)
        after = self._peek()
        if "state" in after and not after["end"]:
            journal.take()
            self._restore(after, square_frame(timed))
        return found

    def _take_end(self) -> bool:
        line, journal = self._peek(), self._journal
        if journal is None or not line.get("end"):
            return False
        journal.take()
        self._restore(line, None)
        return True

    def _restore(self, line: dict[str, Any], last: TimedFrame | None) -> None:
        self._tally.note_views(line["embeddings"])
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
