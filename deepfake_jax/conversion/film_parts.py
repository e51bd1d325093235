"""A conversion in parts: each is drawn by itself, to the bit as in one go.

A swapped frame depends on its neighbours: faces' looks are averaged over some frames,
and the network draws the faces of a few frames at once. So a part reads somewhat more
than it writes, in the same groups of frames as one process would.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

from deepfake_jax.conversion.frame_swapper import CHUNK, FrameSwapper
from deepfake_jax.conversion.marking import PixelMarks
from deepfake_jax.conversion.placement import Placement
from deepfake_jax.conversion.swap_stream import swap_stream, write_shown
from deepfake_jax.faces.steady_tracks import RADIUS
from deepfake_jax.media.frame_index import FrameIndex
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.sources import parse_time
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.video_packets import PartWriter
from deepfake_jax.media.video_reader import read_from


@dataclass(frozen=True)
class FilmPart:
    """Frames of a video that are converted by themselves.

    Attributes:
        first: number of the first.
        last: of the one after the last; None is the end of the video, wherever that is.
        begin: of the first that is converted at all.
        end: of the one after the last such; None as before.
    """

    first: int
    last: int | None
    begin: int = 0
    end: int | None = None

    @property
    def read(self) -> tuple[int, int | None]:
        """Which frames have to be read for it."""
        # A window at the end of a video reaches back twice as far.
        before = (self.first - self.begin - 2 * RADIUS) // CHUNK * CHUNK
        first = self.begin + max(0, before)
        if self.last is None:
            return first, self.end
        after = -(-(self.last - self.begin + RADIUS) // CHUNK) * CHUNK
        last = self.begin + after
        return first, last if self.end is None else min(last, self.end)


def convert_part(
    info: VideoInfo,
    index: FrameIndex,
    part: FilmPart,
    placement: Placement,
    swapper: FrameSwapper,
    spec: OutputSpec,
    out: Path,
    *,
    pixels: PixelMarks | None = None,
) -> None:
    """Converts a part to a file that `PartJoiner` takes.

    Args:
        info: of the video.
        index: likewise.
        part: which frames.
        placement: where the faces lie.
        swapper: by which run and config.
        spec: of the whole output.
        out: the part's file.
        pixels: what marks its frames.

    Raises:
        VideoError: the video cannot be read or the part not be written.
    """
    first, last = part.read
    pixels = pixels or PixelMarks()

    def read() -> Iterator[TimedFrame]:
        frames = read_from(info, first, index)
        yield from takewhile(lambda t: last is None or t.index < last, frames)

    with PartWriter(spec, out) as writer:
        stream = swap_stream(
            read(),
            lambda timed: placement.find(0, timed.index),
            swapper,
            mark=pixels.marker(float(info.pixel_aspect)),
        )
        with closing(stream):
            own = dropwhile(lambda shown: shown[0].index < part.first, stream)
            if (end := part.last) is not None:
                own = takewhile(lambda shown: shown[0].index < end, own)
            start = parse_time(swapper.config.start, option="--start") or 0.0
            written = write_shown(own, writer.write, pixels=pixels, start=start)
        writer.note(asdict(written))
