"""Write animated WebP and PNG pictures, of sources that are animations themselves.

Frames stream through, each shown to the millisecond; the loops are the source's.
"""

import logging
import zlib
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.video.stream import VideoStream

from deepfake_jax.media.animations import CLOCK, read_loops
from deepfake_jax.media.frame_writer import FrameWriter, OutputSpec, abandon
from deepfake_jax.types import Frame

_log = logging.getLogger("deepfake_jax")
# Suffix: FFmpeg's format, encoder, its options, pixel format and what loops are called.
_FORMATS = {
    ".webp": ("webp", "libwebp_anim", {"quality": "95"}, "bgra", "loop"),
    ".png": ("apng", "apng", {}, "rgb24", "plays"),
    ".apng": ("apng", "apng", {}, "rgb24", "plays"),
}
SUFFIXES = tuple(_FORMATS)


class AnimationWriter(FrameWriter):
    """Write an animated picture; a context manager. It appears whole or not at all."""

    noun = "animation"

    def __init__(self, spec: OutputSpec) -> None:
        """Note what is wanted; that transparency is left out is said."""
        super().__init__(spec)
        if spec.like is not None and spec.like.transparent:
            name = spec.like.path.name
            _log.warning("%s: left out of %s: transparency", spec.path, name)
        self._first = self._shown = self._end = 0

    def _open(self, stack: ExitStack) -> None:
        like = self._spec.like
        name, codec, options, pixels, loop = _FORMATS[self._path.suffix.lower()]
        loops = 0 if like is None else max(read_loops(like.path), 0)
        self._container = av.open(
            f"file:{self._partial}", "w", format=name, options={loop: str(loops)}
        )
        stack.callback(abandon, self._container)
        height, width = self._spec.square_size
        stream = self._container.add_stream(
            codec, rate=1000, width=width, height=height, options=dict(options)
        )
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixels
        stream.codec_context.time_base = CLOCK
        self._stream = stream

    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        if self._count == 0:
            self._first = pts
        # Two frames of one time cannot be told apart.
        at = max(self._round(pts), self._shown + 1 if self._count else 0)
        self._shown, self._end = at, self._round(pts + (duration or 0))
        native = VideoFrame.from_ndarray(self._show(frame), "rgb24")
        native = native.reformat(format=self._stream.pix_fmt)
        native.pts, native.time_base = at, CLOCK
        self._container.mux(self._stream.encode(native))

    def _finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        held = min(max(self._end - self._shown, 1), 2**16 - 1)
        # FFmpeg knows no end and holds the last frame as long as it thinks fit.
        hold = _hold_webp if self._path.suffix.lower() == ".webp" else _hold_png
        hold(self._partial, held)

    def _round(self, pts: int) -> int:
        return round((pts - self._first) * self._spec.time_base / Fraction(CLOCK))


def _hold_webp(path: Path, milliseconds: int) -> None:
    """Sets how long the last frame is shown."""
    last = _find_last(path, b"ANMF", start=12, order="little")
    if last:
        with path.open("r+b") as file:
            file.seek(last + 8 + 12)  # of its head, and of its place and size
            file.write(milliseconds.to_bytes(3, "little"))


def _hold_png(path: Path, milliseconds: int) -> None:
    """Sets how long the last frame is shown."""
    last = _find_last(path, b"fcTL", start=8, order="big")
    if last:
        with path.open("r+b") as file:
            file.seek(last + 4)
            chunk = bytearray(file.read(4 + 26))
            chunk[24:28] = milliseconds.to_bytes(2, "big") + (1000).to_bytes(2, "big")
            file.seek(last + 4)
            file.write(chunk + zlib.crc32(chunk).to_bytes(4, "big"))


def _find_last(path: Path, name: bytes, *, start: int, order: str) -> int:
    """Where the last chunk of a name begins; 0 if there is none."""
    place, last, size = start, 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            head = file.read(8)
            if order == "little":
                kind, length = head[:4], int.from_bytes(head[4:], "little")
                step = 8 + length + length % 2
            else:
                kind, step = head[4:], 12 + int.from_bytes(head[:4], "big")
            last = place if kind == name else last
            place += step
    return last
