"""Frames on their way to a writer: checked, and as a standard screen shows them."""

from pathlib import Path

import numpy as np
from av import VideoFrame

from deepfake_jax.media.media_probe import VideoError
from deepfake_jax.media.pixel_formats import ColorTags, convert_to_rgb
from deepfake_jax.media.tone_mapping import tone_map
from deepfake_jax.types import Frame


def check_size(
    path: Path, number: int, frame: Frame | VideoFrame, *, height: int, width: int
) -> None:
    """Check that a frame is RGB or native and of the output's size.

    Raises:
        VideoError: it is not; the text names ``path`` and the frame's ``number``.
    """
    if isinstance(frame, VideoFrame):
        found = f"{frame.width}x{frame.height}"
        fits = frame.width == width and frame.height == height
    else:
        found = f"{frame.dtype} {frame.shape}"
        fits = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        fits = fits and frame.shape[1] == width
        fits = fits and frame.shape[0] == height
    if not fits:
        raise VideoError(
            f"{path}: frame {number} is {found}; it must be {width}x{height} RGB uint8 "
            "(height, width, 3) or a native frame of that size"
        )


def check_order(path: Path, number: int, pts: int, last: int | None) -> None:
    """Check that a time stamp is above the last one.

    Raises:
        VideoError: it is not.
    """
    if last is not None and pts <= last:
        raise VideoError(
            f"{path}: pts of frame {number} is {pts}; it must be above the last "
            f"frame's {last}; write the frames in the order of display"
        )


def show_frame(frame: Frame | VideoFrame, color: ColorTags) -> Frame:
    """Make the RGB picture of a frame; HDR is tone-mapped.

    Args:
        frame: RGB in the transfer that ``color`` says, or native.
        color: the source's tags.
    """
    rgb = convert_to_rgb(frame) if isinstance(frame, VideoFrame) else frame
    return tone_map(rgb, color)
