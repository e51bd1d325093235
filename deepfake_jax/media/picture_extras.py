"""What a picture holds beside its colors: transparency, profile, EXIF, XMP, texts.

A picture that is made of another keeps these where its format can hold them.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from deepfake_jax.types import Frame

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_BLOCKS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")

# Where a TIFF keeps its pixels, its profile and XMP, which a copy has anew.
_LAYOUT = (*range(254, 270), *range(273, 282), 284, *range(317, 326), 338, 339, 347)
_XMP_TAG = 700
_LAYOUT += (*range(529, 533), _XMP_TAG, 34675)
XMP_TEXT = "XML:com.adobe.xmp"  # the entry of a PNG that has it


@dataclass(frozen=True)
class PictureExtras:
    """Of one picture, upright.

    Attributes:
        rgba: its pixels with their opacity; None if all are opaque.
        grey: whether it has no colors.
        deep: whether a sample has more than 8 bits.
        profile: its ICC profile.
        exif: its EXIF block, the orientation taken out.
        xmp: its XMP packet.
        texts: entries of a PNG.
    """

    rgba: UInt8[np.ndarray, "height width 4"] | None = None
    grey: bool = False
    deep: bool = False
    profile: bytes = b""
    exif: Image.Exif = field(default_factory=Image.Exif)
    xmp: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)


def gather_extras(image: Image.Image) -> PictureExtras:
    """Gather what an open picture holds; what is broken is passed over."""
    exif = Image.Exif()
    try:
        found = image.getexif()
        for tag, value in found.items():
            if tag in _BLOCKS:
                value = found.get_ifd(tag)
            exif[tag] = value
    # Pillow raises nearly anything on a broken block.
    except Exception:
        exif = Image.Exif()
    for tag in (ExifTags.Base.Orientation, *_LAYOUT):
        exif.pop(tag, None)
    see_through = image.mode in _ALPHA or "transparency" in image.info
    profile, xmp = image.info.get("icc_profile"), image.info.get("xmp")
    texts = {name: str(text) for name, text in getattr(image, "text", {}).items()}
    upright = ImageOps.exif_transpose(image) if see_through else image
    return PictureExtras(
        rgba=np.array(upright.convert("RGBA")) if see_through else None,
        grey=image.mode in _GREY,
        deep=image.mode.startswith("I"),
        profile=profile if isinstance(profile, bytes) else b"",
        exif=exif,
        xmp=xmp if isinstance(xmp, bytes) else texts.get(XMP_TEXT, "").encode(),
        texts=texts,
    )


def apply_extras(
    frame: Frame, before: Frame, extras: PictureExtras, *, alpha: bool
) -> Image.Image:
    """A new picture in the mode of the one that it was made of.

    Args:
        frame: the new one, over black.
        before: the old one, over black.
        extras: of the old one.
        alpha: whether its format holds transparency.
    """
    image = Image.fromarray(np.ascontiguousarray(frame))
    if extras.rgba is not None and alpha and extras.rgba.shape[:2] == frame.shape[:2]:
        # Over black a color is dimmed by its opacity; where nothing changed, the
        # pixels are the old ones, hidden ones included.
        rgba = extras.rgba.copy()
        opacity = np.maximum(rgba[..., 3:], 1).astype(np.float32)
        bright = np.rint(np.minimum(frame * (255 / opacity), 255)).astype(np.uint8)
        changed = (frame != before).any(axis=2)
        rgba[changed, :3] = bright[changed]
        image = Image.fromarray(rgba)
    if extras.grey and (frame[..., :1] == frame).all():
        image = image.convert("LA" if image.mode == "RGBA" else "L")
    return image


def add_extras(
    options: dict[str, Any],
    texts: dict[str, str],
    extras: PictureExtras,
    file_format: str,
    *,
    mode: str,
) -> list[str]:
    """Add what a format can hold to the options of Pillow's ``save``.

    Args:
        options: of ``save``.
        texts: entries of a PNG.
        extras: of the picture that the new one was made of.
        file_format: Pillow's name of the new one's format.
        mode: Pillow's name of the new one's mode.

    Returns:
        What it cannot hold.
    """
    lost = ["16 bits a sample"] if extras.deep else []
    if extras.rgba is not None and not mode.endswith("A"):
        lost.append("transparency (black now)")
    spaces = {"L": b"GRAY", "LA": b"GRAY"}
    fits = extras.profile[16:20] == spaces.get(mode, b"RGB ")
    if extras.profile and fits and file_format != "BMP":
        options["icc_profile"] = extras.profile
    elif extras.profile:
        lost.append("the color profile")
    if len(extras.exif):
        if file_format == "BMP":
            lost.append("EXIF")
        else:
            options["exif"] = extras.exif
        inner = [block for block in _BLOCKS if block in extras.exif]
        if inner and file_format == "TIFF":
            # Which Pillow cannot compress and give inner blocks at the same time.
            lost.append("the camera's part of EXIF")
            for block in inner:
                del extras.exif[block]
    if file_format == "PNG":
        texts.update(extras.texts)
    if extras.xmp and not add_xmp(options, texts, extras.xmp, file_format):
        lost.append("XMP")
    return lost


def add_xmp(
    options: dict[str, Any], texts: dict[str, str], packet: bytes, file_format: str
) -> bool:
    """Add an XMP packet to what a format's ``save`` takes, in place of another one.

    The arguments are those of `add_extras`.

    Returns:
        Whether the format holds one.
    """
    if file_format in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = packet
    elif file_format == "PNG":
        texts[XMP_TEXT] = packet.decode("utf-8", "replace")
    elif file_format == "TIFF":
        options.setdefault("exif", Image.Exif())[_XMP_TAG] = packet
    else:
        return False
    return True
