"""Read and write single pictures: RGB uint8, height width 3, upright.

A picture is read as a viewer shows it: turned by its EXIF orientation, its transparent
parts over black. Color profiles are not applied: the numbers are taken as sRGB.
Every error is a `PictureError` that names the file and the usual fix.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from deepfake_jax.files import write_whole
from deepfake_jax.media.file_kinds import PICTURE_SUFFIXES, is_picture, natural_key
from deepfake_jax.media.opened_pictures import (
    PictureError,
    check_sums,
    convert_image,
    open_image,
)
from deepfake_jax.media.picture_extras import (
    PictureExtras,
    add_extras,
    add_xmp,
    apply_extras,
    gather_extras,
)
from deepfake_jax.media.xmp import make_xmp
from deepfake_jax.types import Frame

_log = logging.getLogger("deepfake_jax")
_WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
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
        path: a PNG, JPEG, WebP, AVIF, BMP, TIFF or GIF file, told by its content.

    Returns:
        RGB uint8, height width 3.

    Raises:
        PictureError: no such file, no picture, or a damaged one.
    """
    with open_image(path) as image:
        try:
            if image.format == "PNG":
                check_sums(path)
            image.load()
            orientation = _read_orientation(image)
            rgb = convert_image(image)
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
    like: Path | None = None,
    source_type: str = "",
    seal: Callable[[Path, Path], None] | None = None,
) -> None:
    """Write a picture; the file appears whole or not at all.

    PNG keeps the metadata as text entries; JPEG, WebP, AVIF and TIFF as JSON in the
    EXIF tag ImageDescription; BMP holds none.

    Args:
        path: its suffix chooses the format: one of `PICTURE_SUFFIXES`.
        frame: RGB uint8, height width 3.
        metadata: names and texts to store with the picture.
        overwrite: whether ``path`` may exist already.
        quality: 1 to 100, for JPEG (always 4:4:4), WebP and AVIF; PNG, BMP and TIFF are
            lossless.
        like: the picture that it was made of, whose transparency, greyness, color
            profile, EXIF, XMP and texts are kept; what the format cannot hold is named
            in one line of the log.
        source_type: IPTC's address of the kind of source, for the XMP; "" for none.
            BMP holds none.
        seal: is the last to write to the file: takes its hidden name and ``path``.

    Raises:
        PictureError: an unknown suffix, a frame of another shape or type, metadata
            that the format cannot hold, an existing file, or a full disk.
    """
    file_format = _check_request(path, frame, quality)
    options: dict[str, Any] = {}
    texts: dict[str, str] = {}
    image, before = Image.fromarray(np.ascontiguousarray(frame)), b""
    if like is not None:
        extras = read_extras(like)
        alpha = file_format in ("PNG", "WEBP", "AVIF", "TIFF")
        image = apply_extras(frame, read_picture(like), extras, alpha=alpha)
        lost = add_extras(options, texts, extras, file_format, mode=image.mode)
        if lost:
            _log.warning("%s cannot hold %s of %s", path, ", ".join(lost), like.name)
        before = extras.xmp
    texts.update(metadata or {})
    if source_type:
        packet = make_xmp(source_type, tool="deepfake-jax", before=before)
        add_xmp(options, texts, packet, file_format)
    options = _choose_options(path, file_format, texts, quality, options)
    with _explaining(path, file_format), write_whole(path, overwrite=overwrite) as file:
        image.save(file, format=file_format, **options)
        if seal is not None:
            seal(file, path)


def _check_request(path: Path, frame: Frame, quality: int) -> str:
    """Pillow's name of the format that a picture shall be written in."""
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
    return _WRITE_FORMATS[path.suffix.lower()]


@contextmanager
def _explaining(path: Path, file_format: str) -> Iterator[None]:
    """Turns errors of writing into a `PictureError`."""
    try:
        yield
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


def read_extras(path: Path) -> PictureExtras:
    """Read what a picture holds beside its colors.

    Raises:
        PictureError: as `read_picture`.
    """
    with open_image(path) as image:
        try:
            image.load()
            return gather_extras(image)
        except Exception as error:
            raise PictureError(f"{path}: the picture is damaged ({error})") from error


def _read_orientation(image: Image.Image) -> int:
    # A broken EXIF block must not make a good picture unreadable.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _choose_options(
    path: Path,
    file_format: str,
    metadata: dict[str, str],
    quality: int,
    kept: dict[str, Any],
) -> dict[str, Any]:
    options = dict(kept)
    if file_format == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
    if file_format in ("WEBP", "AVIF"):
        options["quality"] = quality
    if file_format == "TIFF":
        options["compression"] = "tiff_lzw"
    if not metadata or file_format == "BMP":
        # Which holds none; what an output is stands in the file beside it, too.
        if "exif" in options:
            options["exif"] = options["exif"].tobytes()
        return options
    if file_format == "PNG":
        return options | {"pnginfo": _make_png_text(path, metadata)}
    exif = options.get("exif", Image.Exif())
    before = exif.get(ExifTags.Base.ImageDescription)
    if before:
        metadata = {**metadata, "ImageDescription": str(before)}
    # ASCII escapes, because the tag ImageDescription is defined as ASCII.
    description = json.dumps(metadata)
    if len(description) > _EXIF_ROOM:
        raise PictureError(
            f"{path}: the metadata takes {len(description)} bytes and {file_format} "
            f"holds {_EXIF_ROOM}; shorten it or write a .png"
        )
    exif[ExifTags.Base.ImageDescription] = description
    if len(exif.tobytes()) > 65_000:
        _log.warning("%s: the EXIF block is too large and left out", path)
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = description
    # As bytes, because Pillow's TIFF cannot write blocks inside of a block otherwise.
    return options | {"exif": exif.tobytes()}


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
