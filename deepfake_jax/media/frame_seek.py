"""One frame of a video by its time, without decoding all that comes before it.

For looking, not for counting: the frame's index is told by the average rate, and where
a file cannot be sought in, all of it is read.
"""

from contextlib import suppress
from pathlib import Path

from av import VideoFrame
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from deepfake_jax.media.media_probe import VideoInfo, probe_video
from deepfake_jax.media.opened_videos import VideoError, open_source, pick_video_stream
from deepfake_jax.media.pixel_formats import read_rotation, turn_upright
from deepfake_jax.media.video_reader import TimedFrame, read_frames

_MOST = 900  # frames between two key frames that are decoded to come to one


def seek_frame(path: Path, time: float) -> TimedFrame:
    """The frame that is shown at a time, seconds; the last one after the end.

    Raises:
        VideoError: as `read_frames`.
    """
    info = probe_video(path)
    if not info.animation and not info.timeless and not info.interlaced:
        native = None
        with suppress(FFmpegError), open_source(path) as container:
            native = _decode_at(
                container, pick_video_stream(path, container), info, time
            )
        if native is not None and native.pts is not None:
            return _make_frame(native, info)
    return _read_until(path, time)


def _decode_at(
    container: InputContainer, stream: VideoStream, info: VideoInfo, time: float
) -> VideoFrame | None:
    """The last frame up to a time; None where the stream does not tell."""
    wanted = round((time + float(info.origin)) / info.time_base)
    stream.thread_type = "AUTO"
    container.seek(wanted, stream=stream, backward=True)
    shown: VideoFrame | None = None
    for number, native in enumerate(container.decode(stream)):
        if native.pts is None or number > _MOST:
            return None
        if shown is not None and native.pts > wanted:
            break
        if shown is None and native.pts > wanted and time > 0:
            return None  # sought too far
        shown = native
    return shown


def _make_frame(native: VideoFrame, info: VideoInfo) -> TimedFrame:
    upright = turn_upright(native, info.time_base, read_rotation(native)[1])
    if (upright.height, upright.width) != (info.height, info.width):
        upright = upright.reformat(width=info.width, height=info.height)
    pts = (native.pts or 0) - round(info.origin / info.time_base)
    time = float(pts * info.time_base)
    return TimedFrame(
        index=round(time * info.frame_rate),
        time=time,
        pts=pts,
        duration=1,
        native=upright,
        pixel_aspect=info.pixel_aspect,
    )


def _read_until(path: Path, time: float) -> TimedFrame:
    shown: TimedFrame | None = None
    try:
        for timed in read_frames(path):
            if shown is not None and timed.time > time:
                break
            shown = timed
    except VideoError:
        if shown is None:
            raise
    if shown is None:
        raise VideoError(f"{path}: holds no frame; copy or download it again")
    return shown
