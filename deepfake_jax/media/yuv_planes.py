"""Samples of native frames; a quick conversion of those of 8 bits to RGB and back.

It is as exact as swscale's exact one (RMS of 0.4 levels of RGB, with chroma
interpolated), which takes 3 to 6 times as long for a face's surroundings and stays in
use for what is not planar YUV of 8 bits (`pixel_formats`). A chroma sample lies in the
middle of the pixels that it colors, as swscale takes it. Matrices are the numbers of
ITU-T H.273; RGB is uint8, height width 3.
"""

import functools
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from av import VideoFormat, VideoFrame
from av.video.plane import VideoPlane
from jaxtyping import Float64, UInt8, UInt16

from deepfake_jax.types import Frame

# Rows of one plane; a sample is one number, or two side by side where chroma is
# interleaved (nv12). The planes of a frame differ in size: no axis is compared.
Samples = (
    UInt8[np.ndarray, "_rows _columns _numbers"]
    | UInt16[np.ndarray, "_rows _columns _numbers"]
)
_Matrix = Float64[np.ndarray, "3 4"]

INTERLEAVED = {"nv12", "p010le"}
_QUICK = {
    f"{start}{chroma}p" for start in ("yuv", "yuvj") for chroma in (420, 422, 444)
}
# Kr and Kb: ITU-R BT.709, FCC, BT.601, SMPTE 240M, BT.2020.
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_UNIT = 1024  # of OpenCV's integer arithmetic on bytes


def is_quick(native: VideoFrame) -> bool:
    """Say whether `planes_to_rgb` takes the samples of frames of this pixel format."""
    return native.format.name in _QUICK


def chroma_steps(pixels: VideoFormat) -> tuple[int, int]:
    """Pixels that a chroma sample colors, across and down."""
    return 16 // pixels.chroma_width(16), 16 // pixels.chroma_height(16)


def view_plane(plane: VideoPlane, pixels: VideoFormat, index: int) -> Samples:
    """The samples of a frame's plane of that index, not copied."""
    deep = max(component.bits for component in pixels.components) > 8
    kind = np.uint16 if deep else np.uint8
    numbers = 2 if index and pixels.name in INTERLEAVED else 1
    # PyAV's planes give their memory, but their types do not say so.
    rows = np.frombuffer(cast(Any, plane), kind).reshape(plane.height, -1)
    return rows[:, : plane.width * numbers].reshape(plane.height, plane.width, numbers)


def view_part(
    native: VideoFrame, x: int, y: int, width: int, height: int
) -> list[Samples]:
    """The samples of a part of a frame, plane by plane, not copied.

    Args:
        native: planar YUV, or with interleaved chroma.
        x: column of the part's left edge; a multiple of the chroma's step.
        y: row of its upper edge; likewise.
        width: of the part.
        height: likewise.
    """
    across, down = chroma_steps(native.format)
    parts = []
    for index, plane in enumerate(native.planes):
        dx, dy = (across, down) if index else (1, 1)
        rows = slice(y // dy, -(-(y + height) // dy))
        columns = slice(x // dx, -(-(x + width) // dx))
        parts.append(view_plane(plane, native.format, index)[rows, columns])
    return parts


def pad_native(native: VideoFrame, height: int, width: int) -> VideoFrame:
    """Make a frame of planar YUV larger by repeating its last row and column."""
    if (native.height, native.width) == (height, width):
        return native
    padded = VideoFrame(width, height, native.format.name)
    for index, (target, plane) in enumerate(
        zip(padded.planes, native.planes, strict=True)
    ):
        source = view_plane(plane, native.format, index)
        wide = view_plane(target, native.format, index)
        below, right = wide.shape[0] - source.shape[0], wide.shape[1] - source.shape[1]
        wide[:] = np.pad(source, ((0, below), (0, right), (0, 0)), mode="edge")
    return padded


def planes_to_rgb(planes: Sequence[Samples], *, matrix: int, full: bool) -> Frame:
    """Convert planar YUV of 8 bits, chroma interpolated linearly.

    Args:
        planes: Y, U and V; the chroma's may be half as high or wide, rounded up.
        matrix: one that is known.
        full: whether levels go from 0 to 255 and not from 16 to 235.
    """
    luma, *chroma = planes
    height, width = luma.shape[:2]
    rows, columns = chroma[0].shape[:2]
    if rows < height or columns < width:
        size = (columns * (1 + (columns < width)), rows * (1 + (rows < height)))
        chroma = [
            cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
            for plane in chroma
        ]
    return cv2.transform(cv2.merge([luma, *chroma]), _matrices(matrix, full)[0])


def rgb_to_planes(
    frame: Frame, *, matrix: int, full: bool, across: int, down: int
) -> list[Samples]:
    """Convert to Y, U and V of 8 bits; a chroma sample is the mean of its pixels.

    Args:
        frame: the picture.
        matrix: one that is known.
        full: whether levels go from 0 to 255 and not from 16 to 235.
        across: pixels side by side that share their chroma, 1 or 2.
        down: one below the other, likewise.
    """
    luma, *chroma = cv2.split(cv2.transform(frame, _matrices(matrix, full)[1]))
    if across * down > 1:
        height, width = luma.shape
        below, right = -height % down, -width % across
        size = ((width + right) // across, (height + below) // down)
        if below or right:
            repeat = cv2.BORDER_REPLICATE
            chroma = [
                cv2.copyMakeBorder(plane, 0, below, 0, right, repeat)
                for plane in chroma
            ]
        chroma = [
            cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in chroma
        ]
    return [plane[:, :, None] for plane in (luma, *chroma)]


@functools.cache
def _matrices(matrix: int, full: bool) -> tuple[_Matrix, _Matrix]:
    """From YUV to RGB and back, each with the constants as its last column.

    Reference:
        ITU-T H.273, section 8.3.
    """
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    to_yuv = np.array(
        [
            [red, green, blue],
            [-red / (1 - blue) / 2, -green / (1 - blue) / 2, 0.5],
            [0.5, -green / (1 - red) / 2, -blue / (1 - red) / 2],
        ]
    )
    scale = [1, 1, 1] if full else [219 / 255, 224 / 255, 224 / 255]
    to_yuv *= np.array(scale)[:, None]
    zero = np.array([0 if full else 16, 128, 128])
    middle = np.array([128, 128, 128])
    to_rgb = np.linalg.inv(to_yuv)
    back = _add_constants(to_yuv, middle, to_yuv @ middle + zero)
    return _add_constants(to_rgb, middle, to_rgb @ (middle - zero)), back


def _add_constants(
    linear: Float64[np.ndarray, "3 3"],
    point: Float64[np.ndarray, "3"] | np.ndarray,
    value: Float64[np.ndarray, "3"],
) -> _Matrix:
    """A matrix of OpenCV's units that takes a point to its exact value.

    Rounding it to these units with the constants as they are costs up to 0.4 levels.
    """
    rounded = np.rint(linear * _UNIT) / _UNIT
    return np.column_stack([rounded, value - rounded @ point])
