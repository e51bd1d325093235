"""Tell from a container's own sizes whether the file was cut short.

FFmpeg ends quietly where a file breaks off, and declared durations mislead: sound may
outlast the pictures, a last frame may stand for minutes, edit lists hide frames. The
sizes that MP4/MOV boxes, the Matroska/WebM segment and AVI chunks declare do not: a
file that ends before one of them ends is cut, and a healthy file never does.
"""

import os
from pathlib import Path
from typing import BinaryIO, Literal

_MP4_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide uuid udta meta pnot sidx ssix mfra "
    b"prft emsg pdin".split()
)
_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067

Wholeness = Literal["whole", "cut", "cut, no total", "no index", "unknown"]


def check_whole(path: Path) -> Wholeness:
    """Compare the sizes that a container declares with the file's.

    Returns:
        ``"cut"``: the file ends too early; ``"cut, no total"``: so does a fragmented
        MP4 or a GIF, and what is left does not tell how much there was; ``"no index"``:
        MP4 or MOV without a moov box, which no player can open; ``"whole"``: none of
        these; ``"unknown"``: a format that declares no sizes (MPEG-TS, FLV, a live
        stream's Matroska).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[4:8] in _MP4_BOXES:
            return _check_boxes(file, size)
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _check_segment(file, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _check_riff(file, size)
        if head[:4] == b"GIF8":
            # A GIF ends in ";"; some writers pad it with zeros.
            file.seek(max(0, size - 512))
            return (
                "whole" if file.read().rstrip(b"\0")[-1:] == b";" else "cut, no total"
            )
    return "unknown"


def _check_boxes(file: BinaryIO, size: int) -> Wholeness:
    position, seen = 0, set()
    while position + 8 <= size:
        file.seek(position)
        length = int.from_bytes(file.read(4), "big")
        kind = file.read(4)
        if kind not in _MP4_BOXES:
            # Padding or a trailer that some cameras append.
            break
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        elif length == 0:
            length = size - position
        if length < 8:
            break
        if position + length > size:
            if b"moov" in seen and kind in (b"moof", b"mdat"):
                return "cut, no total" if b"moof" in seen | {kind} else "cut"
            break
        seen.add(kind)
        position += length
    return "whole" if b"moov" in seen else "no index"


def _check_segment(file: BinaryIO, size: int) -> Wholeness:
    while file.tell() < size:
        kind = _read_vint(file, keep_marker=True)
        length = _read_vint(file, keep_marker=False)
        if kind is None or length is None:
            return "unknown"
        if kind == _SEGMENT:
            return "cut" if file.tell() + length > size else "whole"
        file.seek(length, os.SEEK_CUR)
    return "cut"


def _read_vint(file: BinaryIO, *, keep_marker: bool) -> int | None:
    # EBML's variable-length number: the count of leading zero bits tells its length;
    # all ones means an unknown size, as a live stream has.
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    rest = file.read(extra)
    if len(rest) < extra:
        return None
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    bits = 7 * (extra + 1)
    value &= (1 << bits) - 1
    return None if value == (1 << bits) - 1 else value


def _check_riff(file: BinaryIO, size: int) -> Wholeness:
    # A long AVI (OpenDML) is a chain of RIFF chunks of about 1 GB.
    position = 0
    while position + 8 <= size:
        file.seek(position)
        if file.read(4) != b"RIFF":
            break
        length = int.from_bytes(file.read(4), "little")
        if length in (0, 0xFFFFFFFF):
            return "unknown"
        if position + 8 + length > size:
            return "cut"
        position += 8 + length + length % 2
    return "whole"
