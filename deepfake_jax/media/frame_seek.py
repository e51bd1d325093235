"""One frame of a video by its time, for looking at: from the key frame before it.

Where a file's index cannot be trusted (transport streams, interlaced or damaged
footage) all is decoded that comes before.
"""

from bisect import bisect_right
from collections import deque
from functools import lru_cache
from pathlib import Path

from deepfake_jax.media.frame_index import FrameIndex, read_index
from deepfake_jax.media.media_probe import VideoInfo, probe_video
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.video_reader import read_from

_KNOWN = 8  # videos whose index is remembered


def seek_frame(path: Path, time: float) -> TimedFrame:
    """The frame that is shown at a time, seconds; the last one after the end.

    Raises:
        VideoError: as `read_frames`.
    """
    frames, at = seek_around(path, time, radius=0)
    return frames[at]


def seek_around(
    path: Path, time: float, *, radius: int
) -> tuple[list[TimedFrame], int]:
    """That frame with up to `radius` before and after it, and which of them it is.

    Raises:
        VideoError: as `read_frames`.
    """
    status = path.stat() if path.exists() else None
    info, index = _look(path, status and (status.st_size, status.st_mtime_ns))
    number = max(0, bisect_right(index.times(info.time_base), time) - 1)
    before: deque[TimedFrame] = deque(maxlen=radius + 1)
    after: list[TimedFrame] = []
    try:
        for timed in read_from(info, max(0, number - radius), index):
            if not before or (not after and timed.time <= time):
                before.append(timed)
                continue
            after.append(timed)
            if len(after) >= max(1, radius):
                break
    except VideoError:
        if not before:
            raise
    if not before:
        raise VideoError(f"{path}: holds no frame; copy or download it again")
    return [*before, *after[:radius]], len(before) - 1


@lru_cache(maxsize=_KNOWN)
def _look(path: Path, state: object) -> tuple[VideoInfo, FrameIndex]:
    """What a video is and when its frames are shown, while the file stays the same."""
    info = probe_video(path)
    return info, read_index(info)
