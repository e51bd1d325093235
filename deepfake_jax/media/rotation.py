"""Native frames turned upright, as the display matrix in their side data says."""

from fractions import Fraction

import numpy as np
from av import VideoFrame

from deepfake_jax.media.pixel_formats import convert_native, make_graph, read_tags

# The upper left 2x2 of the display matrix (a, b, c, d): x' = ax + cy, y' = bx + dy.
_TURNS = {
    (0, 1, -1, 0): (90, "transpose=clock"),
    (-1, 0, 0, -1): (180, "hflip,vflip"),
    (0, -1, 1, 0): (270, "transpose=cclock"),
    (-1, 0, 0, 1): (0, "hflip"),
    # Alone it would only let the rows run backwards, which `yuv_planes` cannot view.
    (1, 0, 0, -1): (0, "vflip,copy"),
    (0, 1, 1, 0): (90, "transpose=cclock_flip"),
    (0, -1, -1, 0): (270, "transpose=clock_flip"),
}


def read_rotation(native: VideoFrame) -> tuple[int, str]:
    """Read how a native frame must be turned to stand upright.

    Returns:
        The turn in degrees clockwise (0, 90, 180 or 270) and the FFmpeg filters that
        make it, "" for none; a mirrored frame has filters at any angle. Angles between
        are taken to the nearest of these.
    """
    side_data = native.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return 0, ""
    corner = np.frombuffer(bytes(side_data), np.int32)[[0, 1, 3, 4]].astype(np.float64)
    a, b, c, d = (int(x) for x in np.rint(corner / max(np.abs(corner).max(), 1)))
    return _TURNS.get((a, b, c, d), (0, ""))


class RotationReader:
    """How the frames of one video are to be turned; reads each flag once.

    A PyAV frame whose side data were looked at holds itself in a cycle, and 1080p
    frames by the hundred would wait for the garbage collector. The angle alone does
    not, but it cannot tell a mirrored picture.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._filters = ""

    def read(self, native: VideoFrame) -> str:
        """The filters that turn a frame upright; empty if it is."""
        angle = native.rotation
        if angle != self._angle:
            self._angle, self._filters = angle, read_rotation(native)[1]
        return self._filters


def turn_upright(native: VideoFrame, time_base: Fraction, filters: str) -> VideoFrame:
    """Turn a native frame by filters of `read_rotation`; samples move unchanged.

    Where the chroma is halved in one direction only (4:2:2), a quarter turn has no such
    format to go to and the frame becomes 4:4:4.
    """
    if not filters:
        return native
    name = native.format.name
    if "transpose" in filters and native.format.chroma_width(
        16
    ) != native.format.chroma_height(16):
        depth = max(component.bits for component in native.format.components)
        name = "yuv444p" if depth == 8 else f"yuv444p{depth}le"
        native = convert_native(native, name, read_tags(native))
    steps = [step.split("=", 1) for step in filters.split(",")]
    graph = make_graph(native, *steps, time_base=time_base)
    graph.vpush(native)
    return graph.vpull()
