"""XMP packets that say how a picture or a video came about, as other programs read it.

One property matters: ``Iptc4xmpExt:DigitalSourceType``, which newsrooms and platforms
look for. Films and animations get theirs when FFmpeg has written all else, stills from
Pillow.

References:
    IPTC Photo Metadata Standard, Digital Source Type. ISO 16684-1, part 3 of Adobe's
    XMP specification for where each format keeps the packet.
"""

import io
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from deepfake_jax.files import partial_path
from deepfake_jax.media.file_kinds import find_format
from deepfake_jax.media.picture_extras import XMP_TEXT

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": _RDF,
    "xmp": _XMP,
    "Iptc4xmpExt": _IPTC,
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'
# A packet's namespaces are declared in its own text.
_PREFIX = re.compile(r'xmlns:([\w.-]+)="([^"]+)"')
# Which box of an MP4 is XMP.
_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_LONGEST = 2**24  # bytes of a packet that is read
_GIF = b"\x21\xff\x0bXMP DataXMP"
# Readers that know nothing of XMP take the packet's bytes for lengths of blocks; from
# wherever they come here, these lead to the end.
_GIF_END = bytes([1, *range(255, -1, -1), 0])
_GIF_TRAILER = b"\x3b"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"uuid")


def make_xmp(source_type: str, *, tool: str, before: bytes = b"") -> bytes:
    """A packet that says of what kind a picture's or video's source is.

    Args:
        source_type: the address of IPTC's term.
        tool: the program.
        before: a packet whose other properties are kept, if it can be read.
    """
    for name, space in _SPACES.items():
        ElementTree.register_namespace(name, space)
    root = _parse(before)
    if root is None:
        root = ElementTree.Element("{adobe:ns:meta/}xmpmeta")
        ElementTree.SubElement(root, f"{{{_RDF}}}RDF")
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    assert rdf is not None
    names = (f"{{{_IPTC}}}DigitalSourceType", f"{{{_XMP}}}CreatorTool")
    for described in rdf.findall(f"{{{_RDF}}}Description"):
        for name in names:
            described.attrib.pop(name, None)
            for old in described.findall(name):
                described.remove(old)
    values = dict(zip(names, (source_type, tool), strict=True))
    about = {f"{{{_RDF}}}about": ""}
    ElementTree.SubElement(rdf, f"{{{_RDF}}}Description", {**about, **values})
    text = ElementTree.tostring(root, encoding="unicode")
    return f"{_BEGIN}{text}{_END}".encode()


def _parse(packet: bytes) -> ElementTree.Element | None:
    text = packet.decode("utf-8", "replace").strip("\0 \n\r\t\ufeff")
    # Entities could be made to grow without end; no packet needs any.
    if not text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    for name, space in _PREFIX.findall(text):
        if not re.fullmatch(r"ns\d+", name):
            ElementTree.register_namespace(name, space)
    try:
        root = ElementTree.parse(io.StringIO(re.sub(r"<\?xpacket.*?\?>", "", text)))
    except ElementTree.ParseError:
        return None
    found = root.getroot()
    is_rdf = found.tag == f"{{{_RDF}}}RDF"
    return found if is_rdf or found.find(f"{{{_RDF}}}RDF") is not None else None


def read_source_type(packet: bytes) -> str:
    """The last part of the source type's address in a packet; "" if it says none."""
    root = _parse(packet)
    if root is None:
        return ""
    name = f"{{{_IPTC}}}DigitalSourceType"
    for element in root.iter():
        value = element.attrib.get(name, "")
        if element.tag == name:
            value = element.text or element.attrib.get(f"{{{_RDF}}}resource", "")
        if value:
            return value.strip().rsplit("/", 1)[-1]
    return ""


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
