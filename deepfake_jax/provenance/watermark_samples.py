"""Frames of a file that the watermark is looked for in: enough, from all over it.

A mark lies still in every swapped frame, so that many of them show it better than one.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import av
import cv2
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from jaxtyping import Float32
from numpy import ndarray

from deepfake_jax.media.file_kinds import find_kind
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.provenance.watermark import read_luma
from deepfake_jax.provenance.watermark_reader import (
    WatermarkFound,
    even_out,
    find_watermark,
)

_PLACES, _EACH = 8, 8  # of a long video, and frames at each
_SHORT = 400  # frames; what is shorter is decoded whole
_Samples = list[Float32[ndarray, "_h _w"]]


def look_for_watermark(paths: Sequence[Path], *, thorough: bool) -> WatermarkFound:
    """Looks for the watermark in a video, or in pictures that are one sequence.

    Args:
        paths: one file, or a sequence's pictures.
        thorough: look for copies that were cut or put into something larger, too.
    """
    groups = list(_group(paths))
    if not groups:
        return WatermarkFound()
    shape = groups[0][0].shape
    together = [each for group in groups for each in group if each.shape == shape]
    best = find_watermark(together, thorough=thorough)
    if best.found:
        return best
    # Marked frames may be few among many.
    for group in groups[: 2 * _PLACES] if len(groups) > 1 else ():
        found = find_watermark(group, thorough=False)
        if found.found:
            return found
    return best


def _group(paths: Sequence[Path]) -> Iterator[_Samples]:
    """Evened frames, those that lie near each other together."""
    if len(paths) == 1 and find_kind(paths[0]) != "picture":
        with suppress(FFmpegError, OSError, ValueError):
            yield from _sample_video(paths[0])
        return
    step = max(1, len(paths) // (_PLACES * _EACH))
    for path in paths[::step]:
        with suppress(PictureError, OSError):
            yield [even_out(cv2.cvtColor(read_picture(path), cv2.COLOR_RGB2GRAY))]


def _sample_video(path: Path) -> Iterator[_Samples]:
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        seconds = (container.duration or 0) / av.time_base
        count = stream.frames or round(seconds * rate)
        if count <= _SHORT:
            yield from _read_all(container, stream, count)
            return
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        for number in range(_PLACES):
            second = start + (number + 0.5) / _PLACES * seconds
            container.seek(int(second * av.time_base))
            group = []
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < second - 1 / rate:
                    continue
                group.append(_even(frame, stream))
                if len(group) == _EACH:
                    break
            if group:
                yield group


def _read_all(
    container: InputContainer, stream: VideoStream, count: int
) -> Iterator[_Samples]:
    step = max(1, count // (_PLACES * _EACH))
    group: _Samples = []
    for number, frame in enumerate(container.decode(stream)):
        if number % step == 0:
            group.append(_even(frame, stream))
        if len(group) == _EACH:
            yield group
            group = []
    if group:
        yield group


def _even(frame: av.VideoFrame, stream: VideoStream) -> Float32[ndarray, "_h _w"]:
    luma = read_luma(frame)
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1 and 0.2 < aspect < 5:
        size = round(luma.shape[1] * float(aspect)), luma.shape[0]
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_LINEAR)
    return even_out(luma)
