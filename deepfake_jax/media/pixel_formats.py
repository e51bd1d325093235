"""Native frames (av.VideoFrame) to RGB and back, with the color tags they carry.

Color tags are the numbers of FFmpeg's enumerations, which follow ITU-T H.273 for the
matrix, the primaries and the transfer (1 is BT.709, 2 is unspecified) but not for the
range: 0 unspecified, 1 limited (16 to 235), 2 full. Only the matrix and the range take
part in the arithmetic. Of an HDR source the RGB values are its transfer-coded signal
(PQ or HLG), not tone-mapped: that way they go back into the same video unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av import VideoFormat, VideoFrame
from av.filter import Graph
from av.video.reformatter import Interpolation

from deepfake_jax.media.yuv_planes import is_quick, planes_to_rgb, view_part
from deepfake_jax.types import Frame

# Within half a level of the formula for every matrix and range; swscale's default is
# off by up to 3 levels and takes 5 instead of 31 ms for a 1080p frame on 2 cores.
_EXACT = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# FFmpeg's AVColorSpace to swscale's SWS_CS numbers.
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True)
class ColorTags:
    """How numbers stand for colors, as FFmpeg's enumerations (see the module)."""

    matrix: int
    range: int
    primaries: int
    transfer: int


BT709 = ColorTags(matrix=1, range=1, primaries=1, transfer=1)


def read_tags(native: VideoFrame) -> ColorTags:
    """Read a native frame's tags as its stream declares them."""
    return ColorTags(
        matrix=int(native.colorspace),
        range=int(native.color_range),
        primaries=int(native.color_primaries),
        transfer=int(native.color_trc),
    )


def complete_tags(
    tags: ColorTags, pixel_format: str, *, height: int, width: int
) -> ColorTags:
    """Fill in what a stream leaves open, as players do.

    An unspecified matrix is BT.601 up to standard definition (1279x576) and BT.709
    above; an unspecified range is limited, save in the ``yuvj`` formats.
    """
    if tags.matrix not in _SWSCALE_MATRIX:
        # By the sides and not by height, so that a turned video keeps its matrix.
        high_definition = max(height, width) >= 1280 or min(height, width) > 576
        tags = replace(tags, matrix=1 if high_definition else 6)
    if pixel_format.startswith("yuvj"):
        return replace(tags, range=2)
    return tags if tags.range in (1, 2) else replace(tags, range=1)


def native_tags(native: VideoFrame) -> ColorTags:
    """A native frame's tags, filled in by `complete_tags`."""
    height, width = native.height, native.width
    return complete_tags(
        read_tags(native), native.format.name, height=height, width=width
    )


def is_convertible(tags: ColorTags) -> bool:
    """Say whether swscale knows the matrix, or there is none declared to know."""
    return tags.matrix in _SWSCALE_MATRIX or tags.matrix == 2


def convert_to_rgb(native: VideoFrame, *, whole: VideoFrame | None = None) -> Frame:
    """Convert a native frame by its own matrix and range.

    Args:
        native: any pixel format that swscale reads, 8 to 16 bits.
        whole: the frame that it was cut from, whose tags and size tell the matrix.

    Returns:
        RGB uint8, height width 3, its own memory.
    """
    whole = whole or native
    if is_quick(native):
        return convert_part(native, 0, 0, native.width, native.height, whole=whole)
    options = source_options(whole)
    rgb = native.reformat(format="rgb24", interpolation=_EXACT, **options)
    return np.array(rgb.to_ndarray(), order="C")


def convert_part(
    native: VideoFrame,
    x: int,
    y: int,
    width: int,
    height: int,
    *,
    whole: VideoFrame | None = None,
) -> Frame:
    """Convert a part of a frame that `is_quick`; arguments as of `view_part`.

    Args:
        whole: as of `convert_to_rgb`.
    """
    tags = native_tags(whole or native)
    part = view_part(native, x, y, width, height)
    return planes_to_rgb(part, matrix=tags.matrix, full=tags.range == 2)


def source_options(native: VideoFrame) -> dict[str, int]:
    """How swscale shall read a native frame's colors: arguments of ``reformat``."""
    if native.format.is_rgb:
        return {}
    tags = native_tags(native)
    return {
        "src_colorspace": _SWSCALE_MATRIX[tags.matrix],
        "src_color_range": tags.range,
    }


def convert_from_rgb(frame: Frame, pixel_format: str, tags: ColorTags) -> VideoFrame:
    """Convert an RGB frame to a native one of ``pixel_format`` by ``tags``.

    Args:
        frame: RGB uint8, height width 3.
        pixel_format: FFmpeg's name, such as yuv420p.
        tags: how the native frame's numbers shall stand for colors.
    """
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return convert_native(rgb, pixel_format, tags)


def convert_native(
    native: VideoFrame, pixel_format: str, tags: ColorTags
) -> VideoFrame:
    """Convert a native frame to ``pixel_format`` and ``tags`` without resizing it.

    A frame that agrees with both already is returned as it is, every sample kept.
    """
    height, width = native.height, native.width
    source = native_tags(native)
    wanted = complete_tags(tags, pixel_format, height=height, width=width)
    same_colors = native.format.is_rgb or (
        _SWSCALE_MATRIX[source.matrix] == _SWSCALE_MATRIX[wanted.matrix]
        and source.range == wanted.range
    )
    if native.format.name == pixel_format and same_colors:
        return native
    options = source_options(native)
    if not VideoFormat(pixel_format).is_rgb:
        options |= {
            "dst_colorspace": _SWSCALE_MATRIX[wanted.matrix],
            "dst_color_range": wanted.range,
        }
    return native.reformat(format=pixel_format, interpolation=_EXACT, **options)


def choose_pixel_format(offered: list[str], source: str | None) -> str:
    """Choose the encoder's pixel format that keeps most of the source's.

    Alpha is dropped. RGB and grey sources become 4:2:0, which every player shows,
    unless the encoder is lossless (it offers ``bgr0``).

    Args:
        offered: the encoder's pixel formats.
        source: the source's pixel format; None for RGB frames.

    Returns:
        One of ``offered``.
    """
    like = VideoFormat(source or "rgb24")
    depth = max(component.bits for component in like.components)
    if "bgr0" in offered and like.is_rgb and depth == 8:
        return "bgr0"
    chroma = "420"
    if not like.is_rgb and len(like.components) > 2:
        across, down = like.chroma_width(16), like.chroma_height(16)
        chroma = {(16, 16): "444", (8, 16): "422"}.get((across, down), "420")
    if like.name.startswith("yuv") and len(like.components) == 3:
        if like.name in offered:
            return like.name
    start = "yuvj" if like.name.startswith("yuvj") else "yuv"
    deep = [f"p{depth}le", "p10le"] if depth > 8 and not like.is_rgb else []
    wishes = [f"{start}{chroma}p"] if not deep else []
    wishes += [f"yuv{chroma}{end}" for end in (*deep, "p")]
    wishes += [f"yuv420{end}" for end in deep]
    # What graphics cards call 4:2:0 of 10 and 8 bits.
    wishes += ["p010le"] * bool(deep) + ["yuv420p", "nv12"]
    return next((wish for wish in wishes if wish in offered), "yuv420p")


def is_transparent(native: VideoFrame) -> bool:
    """Say whether a frame has an opacity and is not opaque everywhere."""
    if not any(component.is_alpha for component in native.format.components):
        return False
    return bool((native.to_ndarray(format="rgba")[..., 3] < 255).any())


def read_side_data(native: VideoFrame) -> dict[str, bytes]:
    """What a frame carries beside its samples, by FFmpeg's names."""
    # PyAV's types know only what it has a class for.
    held = cast(Any, native.side_data)
    return {data.type.name: bytes(data) for data in held}


def make_graph(
    native: VideoFrame, *filters: Sequence[str], time_base: Fraction | None = None
) -> Graph:
    """A graph of FFmpeg's filters for frames like one: from ``vpush`` to ``vpull``.

    Args:
        native: a frame of the size and format that all will have.
        filters: name and, if it has some, arguments of each, in order.
        time_base: of the frames' time stamps; milliseconds where none counts.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=native.width,
        height=native.height,
        format=native.format,
        time_base=time_base or Fraction(1, 1000),
    )
    steps = [graph.add(*words) for words in filters]
    graph.link_nodes(source, *steps, graph.add("buffersink")).configure()
    return graph
