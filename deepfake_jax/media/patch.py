"""Paste a changed part into a native frame without converting the rest of it.

Only the samples of changed pixels are replaced, all others stay bit for bit: a swapped
face costs no generation loss elsewhere, and a few milliseconds at 1080p instead of the
60 ms of a whole frame to RGB and back. Pixels are RGB uint8, height width 3, in the
frame's own transfer: of an HDR frame those of ``cut_region(..., tone=False)``.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from av import VideoFrame
from jaxtyping import Bool

from deepfake_jax.media.pixel_formats import complete_tags, convert_from_rgb, read_tags
from deepfake_jax.media.yuv_planes import (
    INTERLEAVED,
    Samples,
    chroma_steps,
    is_quick,
    rgb_to_planes,
    view_part,
    view_plane,
)
from deepfake_jax.types import Frame

Changed = Bool[np.ndarray, "height width"]
_PLANAR = {
    f"{start}{chroma}p{end}"
    for start, ends in (("yuv", ("", "10le", "12le")), ("yuvj", ("",)))
    for chroma in ("420", "422", "444")
    for end in ends
}


def can_paste(native: VideoFrame) -> bool:
    """Say whether `paste_native` takes frames of this pixel format."""
    return native.format.name in _PLANAR | INTERLEAVED


def paste_native(
    native: VideoFrame,
    patch: Frame,
    *,
    x: int,
    y: int,
    changed: Changed,
    in_place: bool = False,
) -> VideoFrame:
    """Paste the changed pixels of a patch into a native frame or a copy of it.

    A chroma sample is replaced when any of the pixels that it colors is changed.

    Args:
        native: one that `can_paste` allows.
        patch: RGB uint8, in the frame's own transfer.
        x: column of the patch's left edge in the frame.
        y: row of its upper edge. Both must be, and the other edges must be too unless
            they are the frame's, multiples of the chroma's step: those of `cut_region`
            are.
        changed: which pixels of the patch to take.
        in_place: change `native` itself; else a copy of it.

    Returns:
        A frame of the same format, tags and times; a copy lacks the side data.

    Raises:
        ValueError: a format that cannot be pasted into, a patch that is not inside the
            frame or cuts through chroma samples, or a mask of another size.
    """
    _check_patch(native, patch, x, y, changed)
    result = native if in_place else copy_native(native)
    if not changed.any():
        return result
    height, width = changed.shape
    coarse = _coarsen(changed, *chroma_steps(native.format))
    targets = view_part(result, x, y, width, height)
    converted = _convert_patch(native, patch)
    for index, (target, fresh) in enumerate(zip(targets, converted, strict=True)):
        mask = coarse if index else changed
        cv2.copyTo(fresh, mask.view(np.uint8), target)
    return result


def _convert_patch(native: VideoFrame, patch: Frame) -> Sequence[Samples]:
    """A patch as samples like those of a frame, plane by plane."""
    pixels = native.format
    # The matrix that is left open follows the size of the whole frame.
    tags = complete_tags(
        read_tags(native), pixels.name, height=native.height, width=native.width
    )
    if is_quick(native):
        across, down = chroma_steps(pixels)
        return rgb_to_planes(
            patch,
            matrix=tags.matrix,
            full=tags.range == 2,
            across=across,
            down=down,
        )
    planes = convert_from_rgb(patch, pixels.name, tags).planes
    return [view_plane(plane, pixels, index) for index, plane in enumerate(planes)]


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
    sources = view_part(native, x, y, width, height)
    for index, (target, source) in enumerate(zip(result.planes, sources, strict=True)):
        view_plane(target, native.format, index)[:] = source
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
    across, down = chroma_steps(native.format)
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


def _coarsen(
    changed: Changed, across: int, down: int
) -> Bool[np.ndarray, "rows columns"]:
    if across == down == 1:
        return changed
    height, width = changed.shape
    below, right = -height % down, -width % across
    # Any share of a sample's pixels, down to one of four, is more than 0 levels.
    levels = cv2.convertScaleAbs(changed.view(np.uint8), alpha=255)
    if below or right:
        levels = cv2.copyMakeBorder(levels, 0, below, 0, right, cv2.BORDER_CONSTANT)
    size = ((width + right) // across, (height + below) // down)
    return cv2.resize(levels, size, interpolation=cv2.INTER_AREA) > 0
