"""Parts of frames: reduced for the search, at full size around a face.

A video's frame is kept as decoded and only what is looked at becomes RGB: at 1080p the
exact conversion of a whole frame takes 15 ms or more, a face's surroundings 1 ms, the
reduced frame 1.4 ms. HDR parts are tone-mapped. Boxes are (x, y, width, height).
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation
from jaxtyping import Bool, Float

from deepfake_jax.imaging.affine import face_corners
from deepfake_jax.imaging.region import Region
from deepfake_jax.media.pixel_formats import (
    convert_from_rgb,
    convert_part,
    convert_to_rgb,
    make_graph,
    native_tags,
    read_tags,
    source_options,
)
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.tone_mapping import is_hdr, tone_map
from deepfake_jax.media.yuv_planes import (
    INTERLEAVED,
    Samples,
    chroma_steps,
    is_quick,
    planes_to_rgb,
    rgb_to_planes,
    view_part,
    view_plane,
)
from deepfake_jax.types import Affine, Frame

_ALIGN = 8  # pixels; keeps the chroma of every pixel format in place
Changed = Bool[np.ndarray, "_ _"]  # as large as its patch; checked in words
_PLANAR = {
    f"{start}{chroma}p{end}"
    for start, ends in (("yuv", ("", "10le", "12le")), ("yuvj", ("",)))
    for chroma in ("420", "422", "444")
    for end in ends
}


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
        # To start threads for a frame takes longer than to reduce it.
        threads=1,
        **source_options(native),
    )
    frame = np.ascontiguousarray(reduced.to_ndarray())
    return tone_map(frame, read_tags(native))


def reduce_roughly(timed: TimedFrame, *, height: int, width: int) -> Frame:
    """As `reduce_frame`, from some rows and columns alone where that is quicker.

    At least 64 pixels are averaged to one: at 1080p in a third of the time.
    """
    native = timed.native
    if native is None or not is_quick(native):
        return reduce_frame(timed, height=height, width=width)
    step = min(native.height // (8 * height), native.width // (8 * width))
    if step < 2:
        return reduce_frame(timed, height=height, width=width)
    planes = []
    for index, plane in enumerate(native.planes):
        every = max(1, step // (2 if index else 1))
        some = np.ascontiguousarray(
            view_plane(plane, native.format, index)[::every, ::every, 0]
        )
        size = (width, height)
        planes.append(cv2.resize(some, size, interpolation=cv2.INTER_AREA)[..., None])
    tags = native_tags(native)
    return planes_to_rgb(planes, matrix=tags.matrix, full=tags.range == 2)


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
            pixels are in the frame's own transfer and `paste_native` takes them.
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
    quad = face_corners(frame_to_face, face_size)
    low, high = quad.min(axis=0) - _ALIGN, quad.max(axis=0) + _ALIGN
    return cut_region(timed, np.concatenate([low, high - low]), tone=tone)


def _crop_native(
    native: VideoFrame, x: int, y: int, width: int, height: int
) -> VideoFrame:
    if can_paste(native):
        return cut_native(native, x, y, width, height)
    graph = make_graph(native, ("crop", f"{width}:{height}:{x}:{y}"))
    graph.vpush(native)
    return graph.vpull()


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
    tags = native_tags(native)
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
