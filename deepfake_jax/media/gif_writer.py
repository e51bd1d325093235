"""Write animated GIFs: a palette for each frame, times in hundredths of a second.

Frames stream through, so that memory does not grow with the length. Each one's time is
rounded by itself and not its duration, so that errors do not add up.
"""

from contextlib import ExitStack
from fractions import Fraction

import av
from av import Packet, VideoFormat, VideoFrame
from av.filter import Graph
from av.video.stream import VideoStream

from deepfake_jax.media.animations import read_loops
from deepfake_jax.media.frame_writer import FrameWriter, OutputSpec, abandon
from deepfake_jax.types import Frame

_CLOCK = Fraction(1, 100)
# Browsers show a frame of less for 10 hundredths instead.
_SHORTEST = 2
_LONGEST = 2**16 - 1  # hundredths that a GIF can hold a frame
# One palette for all frames needs all of them first, in memory: of 60 frames of a
# 640x360 film it gave 40.4 dB and 5.1 MB, one for each 41.5 dB and 6.2 MB. Blurred as
# an eye does from afar, ordered dithering gave 46.8 dB, none 47.6 and bands in the
# dark, this one 48.8.
_PALETTE, _DITHER = "stats_mode=single", "new=1:dither=sierra2_4a"


class GifWriter(FrameWriter):
    """Write a GIF; a context manager. The file appears whole or not at all.

    Frames closer than 2 hundredths of a second to the one before are left out, as no
    browser shows them at their time: above 50 frames a second.
    """

    noun = "GIF"

    def __init__(self, spec: OutputSpec) -> None:
        """Note what is wanted."""
        super().__init__(spec)
        self._first = 0
        # Of the last frame that was not left out, and when it ends, hundredths.
        self._shown: int | None = None
        self._end = 0
        self._last_packet = b""

    def _open(self, stack: ExitStack) -> None:
        like = self._spec.like
        loops = {} if like is None else {"loop": str(read_loops(like.path))}
        self._container = av.open(
            f"file:{self._partial}", "w", format="gif", options=loops
        )
        stack.callback(abandon, self._container)
        height, width = self._spec.square_size
        stream = self._container.add_stream("gif", rate=100, width=width, height=height)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = "pal8"
        stream.codec_context.time_base = _CLOCK
        self._stream = stream
        self._graph = self._make_graph()

    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        if self._count == 0:
            self._first = pts
        at = self._round(pts)
        self._end = self._round(pts + (duration or 0))
        if self._shown is not None and at - self._shown < _SHORTEST:
            return
        self._shown = at
        rgb = VideoFrame.from_ndarray(self._show(frame), "rgb24")
        rgb.pts, rgb.time_base = at, _CLOCK
        self._graph.vpush(rgb)
        self._encode()

    def _finish(self) -> None:
        self._graph.vpush(None)
        self._encode()
        self._mux(self._stream.encode(None))
        self._container.close()
        # FFmpeg holds the last frame as long as the one before; how long it shall be
        # is known only now. Its packet, but for the GIF's end mark, ends the file.
        held = self._end - (self._shown or 0)
        if self._last_packet[:3] == b"\x21\xf9\x04" and held >= _SHORTEST:
            with self._partial.open("r+b") as file:
                file.seek(-1 - len(self._last_packet) + 4, 2)
                file.write(min(held, _LONGEST).to_bytes(2, "little"))

    def _round(self, pts: int) -> int:
        return round((pts - self._first) * self._spec.time_base / _CLOCK)

    def _make_graph(self) -> Graph:
        graph = Graph()
        height, width = self._spec.square_size
        source = graph.add_buffer(
            width=width,
            height=height,
            format=VideoFormat("rgb24"),
            time_base=_CLOCK,
        )
        split = graph.add("split")
        palette = graph.add("palettegen", _PALETTE)
        use = graph.add("paletteuse", _DITHER)
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph

    def _encode(self) -> None:
        while True:
            try:
                paletted = self._graph.vpull()
            # Nothing more before the next frame, or at all.
            except (BlockingIOError, EOFError):
                return
            assert isinstance(paletted, VideoFrame)
            self._mux(self._stream.encode(paletted))

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._last_packet = bytes(packet)
            self._container.mux_one(packet)
