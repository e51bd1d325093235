"""Text subtitles from one coding to another: the same words at the same times."""

import re
from collections.abc import Collection

from av import Packet

_TEXT = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
# What an encoder of FFmpeg wants to know before it opens, in the form of an ASS file.
SUBTITLE_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, \
BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, \
BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def choose_text_codec(codec: str, supported: Collection[str]) -> str:
    """Choose the coding that a container holds for text subtitles of another.

    Args:
        codec: FFmpeg's name of the source's decoder, such as srt.
        supported: what the container can hold.

    Returns:
        FFmpeg's name of an encoder; "" where there is none or ``codec`` is pictures.
    """
    if codec not in _TEXT:
        return ""
    # The first holds everything but looks, and only MP4 and MOV lack the others.
    wishes = ("subrip", "webvtt", "mov_text")
    return next((wish for wish in wishes if wish in supported), "")


def read_text(data: bytes, codec: str) -> str:
    """Read the words of a subtitle packet; tags are removed."""
    if codec == "mov_text":
        # A length, the text and boxes of styles.
        return data[2 : 2 + int.from_bytes(data[:2], "big")].decode("utf-8", "replace")
    text = data.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):
        # ReadOrder, Layer, Style, Name, three margins, Effect, Text.
        text = text.split(",", 8)[-1]
        text = re.sub(r"\{[^}]*\}", "", text)
        return text.replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", " ")
    if codec == "webvtt":
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return re.sub(r"</?[a-zA-Z][^<>]*>", "", text)


def recode_packet(packet: Packet, codec: str, wanted: str) -> Packet:
    """Make a packet of another coding with the same words and times.

    Args:
        packet: of ``codec``.
        codec: FFmpeg's name of the source's decoder.
        wanted: one that `choose_text_codec` returns.
    """
    text = read_text(bytes(packet), codec).strip("\r\n\0")
    if wanted == "webvtt":
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    data = text.encode()[: 2**16 - 1]
    if wanted == "mov_text" and data:
        data = len(data).to_bytes(2, "big") + data
    recoded = Packet(data)
    recoded.pts, recoded.dts = packet.pts, packet.dts
    recoded.duration = packet.duration
    recoded.time_base = packet.time_base
    return recoded
