"""Copy a file's sound and subtitles into another, packet by packet, without decoding.

Packets keep their bytes and their time stamps; they are given out in step with the
pictures, so that the writer never holds more than a moment of sound. Of a part of the
source, what lies before and after it is left out and the time stamps move.
"""

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av import Packet
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from deepfake_jax.media.file_metadata import pick_names
from deepfake_jax.media.media_probe import VideoError, clock_origin, open_source

_log = logging.getLogger("deepfake_jax")
_NOTHING = Fraction(0)
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


@dataclass(frozen=True)
class _Track:
    """Where a stream goes, and how its subtitles are coded before and after."""

    copy: Stream
    codec: str
    recoded: str = ""


class TrackCopy:
    """Sound and subtitle streams of a file on their way into an output container."""

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        path: Path,
        *,
        kinds: Collection[str] = ("audio", "subtitle"),
        end: Fraction | None = None,
    ) -> None:
        """Open ``source`` and add its streams to ``output``.

        Args:
            source: the file with the sound; one without sound adds nothing.
            output: a container that is not yet written to.
            path: the output's name, for messages.
            kinds: which streams: audio, subtitle.
            end: seconds of the source at which subtitles disappear; those that start
                later are left out. Where the sound ends, `finish` is told.

        Raises:
            VideoError: ``source`` cannot be read, or the container cannot hold its
                sound. Subtitles that it cannot hold are left out with a warning.
        """
        self._container = open_source(source)
        self._output = output
        self._tracks: dict[int, _Track] = {}
        self._last: dict[int, int] = {}
        self._origin: Fraction | None = None
        self._end = end
        try:
            if "audio" in kinds:
                self._add_sound(source, path)
            if "subtitle" in kinds:
                self._add_subtitles(source, path)
        except BaseException:
            self.close()
            raise
        self._packets = self._read_packets(self._container)
        self._next: Packet | None = None

    def start_at(self, seconds: Fraction) -> None:
        """Make a time of the source the start; call it before anything is copied.

        MP4 and MOV get the packet that sounds at the start and one before, because most
        codecs need one to settle, and an edit list that begins between; the others
        cannot hide sound and begin with the first packet that starts later.
        """
        self._origin = seconds

    def copy_until(self, seconds: Fraction) -> None:
        """Write the packets that are over by then, and the subtitles that start."""
        for packet in self._take(seconds):
            self._write(packet)

    def finish(self, end: Fraction | None) -> None:
        """Write all that is left, or what starts before ``end``, no longer than that.

        What follows a place where ``source`` is damaged is left out: there is nothing
        to copy.
        """
        for packet in self._take(None):
            clock = packet.time_base or _NOTHING
            if end is not None:
                if (packet.pts or 0) * clock >= end:
                    # Reading on to the end of a long source would take minutes, and
                    # packets are stored in order, give or take a second.
                    if (packet.dts or 0) * clock >= end + 1:
                        return
                    continue
                left = round(end / clock) - (packet.pts or 0) if clock else 0
                packet.duration = min(packet.duration or left, max(1, left))
            self._write(packet)

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def _take(self, seconds: Fraction | None) -> Iterator[Packet]:
        while True:
            packet = self._next or next(self._packets, None)
            self._next = packet
            if packet is None:
                return
            start = (packet.dts or 0) * (packet.time_base or _NOTHING)
            if self._tracks[packet.stream_index].copy.type == "audio":
                start += (packet.duration or 0) * (packet.time_base or _NOTHING)
            if seconds is not None and start > seconds:
                return
            self._next = None
            yield packet

    def _write(self, packet: Packet) -> None:
        track = self._tracks[packet.stream_index]
        if track.recoded:
            packet = recode_packet(packet, track.codec, track.recoded)
            if packet.size == 0:
                return
        packet.stream = track.copy
        self._output.mux_one(packet)

    def _add_sound(self, source: Path, path: Path) -> None:
        for stream in self._container.streams.audio:
            if stream.codec_context is None:
                raise VideoError(
                    f"{source}: its sound codec is not known to this FFmpeg and cannot "
                    "be copied; convert the sound to AAC first, or write without sound"
                )
            codec = stream.codec_context.name
            try:
                copy = self._output.add_stream_from_template(stream)
            except ValueError as error:
                raise VideoError(
                    f"{path}: {path.suffix} cannot hold the {codec} sound of {source}; "
                    "name the output .mkv, which holds all, or .mov"
                ) from error
            self._keep(stream, _Track(copy, codec))

    def _add_subtitles(self, source: Path, path: Path) -> None:
        supported = self._output.supported_codecs
        for stream in self._container.streams.subtitles:
            codec = stream.codec_context.name if stream.codec_context else ""
            name = f"{codec or 'unknown'} subtitles (stream {stream.index}"
            name += f", {stream.language})" if stream.language else ")"
            recoded = choose_text_codec(codec, supported)
            try:
                copy = self._output.add_stream_from_template(stream)
                recoded = ""
            except ValueError:
                if not recoded:
                    _log.warning(
                        "%s cannot hold the %s of %s; they are left out. Name the "
                        "output .mkv, which holds nearly all",
                        path.suffix,
                        name,
                        source.name,
                    )
                    continue
                copy = self._output.add_stream(recoded)
                assert isinstance(copy.codec_context, SubtitleCodecContext)
                copy.codec_context.subtitle_header = SUBTITLE_HEADER
                copy.time_base = Fraction(1, 1000)
                if codec in ("ass", "ssa"):
                    _log.warning(
                        "%s holds plain subtitles only: the %s of %s lose their looks. "
                        "Name the output .mkv to keep them",
                        path.suffix,
                        name,
                        source.name,
                    )
            self._keep(stream, _Track(copy, codec, recoded))

    def _keep(self, stream: Stream, track: _Track) -> None:
        track.copy.metadata.update(pick_names(stream))
        track.copy.disposition = stream.disposition
        self._tracks[stream.index] = track

    def _read_packets(self, container: InputContainer) -> Iterator[Packet]:
        origin = clock_origin(container) + (self._origin or 0)
        streams = [container.streams[index] for index in self._tracks]
        packets = container.demux(*streams) if streams else ()
        try:
            for packet in packets:
                if packet.size == 0:
                    continue
                if self._origin is not None and not self._cut_start(packet, origin):
                    continue
                if not self._cut_end(packet, container):
                    continue
                self._repair_time(packet, origin)
                yield packet
        except FFmpegError:
            # The readable part of a truncated source is kept; read_frames reports it.
            return

    def _cut_start(self, packet: Packet, origin: Fraction) -> bool:
        """Shorten a packet that the start cuts; say whether anything of it is left."""
        clock = packet.time_base or _NOTHING
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return packet.stream_index in self._last
        start, length = stamp * clock - origin, (packet.duration or 0) * clock
        if start >= 0:
            return True
        if self._tracks[packet.stream_index].copy.type == "audio":
            hides = self._output.format.name in ("mp4", "mov")
            return hides and start + 2 * length > 0
        if start + length <= 0:
            return False
        first = round(origin / clock)
        packet.duration = (packet.duration or 0) - (first - stamp)
        packet.pts = packet.dts = first
        return True

    def _cut_end(self, packet: Packet, container: InputContainer) -> bool:
        """Shorten a subtitle that the end cuts; say whether anything is left."""
        if self._end is None or packet.pts is None or not packet.time_base:
            return True
        if self._tracks[packet.stream_index].copy.type == "audio":
            return True
        end = round((self._end + clock_origin(container)) / packet.time_base)
        if packet.duration:
            packet.duration = max(0, min(packet.duration, end - packet.pts))
        return packet.pts < end

    def _repair_time(self, packet: Packet, origin: Fraction) -> None:
        index = packet.stream_index
        shift = round(origin / packet.time_base) if packet.time_base else 0
        dts = packet.pts if packet.dts is None else packet.dts
        last = self._last.get(index)
        dts = (last or 0) + 1 if dts is None else dts - shift
        # Containers refuse a time stamp that does not increase.
        if last is not None and dts <= last:
            dts = last + 1
        pts = dts if packet.pts is None else max(packet.pts - shift, dts)
        packet.pts, packet.dts = pts, dts
        self._last[index] = dts


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
