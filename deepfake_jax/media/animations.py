"""Animated WebP, PNG and AVIF pictures as clips: their frames and how long each shows.

Frames are RGB uint8, height width 3, transparent parts over black. Times are in
milliseconds, `CLOCK` seconds each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_jax.media.opened_pictures import PictureError, convert_image, open_image
from deepfake_jax.types import Frame

CLOCK = Fraction(1, 1000)
_UNSET = 100  # ms that browsers show a frame for whose duration is 0


@dataclass(frozen=True)
class Animation:
    """What an animated picture holds.

    Attributes:
        width: pixels.
        height: pixels.
        frames: how many.
        seconds: how long they are shown in all.
        transparent: whether any is so in part.
    """

    width: int
    height: int
    frames: int
    seconds: float
    transparent: bool = False


def probe_animation(path: Path) -> Animation:
    """Count the frames and add up their times.

    Raises:
        PictureError: it cannot be read.
    """
    with open_image(path) as image:
        # The times stand with the frames, and Pillow tells them once it is there.
        times, transparent = list[int](), False
        for shown, duration in _seek_all(path, image):
            times.append(duration)
            transparent = transparent or _is_transparent(shown)
        seconds = sum(times) / 1000
        return Animation(*image.size, len(times), seconds, transparent)


def _is_transparent(image: Image.Image) -> bool:
    if "A" not in image.getbands():
        return "transparency" in image.info
    return image.getchannel("A").getextrema() != (255, 255)


def read_loops(path: Path) -> int:
    """How often an animation, GIF included, is repeated, as FFmpeg's GIF writer counts.

    0 is for ever, as for what is no animation, and -1 never.
    """
    try:
        with open_image(path) as image:
            if image.format == "GIF":
                return int(image.info.get("loop", -1))
            return int(image.info.get("loop", 0))
    except (PictureError, TypeError, ValueError):
        return 0


def read_animation(path: Path) -> Iterator[tuple[Frame, int]]:
    """Each frame with its duration in milliseconds.

    Raises:
        PictureError: one cannot be read; those before were given out.
    """
    with open_image(path) as image:
        for shown, duration in _seek_all(path, image):
            yield np.array(convert_image(shown), np.uint8), duration


def _seek_all(path: Path, image: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    # Not by their number: Pillow counts by seeking, and ends anyhow on damaged data.
    for number in count():
        try:
            try:
                image.seek(number)
            except EOFError:
                return
            image.load()
        # As in pictures: Pillow's plugins raise nearly anything on damaged data.
        except Exception as error:
            raise PictureError(
                f"{path}: frame {number} is damaged ({error}); download it again"
            ) from error
        yield image, max(1, round(image.info.get("duration", 0) or _UNSET))
