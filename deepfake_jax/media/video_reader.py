"""Read videos frame by frame, with exact time stamps, in bounded memory.

Frames are RGB uint8, height width 3, upright: the rotation flag is applied. Time stamps
(``pts``) are integers in the source's own ``time_base`` (seconds a tick) and strictly
increasing. Formats whose clock starts anywhere (MPEG transport and program streams) are
moved to start at 0, sound included; in all others the time stamps are the file's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from av import VideoFrame

from deepfake_jax.media.media_probe import (
    TruncatedVideoError,
    VideoError,
    VideoInfo,
    clock_origin,
    decode_natives,
    frame_step,
    open_source,
    own_duration,
    pick_video_stream,
    probe_video,
)
from deepfake_jax.media.pixel_formats import (
    RotationReader,
    convert_to_rgb,
    turn_upright,
)
from deepfake_jax.media.truncation import check_whole
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
    """

    index: int
    time: float
    pts: int
    duration: int
    native: VideoFrame | None = None
    picture: Frame | None = None
    pixel_aspect: Fraction = Fraction(1)
    damaged: bool = False

    @cached_property
    def frame(self) -> Frame:
        """RGB uint8, height width 3, contiguous; converted when first asked for.

        The exact conversion of a 1080p frame takes 15 to 30 ms, and whoever only looks
        for faces needs no more than their surroundings (`region`).
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


def read_frames(
    path: Path,
    *,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
) -> Iterator[TimedFrame]:
    """Decode a video frame by frame, upright, in RGB.

    A missing time stamp is filled in and one that does not increase is moved. Frames
    that change their size on the way are resized to the first one's.

    Args:
        path: the video.
        start: seconds; frames shown from then on are given out, with the index and the
            time that they have in the whole video. Those before are decoded all the
            same, because only counting tells a frame's index for certain.
        end: seconds; the first frame shown then is not given out and reading stops.

    Yields:
        Every frame of that part that can be decoded, in the order of display.

    Raises:
        VideoError: as `probe_video`; no frame can be decoded, or none is in the part.
        TruncatedVideoError: after the last readable frame, when the file is shorter
            than its container declares, or when frames are missing because parts of
            it cannot be decoded. A file of a format that declares no sizes
            (MPEG-TS, FLV, WMV) just ends where it was cut.
    """
    info = probe_video(path)
    if start is None and end is None:
        yield from _read_all(info)
        return
    any_frame = False
    for timed in _read_all(info):
        if end is not None and timed.time >= end:
            break
        if start is None or timed.time >= start:
            any_frame = True
            yield timed
    if not any_frame:
        raise VideoError(
            f"{path}: no frame is shown from {float(start or 0):g} s to "
            f"{'the end' if end is None else f'{float(end):g} s'}; the video lasts "
            f"{'an unknown time' if info.duration is None else f'{info.duration:g} s'}"
        )


def _read_all(info: VideoInfo) -> Iterator[TimedFrame]:
    path = info.path
    problems: list[str] = []
    count = start = 0
    step = frame_step(info.frame_rate, info.time_base)
    # A frame is given out when the next one's time tells how long it is shown: the
    # durations in an MP4 are those between decoding times, in another order.
    held: tuple[int, VideoFrame] | None = None
    with open_source(path) as container:
        stream = pick_video_stream(path, container)
        counted = stream.frames > 0
        declared = own_duration(container, stream)
        origin = round(clock_origin(container) / info.time_base)
        turns = RotationReader()
        natives = decode_natives(container, stream, problems)
        for pts, native in _repair_times(natives, origin, step, info.time_base):
            if held is None:
                start = pts
            else:
                yield _make_frame(info, count, *held, pts - held[0])
                count += 1
            held = pts, turn_upright(native, info.time_base, turns.read(native))
    if held is None:
        raise VideoError(f"{path}: holds no frame; copy or download it again")
    pts, native = held
    duration = native.duration or step
    shown = float((pts + duration - start) * info.time_base)
    error = _find_truncation(info, count + 1, shown, problems, counted=counted)
    if error is None and declared is not None:
        rest = round(declared / info.time_base) - (pts - start)
        duration = rest if rest > 0 else duration
    yield _make_frame(info, count, pts, native, duration)
    if error is not None:
        raise error


def _make_frame(
    info: VideoInfo, index: int, pts: int, native: VideoFrame, duration: int
) -> TimedFrame:
    if (native.height, native.width) != (info.height, info.width):
        native = native.reformat(width=info.width, height=info.height)
    return TimedFrame(
        index=index,
        time=float(pts * info.time_base),
        pts=pts,
        duration=duration,
        native=native,
        pixel_aspect=info.pixel_aspect,
    )


def _repair_times(
    natives: Iterator[VideoFrame], origin: int, step: int, time_base: Fraction
) -> Iterator[tuple[int, VideoFrame]]:
    last: int | None = None
    shift = -origin
    for native in natives:
        pts = native.dts if native.pts is None else native.pts
        if pts is None:
            pts = 0 if last is None else last + step
        else:
            pts += shift
            if last is not None and pts <= last:
                # A jump back of over a second is a clock that was set anew, and all
                # that follows moves along; less is a duplicate, nudged by a tick so
                # that its successors keep their times.
                new_clock = (last - pts) * time_base > 1
                shift += last + step - pts if new_clock else 0
                pts = last + (step if new_clock else 1)
        last = pts
        yield pts, native


def _find_truncation(
    info: VideoInfo, count: int, shown: float, problems: list[str], *, counted: bool
) -> TruncatedVideoError | None:
    state = check_whole(info.path)
    expected = None if state == "cut, no total" else info.frames
    # A cut may have taken only sound or the index: then no frame is short, give or
    # take one and a half for rounding.
    short = expected is None or count < expected
    cut = state.startswith("cut")
    if cut and info.duration is not None:
        short = short or shown < info.duration - 1.5 / float(info.frame_rate)
    # Of a file that is not cut the declared length proves little (see truncation.py):
    # only where the container counts its frames and a tenth of both the frames and
    # the time is missing.
    lost = counted and count < 0.9 * (expected or 0)
    lost = lost and shown < 0.9 * (info.duration or 0)
    if not short or not (cut or problems or lost):
        return None
    found = "the file ends before its container does" if cut else "a part is unreadable"
    if problems:
        found = f"{found}: {problems[-1]}"
    total = "an unknown number of" if expected is None else f"about {expected}"
    return TruncatedVideoError(
        f"{info.path}: the video is truncated or damaged: {count} of {total} frames "
        f"could be read ({found}); copy or download it again, or keep the part that "
        "was read",
        frames_read=count,
        frames_expected=expected,
    )
