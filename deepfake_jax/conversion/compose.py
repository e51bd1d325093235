"""Swapped faces back into their frames: color, sharpness, mask, blend.

A video's frame stays as it was decoded but for the pixels under the masks: they alone
go through RGB, which at 1080p saves most of the time and keeps the rest bit-exact.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from av import VideoFrame
from jaxtyping import Bool, Float32, UInt8

from deepfake_jax.conversion.face_mask import finish_mask, mask_options
from deepfake_jax.conversion.frame_swapper import SwappedFace, SwappedFrame
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.imaging.affine import (
    Box,
    compose_affine,
    invert_affine,
    resize_affine,
    shift_affine,
)
from deepfake_jax.imaging.blend import blend_pictures, place_face
from deepfake_jax.imaging.color import match_color
from deepfake_jax.imaging.region import Region
from deepfake_jax.imaging.sharpen import sharpen_face
from deepfake_jax.imaging.skin_texture import skin_texture
from deepfake_jax.media.frame_parts import can_paste, cut_region, paste_native
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.types import Frame

# Edges are narrowed as a face is sharpened: by 1 where that is 0.75. For two readers'
# marks of 0, 0.6, 1 and 1.5 see "Narrower edges" in BENCHMARKS.md.
_SHARP, _THINNEST = 0.75, 1.5
_STEP = 8  # pixels; a multiple of every pixel format's chroma step


class FinishedFace(NamedTuple):
    """A face as it is pasted, over the crop; neither part has the frame's size.

    Attributes:
        face: matched in color and sharpened.
        mask: its feathered mask.
    """

    face: UInt8[np.ndarray, "side side 3"]
    mask: Float32[np.ndarray, "mask_side mask_side"]


class Patch(NamedTuple):
    """Pixels of a frame that take others' place.

    Attributes:
        pixels: of a box, RGB in the frame's own transfer curve.
        x: column of its left edge.
        y: row of its upper edge.
        changed: which of its pixels are new.
    """

    pixels: Frame
    x: int
    y: int
    changed: Bool[np.ndarray, "height width"]


def finish_face(face: SwappedFace, config: ConvertConfig) -> FinishedFace:
    """Matches, sharpens and feathers what is pasted for a face."""
    new = match_color(face.new, face.old_color, face.new_color, config.color)
    mask = finish_mask(face.mask, mask_options(config), cover=face.cover)
    return FinishedFace(sharpen_face(new, face.sharpen), mask)


def plain_frame(timed: TimedFrame) -> Frame | VideoFrame:
    """A frame as it was read: native, or the picture."""
    return timed.frame if timed.native is None else timed.native


def compose_frame(
    swapped: SwappedFrame,
    config: ConvertConfig,
    *,
    finished: list[FinishedFace] | None = None,
) -> Frame | VideoFrame:
    """A frame with its faces pasted, native where it was.

    Args:
        swapped: the frame; left as it is, and given back where no face shows in it.
        config: how faces are blended.
        finished: what `finish_face` gave for each face; None to compute it here.
    """
    if finished is None:
        finished = [finish_face(face, config) for face in swapped.faces]
    timed = swapped.timed
    pairs = zip(swapped.faces, finished, strict=True)
    for number, (face, done) in enumerate(pairs):
        region = face.region
        if number:  # cut again: an earlier face may reach into this one
            box = np.array([region.x, region.y, *region.pixels.shape[1::-1]], float)
            region = cut_region(timed, box, tone=False)
        patch = _blend_patch(region, face, done, config)
        if patch is not None:
            # The first paste copied the frame, and the copy is nobody else's.
            timed = put_pixels(timed, patch, in_place=timed is not swapped.timed)
    return plain_frame(timed)


def _blend_patch(
    region: Region, face: SwappedFace, done: FinishedFace, config: ConvertConfig
) -> Patch | None:
    """What a face changes of the frame around it; None if nothing of it shows."""
    matrix = compose_affine(face.frame_to_crop, shift_affine(region.x, region.y))
    thin = min(face.sharpen / _SHARP, _THINNEST)
    laid = place_face(region.pixels, done.face, done.mask, matrix, thin=thin)
    if laid is None:
        return None
    rows, columns = _widen(laid.box, region.pixels.shape)
    pixels = region.pixels[rows, columns].copy()
    changed = np.zeros(pixels.shape[:2], bool)
    inner = (
        slice(laid.box[0].start - rows.start, laid.box[0].stop - rows.start),
        slice(laid.box[1].start - columns.start, laid.box[1].stop - columns.start),
    )
    old, new = pixels[inner], laid.face
    if face.known is not None and config.texture:
        to_crop = resize_affine(len(face.old) / len(face.known.redrawn))
        to_box = compose_affine(invert_affine(matrix), to_crop)
        to_box = compose_affine(
            shift_affine(-laid.box[1].start, -laid.box[0].start), to_box
        )
        texture = np.float32(config.texture) * skin_texture(old, face.known, to_box)
        new = cv2.add(new, cv2.merge([texture] * 3), dtype=cv2.CV_8U)  # clips, rounds
    pixels[inner] = blend_pictures(old, new, laid.opacity, blend=config.blend)
    changed[inner] = laid.opacity > 0
    return Patch(pixels, region.x + columns.start, region.y + rows.start, changed)


def _widen(box: Box, shape: tuple[int, ...]) -> Box:
    """A box to multiples of `_STEP`: chroma samples must not be cut through."""
    starts = [part.start // _STEP * _STEP for part in box]
    stops = [-(-part.stop // _STEP) * _STEP for part in box]
    return (
        slice(starts[0], min(shape[0], stops[0])),
        slice(starts[1], min(shape[1], stops[1])),
    )


def put_pixels(
    timed: TimedFrame, patch: Patch, *, in_place: bool = False
) -> TimedFrame:
    """A frame with some pixels of a box replaced, the others bit-exact.

    Args:
        timed: the frame.
        patch: the box; its edges do not cut through chroma samples.
        in_place: change the frame's own samples, and use only the answer from then on;
            else those of a copy.
    """
    pixels, x, y, changed = patch
    if timed.native is not None and can_paste(timed.native):
        native = paste_native(
            timed.native, pixels, x=x, y=y, changed=changed, in_place=in_place
        )
        return replace(timed, native=native)
    frame = timed.frame if in_place else timed.frame.copy()
    box = frame[y : y + pixels.shape[0], x : x + pixels.shape[1]]
    box[changed] = pixels[changed]
    return replace(timed, native=None, picture=frame)


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
