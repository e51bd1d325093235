"""Parts of frames: reduced for the search, at full size around a face.

A video's frame is kept as decoded and only what is looked at becomes RGB: at 1080p the
exact conversion of a whole frame takes 15 ms or more, a face's surroundings 1 ms, the
reduced frame 1.4 ms. HDR parts are tone-mapped. Boxes are (x, y, width, height).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.reformatter import Interpolation
from jaxtyping import Float

from deepfake_jax.imaging.affine import apply_affine, compose_affine, invert_affine
from deepfake_jax.imaging.align import warp_face
from deepfake_jax.media.patch import can_paste, cut_native
from deepfake_jax.media.pixel_formats import (
    convert_part,
    convert_to_rgb,
    read_tags,
    source_options,
)
from deepfake_jax.media.tone_mapping import is_hdr, tone_map
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.media.yuv_planes import is_quick
from deepfake_jax.types import Affine, Face, Frame

_ALIGN = 8  # pixels; keeps the chroma of every pixel format in place


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a frame, or all of it.

    Attributes:
        pixels: RGB.
        x: column of its left edge in the frame.
        y: row of its upper edge in the frame.
    """

    pixels: Frame
    x: int
    y: int


def reduce_frame(timed: TimedFrame, *, height: int, width: int) -> Frame:
    """The whole frame in another size, by area averaging."""
    if timed.native is None:
        frame = timed.frame
        if frame.shape[:2] == (height, width):
            return frame
        size = (width, height)
        return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    native = timed.native
    # The fast conversion is off by up to 3 levels, which no detector notices.
    reduced = native.reformat(
        width=width,
        height=height,
        format="rgb24",
        interpolation=Interpolation.AREA,
        **source_options(native),
    )
    frame = np.ascontiguousarray(reduced.to_ndarray())
    return tone_map(frame, read_tags(native))


def whole_region(timed: TimedFrame, *, tone: bool = True) -> Region:
    """All of a frame; for ``tone`` see `cut_region`."""
    frame = timed.frame
    if tone and timed.native is not None:
        frame = tone_map(frame, read_tags(timed.native))
    return Region(frame, 0, 0)


def cut_region(timed: TimedFrame, box: Float[Any, "4"], *, tone: bool = True) -> Region:
    """The part of a frame that covers a box, or all of one that is in RGB already.

    Args:
        timed: the frame.
        box: x, y, width and height in pixels; what is outside of the frame is left out.
        tone: whether an HDR part is tone-mapped, as the networks want it; without, its
            pixels are in the frame's own transfer and can be pasted back (`patch`).
    """
    height, width = timed.size
    if timed.native is None:
        return whole_region(timed, tone=tone)
    # Tone mapping takes longer than the conversion and is not kept with the frame.
    if timed.converted and not is_hdr(read_tags(timed.native)):
        return whole_region(timed, tone=tone)
    x0, y0 = (int(max(0, v)) // _ALIGN * _ALIGN for v in np.floor(box[:2]))
    x0, y0 = min(x0, max(0, width - _ALIGN)), min(y0, max(0, height - _ALIGN))
    x0, y0 = x0 // _ALIGN * _ALIGN, y0 // _ALIGN * _ALIGN
    x1, y1 = np.ceil(box[:2] + box[2:]).astype(int).tolist()
    x1 = min(width, max(x0 + _ALIGN, -(-x1 // _ALIGN) * _ALIGN))
    y1 = min(height, max(y0 + _ALIGN, -(-y1 // _ALIGN) * _ALIGN))
    box = x0, y0, x1 - x0, y1 - y0
    if is_quick(timed.native):
        pixels = convert_part(timed.native, *box)
    else:
        part = _crop_native(timed.native, *box)
        pixels = convert_to_rgb(part, whole=timed.native)
    if tone:
        pixels = tone_map(pixels, read_tags(timed.native))
    return Region(pixels, x0, y0)


def face_region(
    timed: TimedFrame, frame_to_face: Affine, face_size: int, *, tone: bool = True
) -> Region:
    """The part of a frame that an aligned face shows, with some pixels around it.

    For `tone` see `cut_region`.
    """
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (face_size - 1.0)
    quad = apply_affine(invert_affine(frame_to_face), corners)
    low, high = quad.min(axis=0) - _ALIGN, quad.max(axis=0) + _ALIGN
    return cut_region(timed, np.concatenate([low, high - low]), tone=tone)


def warp_region(region: Region, frame_to_face: Affine, face_size: int) -> Face:
    """`warp_face` of the frame that a region was cut from."""
    shift = np.array([[1.0, 0, region.x], [0, 1.0, region.y]])
    to_face = compose_affine(frame_to_face, shift)
    return warp_face(region.pixels, to_face, face_size)


def _crop_native(
    native: VideoFrame, x: int, y: int, width: int, height: int
) -> VideoFrame:
    if can_paste(native):
        return cut_native(native, x, y, width, height)
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=native.width,
            height=native.height,
            format=native.format,
            time_base=Fraction(1, 1000),
        ),
        graph.add("crop", f"{width}:{height}:{x}:{y}"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    graph.vpush(native)
    return graph.vpull()
