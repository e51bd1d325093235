"""When each frame of a video is shown, told by its packets alone: nothing is decoded.

With it reading may begin at a key frame in the middle, and a frame still gets the
number and the time that it has when all are read. That is only so where packets tell
the truth; where they may not, `FrameIndex.distrust` says why, and reading begins at the
start.
"""

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.opened_videos import (
    VideoError,
    choose_video_stream,
    open_source,
)
from deepfake_jax.media.source_clock import SourceClock, read_packets
from deepfake_jax.media.truncation import check_whole

# Containers whose time stamps are those of the frames, and which are sought in exactly.
_EXACT = ("mp4", "matroska")


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video in the order of display.

    Attributes:
        stamps: when each is shown, on the stream's own clock.
        keys: numbers of frames with which decoding may begin: nothing that is shown
            from there on leans on anything before. 0 is the first.
        distrust: why these may be wrong; empty where they can be relied on.
    """

    stamps: tuple[int, ...] = ()
    keys: tuple[int, ...] = (0,)
    distrust: str = ""

    def find_key(self, number: int) -> int:
        """The last frame up to `number` with which decoding may begin."""
        return self.keys[max(0, bisect_right(self.keys, number) - 1)]

    def times(self, time_base: Fraction) -> list[float]:
        """When each frame is shown, in seconds from the first; as `TimedFrame.time`."""
        return [float((stamp - self.stamps[0]) * time_base) for stamp in self.stamps]


def read_index(info: VideoInfo) -> FrameIndex:
    """Reads the packets of a video.

    Args:
        info: what `probe_video` says of it.

    Raises:
        VideoError: it cannot be opened.
    """
    if info.animation:
        return FrameIndex(distrust="an animated picture is drawn from its start")
    if info.interlaced:
        return FrameIndex(distrust="whole frames are drawn of half pictures in turn")
    if info.timeless:
        return FrameIndex(distrust="the file holds no time stamps")
    whole = check_whole(info.path)
    if whole not in ("whole", "unknown"):
        return FrameIndex(distrust=f"the file is damaged ({whole})")
    try:
        with open_source(info.path) as container:
            stream = choose_video_stream(info.path, container)
            return _read(container, stream, info)
    except FFmpegError as error:
        raise VideoError(f"{info.path}: cannot be read ({error})") from error


def _read(
    container: InputContainer, stream: VideoStream, info: VideoInfo
) -> FrameIndex:
    names = container.format.name.split(",")
    if not set(names) & set(_EXACT):
        return FrameIndex(distrust=f"{names[0]} files have no exact index")
    problems: list[str] = []
    clock = SourceClock(container)
    order: list[int] = []
    marked: list[int] = []  # places in the order of decoding
    for packet in read_packets(container, clock, [stream], problems):
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            return FrameIndex(distrust="some packets have no time or are not shown")
        if packet.is_keyframe:
            marked.append(len(order))
        order.append(packet.pts)
    if problems or clock.jumps:
        return FrameIndex(distrust="; ".join(problems) or "its clock jumps")
    stamps = sorted(order)
    origin = round(info.origin / info.time_base)
    if not stamps or len(set(stamps)) < len(stamps) or stamps[0] != origin:
        return FrameIndex(distrust="its time stamps are not those of its frames")
    keys = _find_closed(order, marked)
    if not keys or keys[0] != 0:
        return FrameIndex(distrust="it does not begin with a key frame")
    return FrameIndex(tuple(stamps), tuple(keys))


def _find_closed(order: list[int], marked: list[int]) -> list[int]:
    """Key frames that part the video: all before are shown before, all after, after.

    Around those of open groups of pictures, frames are shown before the key frame that
    are decoded after it, and lean on what came before.
    """
    before = list(accumulate(order, max))
    after = list(accumulate(reversed(order), min))[::-1]
    return [
        place
        for place in marked
        if (place == 0 or before[place - 1] < order[place])
        and after[place] >= order[place]
    ]
