"""Pictures opened safely: formats, sizes and checksums are looked at before decoding.

Every error is a `PictureError` that names the usual fix.
"""

import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_jax.media.file_kinds import (
    PICTURE_SUFFIXES,
    UNREADABLE,
    find_format,
    find_trouble,
)

# Pillow can open more, among them EPS by starting Ghostscript: only raster formats
# that are safe to open from a stranger are let through. JPEG includes phones' MPO.
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF")
# A file of 74 bytes can declare any size; phones take up to 108 million pixels.
MOST_PIXELS = 128 * 10**6
_LONGEST_SIDE = 65_535
_TOO_LARGE = "has more pixels than is safe to open"


class PictureError(ValueError):
    """A picture that cannot be read or written; the text names the usual fix."""


def open_image(path: Path) -> Image.Image:
    """Open a picture without decoding it; the caller closes it.

    Raises:
        PictureError: no file, no picture, or one of too many pixels.
    """
    trouble = find_trouble(path)
    if trouble:
        raise PictureError(trouble)
    known = UNREADABLE.get(find_format(path))
    if known is not None:
        raise PictureError(f"{path}: {known}")
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is refused or allowed just below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_READ_FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: {_TOO_LARGE} ({error}); shrink it") from error
    # Pillow's plugins raise nearly anything on damaged data.
    except Exception as error:
        raise PictureError(
            f"{path}: is no picture that can be read ({type(error).__name__}); "
            f"give one of {' '.join(PICTURE_SUFFIXES)}, or convert it to PNG first"
        ) from error
    if image.width * image.height > MOST_PIXELS or max(image.size) > _LONGEST_SIDE:
        image.close()
        raise PictureError(
            f"{path}: {_TOO_LARGE}: it says it is {image.width}x{image.height}, and at "
            f"most {MOST_PIXELS // 10**6} million are read, no side above "
            f"{_LONGEST_SIDE}; shrink it first"
        )
    return image


def check_sums(path: Path) -> None:
    """Check the checksum of each part of a PNG; Pillow passes over those of pixels.

    Raises:
        PictureError: one is wrong.
    """
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind, length = head[4:], int.from_bytes(head[:4], "big")
            # It may say any length, and room is made for as much.
            data = file.read(min(length, path.stat().st_size))
            found = int.from_bytes(file.read(4), "big")
            if len(data) == length and zlib.crc32(kind + data) != found:
                raise PictureError(
                    f"the picture is damaged (the checksum of {kind!r} is wrong); copy "
                    "or download it again"
                )
            if kind == b"IEND":
                return


def convert_image(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB of 8 bits, transparent parts over black.

    Raises:
        PictureError: samples of 32 bits.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Pillow's own conversion clips 16-bit grey at 255 instead of scaling it;
        # 257 takes 65535 to 255 exactly.
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise PictureError(
            f"holds 32-bit samples (mode {image.mode!r}), whose white is not defined; "
            "convert it to 8 or 16 bits first"
        )
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colored = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, colored).convert("RGB")
    return image.convert("RGB")
