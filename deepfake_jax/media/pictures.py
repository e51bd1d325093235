"""Read and write single pictures: RGB uint8, height width 3, upright.

A picture is read as a viewer shows it: turned by its EXIF orientation, its transparent
parts over black. Color profiles are not applied: the numbers are taken as sRGB.
Every error is a `PictureError` that names the file and the usual fix.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from deepfake_jax.files import write_whole
from deepfake_jax.types import Frame

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
    ".gif",
)

# Pillow can open more, among them EPS by starting Ghostscript: only raster formats
# that are safe to open from a stranger are let through. JPEG includes phones' MPO.
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# An EXIF block holds 65,533 bytes; what other tags need of it is well under 2,000.
_EXIF_ROOM = 63_000


class PictureError(ValueError):
    """A picture that cannot be read or written; the text names the usual fix."""


def is_picture(path: Path) -> bool:
    """Say by its suffix whether ``path`` is a still picture (a GIF is a video)."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder as a person counts: frame2 before frame10.

    Hidden files, files of other kinds and sub-folders are left out.

    Raises:
        PictureError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise PictureError(
            f"{folder}: is no folder; give a folder that holds pictures "
            f"({' '.join(PICTURE_SUFFIXES)})"
        )
    pictures = [
        path
        for path in folder.iterdir()
        if is_picture(path) and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(pictures, key=natural_key)


def read_picture(path: Path) -> Frame:
    """Read a picture as a viewer shows it.

    The EXIF orientation is applied. Grey, palette, CMYK and 16-bit pictures become
    8-bit RGB; transparent parts are composited on black; of an animation or a
    multi-page file the first picture is taken.

    Args:
        path: a PNG, JPEG, WebP, BMP, TIFF or GIF file, told by its content.

    Returns:
        RGB uint8, height width 3.

    Raises:
        PictureError: no such file, no picture, or a damaged one.
    """
    with _open(path) as image:
        try:
            image.load()
            orientation = _read_orientation(image)
            rgb = _convert_to_rgb(image)
        except PictureError as error:
            raise PictureError(f"{path}: {error}") from None
        # Pillow's plugins raise nearly anything on damaged data (OSError,
        # SyntaxError, struct.error, IndexError).
        except Exception as error:
            raise PictureError(
                f"{path}: the picture is damaged ({error}); copy or download it again"
            ) from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb, dtype=np.uint8)


def write_picture(
    path: Path,
    frame: Frame,
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = True,
    quality: int = 95,
) -> None:
    """Write a picture; the file appears whole or not at all.

    PNG keeps the metadata as text entries; JPEG, WebP and TIFF as JSON in the EXIF
    tag ImageDescription.

    Args:
        path: its suffix chooses the format: one of `PICTURE_SUFFIXES`.
        frame: RGB uint8, height width 3.
        metadata: names and texts to store with the picture.
        overwrite: whether ``path`` may exist already.
        quality: 1 to 100, for JPEG (always 4:4:4) and WebP; PNG, BMP and TIFF are
            lossless.

    Raises:
        PictureError: an unknown suffix, a frame of another shape or type, metadata
            that the format cannot hold, an existing file, or a full disk.
    """
    if path.suffix.lower() not in _WRITE_FORMATS:
        raise PictureError(
            f"{path}: pictures cannot be written as {path.suffix or 'no suffix'!r}; "
            f"use one of {' '.join(PICTURE_SUFFIXES)}"
        )
    fits = frame.dtype == np.uint8 and frame.ndim == 3 and frame.size > 0
    if not fits or frame.shape[2] != 3:
        raise PictureError(
            f"{path}: frame is {frame.dtype} {frame.shape}; "
            "it must be uint8 (height, width, 3), RGB, with at least one pixel"
        )
    if not 1 <= quality <= 100:
        raise PictureError(f"{path}: quality is {quality}; it must be 1 to 100")
    file_format = _WRITE_FORMATS[path.suffix.lower()]
    options = _choose_options(path, file_format, dict(metadata or {}), quality)
    try:
        image = Image.fromarray(np.ascontiguousarray(frame))
        with write_whole(path, overwrite=overwrite) as partial:
            image.save(partial, format=file_format, **options)
    except OSError as error:
        if error.errno is None:
            # Raised by write_whole, with a text of its own.
            raise PictureError(str(error)) from error
        raise PictureError(
            f"{path}: the picture could not be written ({error.strerror}); "
            "check the free space and the rights of the folder"
        ) from error
    # For sides over a format's limit (JPEG: 65,500, WebP: 16,383).
    except ValueError as error:
        raise PictureError(
            f"{path}: {file_format} cannot hold this picture ({error})"
        ) from error


def _open(path: Path) -> Image.Image:
    if path.is_dir():
        raise PictureError(f"{path}: is a folder; give one picture file")
    if not path.exists():
        raise PictureError(f"{path}: no such file; check the spelling and the folder")
    if path.stat().st_size == 0:
        raise PictureError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        return Image.open(path, formats=_READ_FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{path}: has more pixels than is safe to open ({error}); shrink it first"
        ) from error
    # See read_picture for why everything is caught.
    except Exception as error:
        raise PictureError(
            f"{path}: is no picture that can be read ({type(error).__name__}); "
            f"give one of {' '.join(PICTURE_SUFFIXES)}, or convert it to PNG first"
        ) from error


def _read_orientation(image: Image.Image) -> int:
    # A broken EXIF block must not make a good picture unreadable.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _convert_to_rgb(image: Image.Image) -> Image.Image:
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


def _choose_options(
    path: Path, file_format: str, metadata: dict[str, str], quality: int
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if file_format == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
    if file_format == "WEBP":
        options["quality"] = quality
    if file_format == "TIFF":
        options["compression"] = "tiff_lzw"
    if not metadata:
        return options
    if file_format == "BMP":
        raise PictureError(f"{path}: BMP holds no metadata; write a .png instead")
    if file_format == "PNG":
        return options | {"pnginfo": _make_png_text(path, metadata)}
    # ASCII escapes, because the tag ImageDescription is defined as ASCII.
    description = json.dumps(metadata)
    if len(description) > _EXIF_ROOM:
        raise PictureError(
            f"{path}: the metadata takes {len(description)} bytes and {file_format} "
            f"holds {_EXIF_ROOM}; shorten it or write a .png"
        )
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = description
    return options | {"exif": exif}


def _make_png_text(path: Path, metadata: dict[str, str]) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    for name, value in metadata.items():
        if not 1 <= len(name) <= 79 or not name.isascii() or not name.isprintable():
            raise PictureError(
                f"{path}: metadata name {name!r} does not fit PNG; "
                "use 1 to 79 printable ASCII characters"
            )
        text.add_itxt(name, value)
    return text


def natural_key(path: Path) -> tuple[list[int | str], str]:
    """What to sort files by to have them as a person counts: 2 before 10."""
    # Splitting at the digits alternates text and number, so that like meets like.
    parts = re.split(r"(\d+)", path.name)
    return [
        int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)
    ], path.name
