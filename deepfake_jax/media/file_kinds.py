"""What a file is, told by its first bytes and never by its name.

Names lie: a phone's ``IMG_1.jpg`` is a HEIC, a ``.png`` may be an animation, and a pipe
called ``film.mp4`` has no end.
"""

import re
from pathlib import Path
from typing import Literal

FileKind = Literal["picture", "animation", "film", "unreadable picture", "other"]

PICTURE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".webp",
    ".avif",
    ".bmp",
    ".tif",
    ".tiff",
)
VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".vob",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
    ".gif",
    ".h264",
    ".h265",
    ".hevc",
)
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"BM": "bmp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"\xff\x0a": "jxl",
    b"\0\0\0\x0cJXL \r\n\x87\n": "jxl",
    b"\0\0\0\x0cjP  \r\n\x87\n": "jp2",
}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# What Pillow lacks, and how to get there.
UNREADABLE = {
    "heic": (
        "is a HEIC picture, which cannot be read here; convert it first "
        "(heif-convert a.heic a.jpg), or let the phone export JPEG"
    ),
    "jxl": "is a JPEG XL picture, which cannot be read here; convert it to PNG first",
    "jp2": "is a JPEG 2000 picture, which cannot be read here; convert it to PNG first",
}
_PICTURES = ("png", "jpeg", "webp", "avif", "bmp", "tiff")
ANIMATIONS = ("apng", "animated webp", "animated avif")


def find_trouble(path: Path) -> str:
    """Say why a path cannot be read as a file at all, with the fix; "" if it can."""
    if path.is_dir():
        return f"{path}: is a folder; give one file"
    if not path.exists():
        return f"no such file or folder: {path}; check the spelling"
    if not path.is_file():
        return (
            f"{path}: is no regular file but a pipe or a device, which may have no end;"
            " copy what comes out of it into a file first"
        )
    if path.stat().st_size == 0:
        return f"{path}: is empty (0 bytes); copy or download it again"
    return ""


def find_format(path: Path) -> str:
    """The format of a regular file: a picture's or an animation's name, or "other"."""
    with path.open("rb") as file:
        head = file.read(4096)
    for start, name in _STARTS.items():
        if head.startswith(start):
            if name == "png" and b"acTL" in head.split(b"IDAT")[0]:
                return "apng"
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        # Of one that was cut off there the byte is missing.
        moves = head[12:16] == b"VP8X" and int.from_bytes(head[20:21]) & 2
        return "animated webp" if moves else "webp"
    if head[4:8] == b"ftyp":
        brands = re.findall(
            b"(?s)....", head[8 : min(64, int.from_bytes(head[:4], "big"))]
        )
        if b"avis" in brands[:1]:
            return "animated avif"
        if b"avif" in brands:
            return "avif"
        if brands and brands[0] in _HEIF:
            return "heic"
    return "other"


def find_kind(path: Path) -> FileKind:
    """What a regular file can be used as.

    An animation is a clip of frames. What is no picture is a film if its name says so,
    and "other" if not: only opening it would tell.
    """
    name = find_format(path)
    if name in _PICTURES:
        return "picture"
    if name in ANIMATIONS:
        return "animation"
    if name in UNREADABLE:
        return "unreadable picture"
    return "film" if path.suffix.lower() in VIDEO_SUFFIXES else "other"


def is_picture(path: Path) -> bool:
    """Say by its name whether an output is a still picture (a GIF is a video)."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def natural_key(path: Path) -> tuple[list[int | str], str]:
    """What to sort files by to have them as a person counts: 2 before 10."""
    # Splitting at the digits alternates text and number, so that like meets like.
    parts = re.split(r"(\d+)", path.name)
    return [
        int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)
    ], path.name
