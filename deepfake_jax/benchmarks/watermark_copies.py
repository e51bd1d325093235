"""Marked frames copied in the ways that copies are made, and frames without a mark."""

import io
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.provenance.watermark import Watermarker, read_luma
from deepfake_jax.provenance.watermark_reader import (
    WatermarkFound,
    even_out,
    find_watermark,
)
from deepfake_jax.types import Frame

PAYLOAD = 0xDF1A2B3C
_Luma = UInt8[np.ndarray, "height width"]
_SINGLES = 4  # frames of a clip that are copied one by one
_FILM = 48  # frames of a copied film, of which the reader takes every second


@dataclass(frozen=True)
class CopyFigures:
    """How the watermark is read from one kind of copy.

    Attributes:
        copy: what was done.
        looks: how many copies were looked at.
        read: share of them of which all 32 bits were read. There is no half of it: a
            checksum tells wrong ones.
        found: share in which a watermark was found.
    """

    copy: str
    looks: int
    read: float
    found: float


@dataclass(frozen=True)
class UnmarkedFigures:
    """What was seen in frames without a mark: pieces of them, scaled and mirrored.

    Attributes:
        looks: how many.
        found: in how many a watermark was said to be.
        least: the smallest bound of chance that a look came to; a mark is reported
            where it is below 1e-8.
        below_10: share of looks whose bound was below 0.1; a bound that holds is
            below it in no more than 0.1 of all looks.
        below_100: likewise, 0.01.
    """

    looks: int
    found: int
    least: float
    below_10: float
    below_100: float


def read_clip(path: Path, count: int) -> list[VideoFrame]:
    """So many frames of a clip, one after another from its middle, as 4:2:0 of 8 bits.

    Raises:
        FFmpegError: it cannot be read.
    """
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        total = stream.frames or 2 * count
        frames = []
        for number, frame in enumerate(container.decode(stream)):
            if number >= (total - count) // 2:
                frames.append(frame.reformat(format="yuv420p"))
            if len(frames) == count:
                break
    return frames


def mark_frames(frames: Sequence[VideoFrame]) -> tuple[list[VideoFrame], list[float]]:
    """Marked copies of frames, and the signal-to-noise ratio of each, dB of its RGB."""
    mark, marked, ratios = Watermarker(PAYLOAD).mark, [], []
    for frame in frames:
        before = convert_to_rgb(frame)
        copy = VideoFrame.from_ndarray(frame.to_ndarray(), frame.format.name)
        copy.color_range, copy.colorspace = frame.color_range, frame.colorspace
        marked.append(mark(copy))
        apart = np.mean((convert_to_rgb(copy).astype(np.float64) - before) ** 2)
        ratios.append(float(10 * np.log10(255**2 / max(apart, 1e-9))))
    return marked, ratios


def time_marking(height: int, width: int, *, rounds: int = 24) -> float:
    """Milliseconds of a processor that the mark takes of a frame; the median."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    rgb = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width]
    frame = VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    mark, times, threads = Watermarker(PAYLOAD).mark, [], cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for _ in range(rounds + 2):
            start = time.thread_time()
            mark(frame)
            times.append(1e3 * (time.thread_time() - start))
    finally:
        cv2.setNumThreads(threads)
    return statistics.median(times[2:])


# Copies of one frame.


def _jpeg(quality: int) -> Callable[[Frame], Frame]:
    def copy(frame: Frame) -> Frame:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        coded = cv2.imencode(".jpg", frame[..., ::-1], options)[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded[..., ::-1]

    return copy


def _scale(by: float) -> Callable[[Frame], Frame]:
    flag = cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC
    return lambda frame: cv2.resize(frame, None, fx=by, fy=by, interpolation=flag)


def _cut(share: float) -> Callable[[Frame], Frame]:
    def copy(frame: Frame) -> Frame:
        height, width = frame.shape[:2]
        side = share**0.5
        rows, columns = round(height * side), round(width * side)
        top, left = (height - rows) // 3, (width - columns) // 3
        return frame[top : top + rows, left : left + columns]

    return copy


def _screenshot(frame: Frame) -> Frame:
    shown = _scale(1.37)(frame)
    height, width = shown.shape[:2]
    screen = np.full((height + 207, width + 124, 3), 40, np.uint8)
    screen[::23] = 90
    screen[83 : 83 + height, 71 : 71 + width] = shown
    return screen


def _chain(*copies: Callable[[Frame], Frame]) -> Callable[[Frame], Frame]:
    def copy(frame: Frame) -> Frame:
        for each in copies:
            frame = each(frame)
        return frame

    return copy


PICTURES: Mapping[str, Callable[[Frame], Frame]] = {
    "as it is": lambda frame: frame,
    "JPEG at 75": _jpeg(75),
    "JPEG at 50": _jpeg(50),
    "cut to a half": _cut(0.5),
    "cut to a quarter": _cut(0.25),
    **{f"scaled by {by:g}": _scale(by) for by in (0.4, 0.5, 0.61, 0.75, 1.33, 2.5)},
    "mirrored": lambda frame: frame[:, ::-1],
    "screenshot": _screenshot,
    "screenshot, JPEG at 75": _chain(_screenshot, _jpeg(75)),
    "mirrored, cut to a half, JPEG at 50": _chain(
        lambda frame: frame[:, ::-1], _cut(0.5), _jpeg(50)
    ),
}
# Of films: encoder, options, and by how much it is scaled before.
FILMS: Mapping[str, tuple[str, dict[str, str], float]] = {
    "x264, crf 23": ("libx264", {"crf": "23"}, 1.0),
    "x264, crf 28": ("libx264", {"crf": "28"}, 1.0),
    "x264, crf 23, half the size": ("libx264", {"crf": "23"}, 0.5),
}


def read_copies(clips: Sequence[Sequence[VideoFrame]]) -> Iterator[CopyFigures]:
    """Reads the mark from copies of marked frames.

    Args:
        clips: marked frames of several clips.
    """
    singles = [
        convert_to_rgb(clip[number * len(clip) // _SINGLES])
        for clip in clips
        for number in range(_SINGLES)
    ]
    for name, copy in PICTURES.items():
        pictures = [np.ascontiguousarray(copy(frame)) for frame in singles]
        found = [_look([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)]) for p in pictures]
        yield _count(name, found)
    for name, (codec, options, scale) in FILMS.items():
        found = []
        for clip in clips:
            coded = code_film(clip[:_FILM], codec, options, scale=scale)
            found.append(_look(coded[::2]))
        yield _count(name, found)


def code_film(
    frames: Sequence[VideoFrame], codec: str, options: dict[str, str], *, scale: float
) -> list[_Luma]:
    """The luma of frames after an encoder."""
    file = io.BytesIO()
    # Codecs of 4:2:0 take even sides alone.
    sides = frames[0].width, frames[0].height
    width, height = (round(side * scale / 2) * 2 for side in sides)
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream(codec, rate=30, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            small = frame.reformat(width, height)
            small.pts = None
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        return [read_luma(frame) for frame in container.decode(video=0)]


def _look(lumas: Sequence[_Luma]) -> WatermarkFound:
    return find_watermark([even_out(luma) for luma in lumas], thorough=True)


def _count(name: str, found: Sequence[WatermarkFound]) -> CopyFigures:
    read = [each.found and each.payload == f"{PAYLOAD:08x}" for each in found]
    return CopyFigures(
        copy=name,
        looks=len(found),
        read=round(sum(read) / len(found), 3),
        found=round(sum(each.found for each in found) / len(found), 3),
    )


def look_at_unmarked(
    rng: np.random.Generator, clips: Sequence[Sequence[VideoFrame]], looks: int
) -> UnmarkedFigures:
    """Looks for a mark in pieces of frames that have none."""
    chances, found = [], 0
    for _ in range(looks):
        clip = clips[int(rng.integers(len(clips)))]
        luma = read_luma(clip[int(rng.integers(len(clip)))])
        height, width = luma.shape
        rows, columns = (round(side * rng.uniform(0.4, 1)) for side in (height, width))
        top = rng.integers(height - rows + 1)
        left = rng.integers(width - columns + 1)
        piece = luma[top : top + rows, left : left + columns]
        piece = cv2.resize(piece, None, fx=(by := rng.uniform(0.5, 2)), fy=by)
        piece = piece[:, :: int(rng.choice((-1, 1)))]
        seen = _look([np.ascontiguousarray(piece)])
        chances.append(seen.chance)
        found += seen.found
    return UnmarkedFigures(
        looks=looks,
        found=found,
        least=min(chances, default=1.0),
        below_10=sum(c < 0.1 for c in chances) / max(1, looks),
        below_100=sum(c < 0.01 for c in chances) / max(1, looks),
    )
