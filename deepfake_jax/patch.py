"""Paste a changed part into a native frame without converting the rest of it.

Only the samples of changed pixels are replaced, all others stay bit for bit: a swapped
face costs no generation loss elsewhere, and a few milliseconds at 1080p instead of the
60 ms of a whole frame to RGB and back. Pixels are RGB uint8, height width 3, in the
frame's own transfer: of an HDR frame those of ``cut_region(..., tone=False)``.
"""

from typing import Any, cast

import cv2
import numpy as np
from av import VideoFormat, VideoFrame
from av.video.plane import VideoPlane
from jaxtyping import Bool, UInt8, UInt16

from deepfake_jax.native import complete_tags, convert_from_rgb, read_tags
from deepfake_jax.types import Frame

Changed = Bool[np.ndarray, "height width"]
# Rows of one plane; a sample is one number, or two side by side where chroma is
# interleaved (nv12).
Samples = (
    UInt8[np.ndarray, "rows columns numbers"]
    | UInt16[np.ndarray, "rows columns numbers"]
)

_PLANAR = {
    f"{start}{chroma}p{end}"
    for start, ends in (("yuv", ("", "10le", "12le")), ("yuvj", ("",)))
    for chroma in ("420", "422", "444")
    for end in ends
}
_INTERLEAVED = {"nv12", "p010le"}


def can_paste(native: VideoFrame) -> bool:
    """Say whether `paste_native` takes frames of this pixel format."""
    return native.format.name in _PLANAR | _INTERLEAVED


def paste_native(
    native: VideoFrame, patch: Frame, *, x: int, y: int, changed: Changed
) -> VideoFrame:
    """Paste the changed pixels of a patch into a copy of a native frame.

    A chroma sample is replaced when any of the pixels that it colors is changed.

    Args:
        native: one that `can_paste` allows; it is left as it is.
        patch: RGB uint8, in the frame's own transfer.
        x: column of the patch's left edge in the frame.
        y: row of its upper edge. Both must be, and the other edges must be too unless
            they are the frame's, multiples of the chroma's step: those of `cut_region`
            are.
        changed: which pixels of the patch to take.

    Returns:
        A frame of the same format, tags and times; its side data is not copied.

    Raises:
        ValueError: a format that cannot be pasted into, a patch that is not inside the
            frame or cuts through chroma samples, or a mask of another size.
    """
    _check_patch(native, patch, x, y, changed)
    result = copy_native(native)
    if not changed.any():
        return result
    name = native.format.name
    # The matrix that is left open follows the size of the whole frame.
    tags = complete_tags(
        read_tags(native), name, height=native.height, width=native.width
    )
    converted = convert_from_rgb(patch, name, tags)
    across, down = _chroma_steps(native.format)
    coarse = _coarsen(changed, across, down)
    for index, (target, source) in enumerate(
        zip(result.planes, converted.planes, strict=True)
    ):
        dx, dy = (across, down) if index else (1, 1)
        mask = coarse if index else changed
        whole = _view(target, native.format, index)
        rows, columns = mask.shape
        part = whole[y // dy : y // dy + rows, x // dx : x // dx + columns]
        fresh = _view(source, native.format, index)
        cv2.copyTo(fresh, mask.view(np.uint8), part)
    return result


def copy_native(native: VideoFrame) -> VideoFrame:
    """Copy a frame's samples, tags and times; a decoder may still use the original."""
    result = cut_native(native, 0, 0, native.width, native.height)
    result.pts, result.duration = native.pts, native.duration
    if native.time_base is not None:
        result.time_base = native.time_base
    return result


def cut_native(
    native: VideoFrame, x: int, y: int, width: int, height: int
) -> VideoFrame:
    """Copy a part of a frame, with its tags.

    A filter graph that crops takes four times as long: 0.65 for 0.15 ms.

    Args:
        native: one that `can_paste` allows.
        x: column of the part's left edge; a multiple of the chroma's step.
        y: row of its upper edge; likewise.
        width: of the part.
        height: likewise.
    """
    result = VideoFrame(width, height, native.format.name)
    across, down = _chroma_steps(native.format)
    for index, (target, source) in enumerate(
        zip(result.planes, native.planes, strict=True)
    ):
        part = _view(target, native.format, index)
        whole = _view(source, native.format, index)
        top, left = (y // down, x // across) if index else (y, x)
        part[:] = whole[top : top + part.shape[0], left : left + part.shape[1]]
    tags = read_tags(native)
    result.colorspace, result.color_range = tags.matrix, tags.range
    result.color_primaries, result.color_trc = tags.primaries, tags.transfer
    return result


def _check_patch(
    native: VideoFrame, patch: Frame, x: int, y: int, changed: Changed
) -> None:
    if not can_paste(native):
        raise ValueError(
            f"a {native.format.name} frame cannot be pasted into; ask can_paste first "
            "and write the whole frame as RGB"
        )
    height, width = patch.shape[:2]
    if changed.shape != (height, width):
        raise ValueError(
            f"changed is {changed.shape}; it must be the patch's {(height, width)}"
        )
    across, down = _chroma_steps(native.format)
    for name, start, length, side, step in (
        ("x", x, width, native.width, across),
        ("y", y, height, native.height, down),
    ):
        end = start + length
        if start < 0 or end > side:
            raise ValueError(
                f"{name} is {start} and the patch {length} long, which is not inside "
                f"the frame's {side}"
            )
        if start % step or (end % step and end != side):
            raise ValueError(
                f"a patch from {name} {start} to {end} cuts through chroma samples of "
                f"{step} pixels; cut it with cut_region"
            )


def _chroma_steps(pixels: VideoFormat) -> tuple[int, int]:
    return 16 // pixels.chroma_width(16), 16 // pixels.chroma_height(16)


def _coarsen(
    changed: Changed, across: int, down: int
) -> Bool[np.ndarray, "rows columns"]:
    if across == down == 1:
        return changed
    height, width = changed.shape
    below, right = -height % down, -width % across
    padded = np.pad(changed, ((0, below), (0, right)))
    return np.logical_or.reduce(
        [
            padded[row::down, column::across]
            for row in range(down)
            for column in range(across)
        ]
    )


def _view(plane: VideoPlane, pixels: VideoFormat, index: int) -> Samples:
    deep = max(component.bits for component in pixels.components) > 8
    kind = np.uint16 if deep else np.uint8
    numbers = 2 if index and pixels.name in _INTERLEAVED else 1
    # PyAV's planes give their memory, but their types do not say so.
    rows = np.frombuffer(cast(Any, plane), kind).reshape(plane.height, -1)
    return rows[:, : plane.width * numbers].reshape(plane.height, plane.width, numbers)
