"""Swapped faces back into their frames: color, sharpness, mask, blend.

A video's frame stays as it was decoded but for the pixels under the masks: they alone
go through RGB, which at 1080p saves most of the time and keeps the rest bit-exact.
"""

import numpy as np
from av import VideoFrame
from jaxtyping import Bool, Float32, UInt8

from deepfake_jax.conversion.face_mask import finish_mask
from deepfake_jax.conversion.frame_swapper import (
    SwappedFace,
    SwappedFrame,
    mask_options,
)
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.imaging.affine import compose_affine, shift_affine
from deepfake_jax.imaging.blend import blend_pictures, place_face, sharpen_face
from deepfake_jax.imaging.color import match_color
from deepfake_jax.media.frame_parts import Region, can_paste, cut_region, paste_native
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.types import Face, Frame, Mask

_STEP = 8  # pixels; a multiple of every pixel format's chroma step

# A face as it is pasted, and its feathered mask; neither has the frame's size.
FinishedFace = tuple[
    UInt8[np.ndarray, "_side _side 3"], Float32[np.ndarray, "_mask_side _mask_side"]
]


def finish_face(face: SwappedFace, config: ConvertConfig) -> FinishedFace:
    """The face as it is pasted and its feathered mask, both over the crop."""
    new = match_color(face.new, face.old_color, face.new_color, config.color)
    new = sharpen_face(new, config.sharpen)
    return new, finish_mask(face.mask, mask_options(config))


def compose_frame(
    swapped: SwappedFrame,
    config: ConvertConfig,
    finished: list[FinishedFace] | None = None,
) -> Frame | VideoFrame | None:
    """A frame with its faces pasted, native where it was; None if it has no face.

    Args:
        swapped: the frame; left as it is.
        config: how faces are blended.
        finished: what `finish_face` gave for each face; None to compute it here.
    """
    if finished is None:
        finished = [finish_face(face, config) for face in swapped.faces]
    timed = swapped.timed
    pairs = zip(swapped.faces, finished, strict=True)
    for number, (face, (new, mask)) in enumerate(pairs):
        region = face.region
        if number:  # cut again: an earlier face may reach into this one
            box = np.array([region.x, region.y, *region.pixels.shape[1::-1]], float)
            region = cut_region(timed, box, tone=False)
        # The first paste copied the frame, and the copy is nobody else's.
        ours = timed is not swapped.timed
        timed = _paste(timed, region, face, new, mask, config, in_place=ours)
    if timed is swapped.timed:
        return None
    return timed.frame if timed.native is None else timed.native


def _paste(
    timed: TimedFrame,
    region: Region,
    face: SwappedFace,
    new: Face,
    mask: Mask,
    config: ConvertConfig,
    *,
    in_place: bool,
) -> TimedFrame:
    """The frame with one face; the same object if nothing of it is seen."""
    matrix = compose_affine(face.frame_to_crop, shift_affine(region.x, region.y))
    laid = place_face(region.pixels, new, mask, matrix)
    if laid is None:
        return timed
    old = region.pixels[laid.box]
    pixels = blend_pictures(old, laid.face, laid.opacity, blend=config.blend)
    # Chroma samples of a video cover several pixels, and must not be cut through.
    rows, columns = laid.box
    height, width = region.pixels.shape[:2]
    y0, x0 = rows.start // _STEP * _STEP, columns.start // _STEP * _STEP
    y1 = min(height, -(-rows.stop // _STEP) * _STEP)
    x1 = min(width, -(-columns.stop // _STEP) * _STEP)
    patch = region.pixels[y0:y1, x0:x1].copy()
    changed = np.zeros(patch.shape[:2], bool)
    inner = (
        slice(rows.start - y0, rows.stop - y0),
        slice(columns.start - x0, columns.stop - x0),
    )
    patch[inner] = pixels
    changed[inner] = laid.opacity > 0
    return put_pixels(
        timed,
        patch,
        region.x + x0,
        region.y + y0,
        changed=changed,
        in_place=in_place,
    )


def put_pixels(
    timed: TimedFrame,
    pixels: Frame,
    x: int,
    y: int,
    *,
    changed: Bool[np.ndarray, "height width"],
    in_place: bool = False,
) -> TimedFrame:
    """A frame with some pixels of a box replaced, the others bit-exact.

    Args:
        timed: the frame.
        pixels: the box, RGB in the frame's own transfer curve.
        x: column of its left edge.
        y: row of its upper edge.
        changed: which of its pixels are new.
        in_place: change the frame's own samples, and use only the answer from then on;
            else those of a copy.
    """
    if timed.native is not None and can_paste(timed.native):
        native = paste_native(
            timed.native, pixels, x=x, y=y, changed=changed, in_place=in_place
        )
        return _replace(timed, native=native)
    frame = timed.frame if in_place else timed.frame.copy()
    box = frame[y : y + pixels.shape[0], x : x + pixels.shape[1]]
    box[changed] = pixels[changed]
    return _replace(timed, picture=frame)


def _replace(
    timed: TimedFrame,
    *,
    native: VideoFrame | None = None,
    picture: Frame | None = None,
) -> TimedFrame:
    return TimedFrame(
        index=timed.index,
        time=timed.time,
        pts=timed.pts,
        duration=timed.duration,
        native=native,
        picture=picture,
    )


def join_frames(
    left: Frame | VideoFrame, right: Frame | VideoFrame
) -> UInt8[np.ndarray, "height both 3"]:
    """Two frames of one size next to each other, RGB."""
    return np.hstack(
        [
            convert_to_rgb(frame) if isinstance(frame, VideoFrame) else frame
            for frame in (left, right)
        ]
    )
