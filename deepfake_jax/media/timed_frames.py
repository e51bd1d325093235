"""A frame and when it is shown; times of frames as they come from the decoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from av import VideoFrame

from deepfake_jax.media.frame_decoder import DecodedFrame
from deepfake_jax.media.media_probe import VideoInfo, frame_step
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.types import Frame


@dataclass(frozen=True, eq=False)
class TimedFrame:
    """One frame and when it is shown.

    Attributes:
        index: position in the video, from 0.
        time: seconds.
        pts: the same in the source's ``time_base``; strictly increasing.
        duration: how long it is shown, in ``time_base``: until the next frame, or to
            the declared end of the video.
        native: the frame as decoded, turned upright if it has a rotation flag; None for
            a picture.
        picture: the frame of a picture; None for a video.
        pixel_aspect: displayed width over height of one pixel; 1 for square ones.
        damaged: whether it cannot be trusted: the decoder found it corrupt, or it
            depends on one that is.
        deinterlaced: whether it was drawn whole of two half pictures.
    """

    index: int
    time: float
    pts: int
    duration: int
    native: VideoFrame | None = None
    picture: Frame | None = None
    pixel_aspect: Fraction = Fraction(1)
    damaged: bool = False
    deinterlaced: bool = False

    @cached_property
    def frame(self) -> Frame:
        """RGB uint8, height width 3, contiguous; converted when first asked for.

        The exact conversion of a 1080p frame takes 15 to 30 ms, and whoever only looks
        for faces needs no more than their surroundings (`frame_parts`).
        """
        if self.picture is not None:
            return self.picture
        if self.native is None:
            raise ValueError("a frame needs native or picture, both are None")
        return convert_to_rgb(self.native)

    @property
    def converted(self) -> bool:
        """Whether `frame` was asked for already, and costs nothing."""
        return self.native is None or "frame" in self.__dict__

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if self.native is not None:
            return self.native.height, self.native.width
        return self.frame.shape[0], self.frame.shape[1]


def picture_frame(frame: Frame) -> TimedFrame:
    """A picture as the only frame of a source."""
    return TimedFrame(index=0, time=0.0, pts=0, duration=0, picture=frame)


def make_timed(
    info: VideoInfo, index: int, pts: int, frame: DecodedFrame, duration: int
) -> TimedFrame:
    """A decoded frame with its place in a video, in the video's size.

    Args:
        info: of the video.
        index: position in it.
        pts: when it is shown, in ``time_base``.
        frame: it, upright.
        duration: how long it is shown, likewise.
    """
    native = frame.native
    if (native.height, native.width) != (info.height, info.width):
        native = native.reformat(width=info.width, height=info.height)
    return TimedFrame(
        index=index,
        time=float(pts * info.time_base),
        pts=pts,
        duration=duration,
        native=native,
        pixel_aspect=info.pixel_aspect,
        damaged=frame.damaged,
        deinterlaced=frame.deinterlaced,
    )


def repair_times(
    frames: Iterator[DecodedFrame], info: VideoInfo, last: int | None = None
) -> Iterator[tuple[int, DecodedFrame]]:
    """Count time from the first frame; what is missing or doubled is filled in.

    Args:
        frames: to be timed.
        info: of their video.
        last: the time of the frame before them; None where there is none.
    """
    origin = round(info.origin / info.time_base)
    step = frame_step(info.frame_rate, info.time_base)
    for frame in frames:
        native = frame.native
        pts = native.dts if native.pts is None else native.pts
        if last is None:
            pts = 0
        elif pts is None or info.timeless:
            pts = last + step
        else:
            # A duplicate is nudged by a tick so that its successors keep their times.
            pts = max(pts - origin, last + 1)
        last = pts
        yield pts, frame
