"""Read videos frame by frame, with exact time stamps, in bounded memory.

Frames are RGB uint8, height width 3, upright: the rotation flag is applied. Time stamps
(``pts``) are integers in the source's own ``time_base`` (seconds a tick), strictly
increasing and counted from the first frame, wherever the file's own clock starts.
"""

import logging
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from av import VideoFrame
from av.video.frame import PictureType

from deepfake_jax.media.animations import read_animation
from deepfake_jax.media.deinterlacing import join_fields
from deepfake_jax.media.frame_decoder import DecodedFrame, decode_frames
from deepfake_jax.media.frame_index import FrameIndex, read_index
from deepfake_jax.media.media_probe import (
    VideoInfo,
    frame_step,
    own_duration,
    probe_video,
)
from deepfake_jax.media.opened_videos import (
    TruncatedVideoError,
    VideoError,
    open_source,
    pick_video_stream,
)
from deepfake_jax.media.pictures import PictureError
from deepfake_jax.media.pixel_formats import (
    RotationReader,
    convert_to_rgb,
    turn_upright,
)
from deepfake_jax.media.truncation import check_whole
from deepfake_jax.types import Frame

_log = logging.getLogger("deepfake_jax")
_MANY = 250  # frames that are decoded sooner than an index is read


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
    that change their size on the way are resized to the first one's. Interlaced ones
    are deinterlaced.

    Args:
        path: the video.
        start: seconds; frames shown from then on are given out, with the index and the
            time that they have in the whole video. Decoding begins at a key frame
            before, where the file's index can be trusted; see `frame_index`.
        end: seconds; the first frame shown then is not given out and reading stops.

    Yields:
        Every frame of that part that can be decoded, in the order of display.

    Raises:
        VideoError: as `probe_video`; no frame can be decoded, or none is in the part.
        TruncatedVideoError: after the last readable frame, when the file is shorter
            than its container declares, or when frames are missing because parts of
            it cannot be decoded, or when frames are damaged. A file of a format that
            declares no sizes (FLV, WMV) just ends where it was cut.
    """
    info = probe_video(path)
    if start is None and end is None:
        yield from _read_all(info)
        return
    any_frame = False
    for timed in _read_late(info, start or 0.0):
        if end is not None and timed.time >= end:
            break
        if timed.time >= (start or 0):
            any_frame = True
            yield timed
    if not any_frame:
        raise VideoError(
            f"{path}: no frame is shown from {float(start or 0):g} s to "
            f"{'the end' if end is None else f'{float(end):g} s'}; the video lasts "
            f"{'an unknown time' if info.duration is None else f'{info.duration:g} s'}"
        )


def read_from(info: VideoInfo, number: int, index: FrameIndex) -> Iterator[TimedFrame]:
    """The frames of a video from one on, as `read_frames` gives them.

    Args:
        info: of the video.
        number: of the first frame wanted.
        index: of the video. Where it turns out to be wrong, decoding begins anew at
            the start.

    Raises:
        VideoError, TruncatedVideoError: as `read_frames`.
    """
    key = 0 if index.distrust else index.find_key(number)
    if key:
        try:
            for timed in _read_all(info, index=index, key=key):
                if timed.index >= number:
                    yield timed
                    number = timed.index + 1
            return
        except _WrongIndexError as error:
            index = FrameIndex(distrust=str(error))
    if index.distrust and number >= _MANY:
        _log.warning(
            "%s: decoded from its start to reach frame %d: %s",
            info.path.name,
            number,
            index.distrust,
        )
    for timed in _read_all(info):
        if timed.index >= number:
            yield timed


def _read_late(info: VideoInfo, start: float | Fraction) -> Iterator[TimedFrame]:
    """The frames from a time on, and perhaps some before."""
    if start * info.frame_rate < _MANY:
        return _read_all(info)
    index = read_index(info)
    ticks = [stamp - index.stamps[0] for stamp in index.stamps]
    number = bisect_left(ticks, start, key=lambda at: float(at * info.time_base))
    return read_from(info, min(number, max(0, len(ticks) - 1)), index)


class _WrongIndexError(ValueError):
    """A file whose frames are not what its index says; the text says how."""


def _check_index(
    frames: Iterator[DecodedFrame], index: FrameIndex, key: int
) -> Iterator[DecodedFrame]:
    """Frames from a key frame on, as long as they are those of the index."""
    number = key
    for frame in frames:
        native = frame.native
        if native.pts is not None and native.pts < index.stamps[key]:
            continue  # decoding began at an earlier key frame
        if number == key and native.pict_type != PictureType.I:
            raise _WrongIndexError("its key frames are not whole pictures")
        known = index.stamps[number] if number < len(index.stamps) else None
        if native.pts != known or native.interlaced_frame:
            raise _WrongIndexError(f"frame {number} is not where its index says")
        yield frame
        number += 1


def _read_pictures(info: VideoInfo) -> Iterator[TimedFrame]:
    pts = index = 0
    try:
        for index, (frame, duration) in enumerate(read_animation(info.path)):
            time = float(pts * info.time_base)
            yield TimedFrame(index, time, pts, duration, picture=frame)
            pts += duration
    except PictureError as error:
        raise TruncatedVideoError(
            str(error), frames_read=index, frames_expected=info.frames
        ) from error


def _read_all(
    info: VideoInfo, *, index: FrameIndex | None = None, key: int = 0
) -> Iterator[TimedFrame]:
    """All frames, or those from a key frame of the index on."""
    if info.animation:
        yield from _read_pictures(info)
        return
    path = info.path
    problems: list[str] = []
    count, damaged = key, 0
    step = frame_step(info.frame_rate, info.time_base)
    # A frame is given out when the next one's time tells how long it is shown: the
    # durations in an MP4 are those between decoding times, in another order.
    held: tuple[int, DecodedFrame] | None = None
    with open_source(path) as container:
        stream = pick_video_stream(path, container)
        counted = stream.frames > 0
        declared = own_duration(container, stream)
        turns = RotationReader()
        if index is not None:
            container.seek(index.stamps[key], stream=stream)
        decoded = join_fields(decode_frames(container, stream, problems))
        last: int | None = None
        if index is not None:
            decoded = _check_index(decoded, index, key)
            last = index.stamps[key] - index.stamps[0] - 1
        for pts, frame in _repair_times(decoded, info, step, last):
            if held is not None:
                yield _make_frame(info, count, *held, pts - held[0])
                count += 1
            damaged += frame.damaged and not frame.leading
            filters = turns.read(frame.native)
            upright = turn_upright(frame.native, info.time_base, filters)
            held = pts, replace(frame, native=upright)
    if held is None:
        raise VideoError(f"{path}: holds no frame; copy or download it again")
    pts, frame = held
    duration = frame.native.duration or step
    shown = float((pts + duration) * info.time_base)
    error = _find_truncation(info, count + 1, shown, problems, counted=counted)
    if error is None and declared is not None:
        rest = round(declared / info.time_base) - pts
        duration = rest if rest > 0 else duration
    yield _make_frame(info, count, pts, frame, duration)
    if error is None and damaged:
        error = TruncatedVideoError(
            f"{path}: {damaged} of {count + 1} frames are damaged, because their data "
            "or that of frames they depend on cannot be decoded; copy or download it "
            "again, or go without them",
            frames_read=count + 1,
            frames_expected=info.frames,
        )
    if error is not None:
        raise error


def _make_frame(
    info: VideoInfo, index: int, pts: int, frame: DecodedFrame, duration: int
) -> TimedFrame:
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


def _repair_times(
    frames: Iterator[DecodedFrame],
    info: VideoInfo,
    step: int,
    last: int | None = None,
) -> Iterator[tuple[int, DecodedFrame]]:
    """Count time from the first frame; what is missing or doubled is filled in.

    Args:
        frames: to be timed.
        info: of their video.
        step: ticks that a frame lasts where nothing else is known.
        last: the time of the frame before them; None where there is none.
    """
    origin = round(info.origin / info.time_base)
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


def _find_truncation(
    info: VideoInfo, count: int, shown: float, problems: list[str], *, counted: bool
) -> TruncatedVideoError | None:
    state = check_whole(info.path)
    expected = None if state == "cut, no total" else info.frames
    # A cut may have taken only sound or the index: then no frame is short, give or
    # take one and a half for rounding.
    short = expected is None or count < expected
    cut, torn = state.startswith("cut"), state == "torn"
    if cut and info.duration is not None:
        short = short or shown < info.duration - 1.5 / float(info.frame_rate)
    # Of a file that is not cut the declared length proves little (see truncation.py):
    # only where the container counts its frames and a tenth of both the frames and
    # the time is missing.
    lost = counted and count < 0.9 * (expected or 0)
    lost = lost and shown < 0.9 * (info.duration or 0)
    if not torn and (not short or not (cut or problems or lost)):
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
