"""XMP packets that say how a picture or a video came about, as other programs read it.

One property matters: ``Iptc4xmpExt:DigitalSourceType``, which newsrooms and platforms
look for.

References:
    IPTC Photo Metadata Standard, Digital Source Type. ISO 16684-1, part 3 of Adobe's
    XMP specification for where each format keeps the packet.
"""

import io
import re
from xml.etree import ElementTree

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
