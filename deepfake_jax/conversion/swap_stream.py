"""Frames with placed faces to frames with other faces: swap, steady, blend, in order.

Each stage has threads of its own and works a few frames ahead of the next; memory does
not grow with the number of frames.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from av import VideoFrame

from deepfake_jax.conversion.compose import (
    compose_frame,
    finish_face,
    join_frames,
    plain_frame,
)
from deepfake_jax.conversion.frame_swapper import CHUNK, FrameSwapper, SwappedFrame
from deepfake_jax.conversion.marking import PixelMarks
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.faces.steady_tracks import RADIUS
from deepfake_jax.media.opened_videos import TruncatedVideoError
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch, in_chunks, map_ahead, run_ahead
from deepfake_jax.progress import Progress
from deepfake_jax.types import Frame

_BLENDERS = 2  # threads; OpenCV and NumPy work without Python's lock

# A frame, what is to be shown in its place, and how many faces were swapped in it.
Shown = tuple[TimedFrame, Frame | VideoFrame, int]


def swap_stream(
    frames: Iterable[TimedFrame],
    find: Callable[[TimedFrame], list[PlacedFace]],
    swapper: FrameSwapper,
    *,
    watch: Stopwatch | None = None,
    log: FaceLog | None = None,
    mark: Callable[[Frame | VideoFrame], Frame | VideoFrame] | None = None,
) -> Generator[Shown]:
    """Swaps the faces of a stream of frames.

    Args:
        frames: of one source in order; or pictures, numbered by their `index`.
        find: the faces to swap in a frame.
        swapper: by which run and config.
        watch: takes in the time of each stage.
        log: keeps each face that is pasted.
        mark: puts a watermark into a frame with swapped faces; None for pure frames.
    """
    watch, config = watch or Stopwatch(), swapper.config
    swap = watch.wrap("swap", swapper.swap)

    def swapped() -> Iterator[SwappedFrame]:
        decoded = watch.follow("decode", frames)
        with closing(run_ahead(decoded, ahead=CHUNK)) as ahead:
            for chunk in in_chunks(ahead, CHUNK):
                yield from swap([(timed, find(timed)) for timed in chunk])

    def compose(frame: SwappedFrame) -> tuple[Shown, float]:
        start = time.perf_counter()
        plain = plain_frame(frame.timed)
        finished = [finish_face(face, config) for face in frame.faces]
        shown = compose_frame(frame, config, finished=finished)
        count = 0 if shown is plain else len(frame.faces)
        if config.side_by_side:
            shown = join_frames(plain, shown)
        if mark is not None and count:
            shown = mark(shown)  # nobody else's: faces were pasted into a copy
        if log is not None:
            log.add(frame, finished)
        return (frame.timed, shown, count), time.perf_counter() - start

    radius = RADIUS if config.steady else 0
    with (
        closing(run_ahead(swapped(), ahead=CHUNK)) as ahead,
        closing(
            map_ahead(compose, steady_looks(ahead, radius=radius), workers=_BLENDERS)
        ) as composed,
    ):
        for shown, seconds in composed:
            watch.add("blend", seconds)
            yield shown


@dataclass
class Written:
    """What became of a stream of frames.

    Attributes:
        frames: written.
        swapped: those with a swapped face.
        problems: what could be read in part only.
    """

    frames: int = 0
    swapped: int = 0
    problems: list[str] = field(default_factory=list)


def write_shown(
    stream: Iterable[Shown],
    write: Callable[..., None],
    *,
    pixels: PixelMarks,
    start: float,
    progress: Progress | None = None,
) -> Written:
    """Writes what a stream shows, with its visible label.

    Args:
        stream: of a video; what follows where that breaks off is noted as missing.
        write: as `FrameWriter.write`.
        pixels: has the label.
        start: when the output begins, seconds of the video.
        progress: is told how far it is.
    """
    written = Written()
    try:
        for timed, shown, faces in stream:
            shown = pixels.draw_label(shown, timed.time - start)
            write(shown, pts=timed.pts, duration=timed.duration)
            written.frames += 1
            written.swapped += bool(faces)
            if progress is not None:
                progress.update_to(written.frames, f"{written.swapped} swapped")
    except TruncatedVideoError as error:
        written.problems.append(str(error))
    return written
