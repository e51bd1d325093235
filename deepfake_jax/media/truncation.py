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

# Matroska's elements inside a segment: head, info, tracks, cluster, cues, chapters,
# attachments, tags, void, checksum.
_PARTS = frozenset(
    [
        0x114D9B74,
        0x1549A966,
        0x1654AE6B,
        0x1F43B675,
        0x1C53BB6B,
        0x1043A770,
        0x1941A469,
        0x1254C367,
        0xEC,
        0xBF,
    ]
)
# A transport stream's packets, with and without a time or a check of errors.
_PACKETS = ((188, 0), (192, 4), (204, 0))
_SYNC = 0x47

Wholeness = Literal["whole", "cut", "cut, no total", "torn", "no index", "unknown"]


def check_whole(path: Path) -> Wholeness:
    """Compare the sizes that a container declares with the file's.

    Returns:
        ``"cut"``: the file ends too early; ``"cut, no total"``: so does a fragmented
        MP4, a GIF or a transport stream, and what is left does not tell how much there
        was; ``"torn"``: a Matroska whose inner parts do not follow each other; ``"no
        index"``: MP4 or MOV without a moov box, which no player can open; ``"whole"``:
        none of these; ``"unknown"``: a format that declares no sizes (FLV, a live
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
        start = file.read(4 + 5 * 204)
        for length, first in _PACKETS:
            if set(start[first : first + 5 * length : length]) == {_SYNC}:
                return "cut, no total" if size % length else "whole"
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
            end = file.tell() + length
            return "cut" if end > size else _check_parts(file, end)
        if length > size - file.tell():  # no system seeks to all that 56 bits can say
            return "cut"
        file.seek(length, os.SEEK_CUR)
    return "cut"


def _check_parts(file: BinaryIO, end: int) -> Wholeness:
    while file.tell() < end:
        kind = _read_vint(file, keep_marker=True)
        length = _read_vint(file, keep_marker=False)
        if kind in _PARTS and length is None:
            return "unknown"  # a cluster of a live stream
        if kind not in _PARTS or length is None or length > end - file.tell():
            return "torn"
        file.seek(length, os.SEEK_CUR)
    return "whole" if file.tell() == end else "torn"


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
