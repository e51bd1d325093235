"""Interlaced footage as whole pictures.

Each frame of it holds two half pictures, recorded one after the other: what moves has
combs at its edges, which no face network has learned from, and a swapped face between
them would have none. The missing lines of the first half are drawn from their
neighbours in space and time (FFmpeg's bwdif); the number and times of frames stay.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from av import VideoFrame
from av.filter import Graph

from deepfake_jax.media.frame_decoder import DecodedFrame
from deepfake_jax.media.pixel_formats import make_graph


def join_fields(frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Pass on progressive frames; from the first interlaced one on, draw whole ones."""
    graph: Graph | None = None
    waiting: deque[DecodedFrame] = deque()
    for frame in frames:
        native = frame.native
        if graph is None and native.interlaced_frame:
            drawn = ("bwdif", "mode=send_frame:deint=interlaced")
            graph = make_graph(native, drawn, time_base=native.time_base)
        if graph is None:
            yield frame
            continue
        waiting.append(frame)
        graph.vpush(native)
        yield from _pull(graph, waiting)
    if graph is not None:
        graph.vpush(None)
        yield from _pull(graph, waiting)


def _pull(graph: Graph, waiting: deque[DecodedFrame]) -> Iterator[DecodedFrame]:
    while waiting:
        try:
            drawn = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        assert isinstance(drawn, VideoFrame)
        frame = waiting.popleft()
        drawn.pts = frame.native.pts
        yield replace(frame, native=drawn, deinterlaced=True)
