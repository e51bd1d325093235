"""XMP packets in films and animations, put there when FFmpeg has written all else.

Stills get theirs from Pillow.

References:
    ISO 16684-1; part 3 of Adobe's XMP specification for where each format keeps it.
"""

import os
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO

from deepfake_jax.files import partial_path
from deepfake_jax.media.file_kinds import find_format
from deepfake_jax.media.picture_extras import XMP_TEXT

# Which box of an MP4 is XMP.
_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_LONGEST = 2**24  # bytes of a packet that is read
_GIF = b"\x21\xff\x0bXMP DataXMP"
# Readers that know nothing of XMP take the packet's bytes for lengths of blocks; from
# wherever they come here, these lead to the end.
_GIF_END = bytes([1, *range(255, -1, -1), 0])
_GIF_TRAILER = b"\x3b"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"uuid")


def insert_xmp(path: Path, packet: bytes) -> bool:
    """Puts a packet into a complete file; tells whether its kind holds one here.

    An MP4 or MOV, a GIF, an animated WebP or PNG. A still, and what is none of these,
    is left alone.

    Raises:
        OSError: the disk is full.
    """
    kind, head = find_format(path), _read_head(path)
    if kind == "apng":
        _insert_into_png(path, packet)
    elif kind == "animated webp":
        _append_to_webp(path, packet)
    elif head[:4] == b"GIF8":
        _append_to_gif(path, packet)
    elif kind == "other" and head[4:8] in _BOXES:
        size = 8 + len(_UUID) + len(packet)
        with path.open("ab") as file:
            file.write(size.to_bytes(4, "big") + b"uuid" + _UUID + packet)
    else:
        return False
    return True


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _insert_into_png(path: Path, packet: bytes) -> None:
    # Before the frames: Pillow reads no further than the first.
    text = b"iTXt" + XMP_TEXT.encode() + bytes(5) + packet
    chunk = (len(text) - 4).to_bytes(4, "big") + text
    chunk += zlib.crc32(text).to_bytes(4, "big")
    copy = partial_path(path)
    try:
        with path.open("rb") as old, copy.open("wb") as new:
            new.write(old.read(8 + 25) + chunk)  # behind the signature and the sizes
            shutil.copyfileobj(old, new, 1 << 20)
        os.replace(copy, path)
    finally:
        copy.unlink(missing_ok=True)


def _append_to_webp(path: Path, packet: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(20)
        flags = file.read(1)[0]
        file.seek(0, 2)
        file.write(b"XMP " + len(packet).to_bytes(4, "little") + packet)
        file.write(bytes(len(packet) % 2))
        size = file.tell() - 8
        file.seek(20)
        file.write(bytes([flags | 4]))
        file.seek(4)
        file.write(size.to_bytes(4, "little"))


def _append_to_gif(path: Path, packet: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        if file.read(1) == _GIF_TRAILER:
            file.seek(-1, 2)
        file.write(_GIF + packet + _GIF_END + _GIF_TRAILER)


def read_film_xmp(path: Path) -> bytes:
    """The packet of an MP4, MOV or GIF; empty if there is none."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        if file.read(4) == b"GIF8":
            # The packet may lie anywhere, as a rule near one of the ends.
            file.seek(0)
            for place in (0, max(0, end - _LONGEST)):
                file.seek(place)
                if found := _find_in_gif(file.read(_LONGEST)):
                    return found
            return b""
        return _find_box(file, end)


def _find_box(file: BinaryIO, end: int) -> bytes:
    """The packet among the outermost boxes of an MP4 or MOV."""
    place = 0
    while place + 8 <= end:
        file.seek(place)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        start = place + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), place + 16
        size = size or end - place
        if size < 8 or place + size > end:
            break
        if kind == b"uuid" and size < _LONGEST:
            file.seek(start)
            if file.read(16) == _UUID:
                return file.read(place + size - start - 16)
        place += size
    return b""


def _find_in_gif(data: bytes) -> bytes:
    start = data.find(_GIF) + len(_GIF)
    end = data.find(_GIF_END, start)
    return data[start:end] if start >= len(_GIF) and end > 0 else b""
