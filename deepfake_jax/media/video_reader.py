"""Read videos frame by frame, with exact time stamps, in bounded memory.

Frames are RGB uint8, height width 3, upright: the rotation flag is applied. Time stamps
(``pts``) are integers in the source's own ``time_base`` (seconds a tick), strictly
increasing and counted from the first frame, wherever the file's own clock starts.
"""

import logging
from bisect import bisect_left
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

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
    choose_video_stream,
    open_source,
)
from deepfake_jax.media.pictures import PictureError
from deepfake_jax.media.rotation import RotationReader, turn_upright
from deepfake_jax.media.timed_frames import TimedFrame, make_timed, repair_times
from deepfake_jax.media.truncation import check_whole

_log = logging.getLogger("deepfake_jax")
_MANY = 250  # frames that are decoded sooner than an index is read


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
    number = bisect_left(index.times(info.time_base), start)
    return read_from(info, min(number, max(0, len(index.stamps) - 1)), index)


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


@dataclass(frozen=True)
class _LastFrame:
    """The last frame of a video, and how many up to it are damaged."""

    index: int
    pts: int
    frame: DecodedFrame
    damaged: int


def _read_all(
    info: VideoInfo, *, index: FrameIndex | None = None, key: int = 0
) -> Iterator[TimedFrame]:
    """All frames, or those from a key frame of the index on."""
    if info.animation:
        yield from _read_pictures(info)
        return
    problems: list[str] = []
    with open_source(info.path) as container:
        stream = choose_video_stream(info.path, container)
        counted, declared = stream.frames > 0, own_duration(container, stream)
        if index is not None:
            container.seek(index.stamps[key], stream=stream)
        frames = join_fields(decode_frames(container, stream, problems))
        before: int | None = None
        if index is not None:
            frames = _check_index(frames, index, key)
            before = index.stamps[key] - index.stamps[0] - 1
        last = yield from _hold_back(repair_times(frames, info, before), info, key)
    if last is None:
        raise VideoError(f"{info.path}: holds no frame; copy or download it again")
    yield from _read_last(info, last, declared, problems, counted=counted)


def _hold_back(
    frames: Iterator[tuple[int, DecodedFrame]], info: VideoInfo, first: int
) -> Generator[TimedFrame, None, _LastFrame | None]:
    """All frames but the last, upright, each when the next one's time is known.

    It tells how long the one before is shown: the durations in an MP4 are those between
    decoding times, in another order.

    Args:
        frames: with their times.
        info: of their video.
        first: the number of the first.

    Returns:
        The last one; None if there was none.
    """
    held: _LastFrame | None = None
    turns = RotationReader()
    for index, (pts, frame) in enumerate(frames, start=first):
        if held is not None:
            duration = pts - held.pts
            yield make_timed(info, held.index, held.pts, held.frame, duration)
        damaged = held.damaged if held is not None else 0
        damaged += frame.damaged and not frame.leading
        filters = turns.read(frame.native)
        upright = turn_upright(frame.native, info.time_base, filters)
        held = _LastFrame(index, pts, replace(frame, native=upright), damaged)
    return held


def _read_last(
    info: VideoInfo,
    last: _LastFrame,
    declared: Fraction | None,
    problems: list[str],
    *,
    counted: bool,
) -> Iterator[TimedFrame]:
    """The last frame, shown until the video's declared end; then what was wrong."""
    step = frame_step(info.frame_rate, info.time_base)
    duration, count = last.frame.native.duration or step, last.index + 1
    shown = float((last.pts + duration) * info.time_base)
    error = _find_truncation(info, count, shown, problems, counted=counted)
    if error is None and declared is not None:
        rest = round(declared / info.time_base) - last.pts
        duration = rest if rest > 0 else duration
    yield make_timed(info, last.index, last.pts, last.frame, duration)
    if error is None and last.damaged:
        error = TruncatedVideoError(
            f"{info.path}: {last.damaged} of {count} frames are damaged, because their "
            "data or that of frames they depend on cannot be decoded; copy or download "
            "it again, or go without them",
            frames_read=count,
            frames_expected=info.frames,
        )
    if error is not None:
        raise error


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
