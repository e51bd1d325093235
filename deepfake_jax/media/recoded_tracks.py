"""Sound and subtitles that an output cannot hold as they are, coded anew.

Samples of sound keep their places in time: gaps are filled with silence, what lies
twice is left out, and a cut falls between two samples. Text subtitles have the same
words at the same times.
"""

import re
from collections.abc import Collection
from fractions import Fraction

import numpy as np
from av import AudioFrame, Codec, Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError

_BITS = {"aac": 96_000, "libopus": 64_000}  # a second and channel
_LOOSE = Fraction(1, 20)  # seconds by which time stamps may stray
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


class SoundEncoder:
    """One sound stream on its way into an output; Opus in WebM, AAC elsewhere.

    Attributes:
        stream: the new one in the output.
    """

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        """Add a stream to ``output``, which is not yet written to."""
        codec = "libopus" if output.format.name == "webm" else "aac"
        rate = source.codec_context.sample_rate or 48_000
        rates = Codec(codec, "w").audio_rates or [rate]
        if rate not in rates:
            rate = min((r for r in rates if r > rate), default=max(rates))
        channels = source.codec_context.layout.nb_channels
        layout = "mono" if channels == 1 else "stereo"
        if channels > 2 and codec == "aac":
            layout = source.codec_context.layout.name
        stream = output.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        stream.bit_rate = _BITS[codec] * stream.codec_context.layout.nb_channels
        self.stream, self._source = stream, source
        # The place of the next sample, counted in the source's own rate.
        self._next: int | None = None

    def encode(self, packet: Packet, *, end: Fraction | None) -> list[Packet]:
        """Decode a packet, whose times are the output's, and give out what is ready.

        Args:
            packet: of the source; one that cannot be decoded becomes silence.
            end: seconds; samples from then on are left out.
        """
        try:
            decoded = self._source.decode(packet)
        except FFmpegError:
            return []
        ready = []
        for frame in decoded:
            ready += self._place(frame, end)
        return ready

    def finish(self) -> list[Packet]:
        """Give out what the encoder still holds."""
        if self._next is None:
            return []
        return self.stream.encode(None)

    def _place(self, frame: AudioFrame, end: Fraction | None) -> list[Packet]:
        rate, samples = frame.sample_rate, frame.to_ndarray()
        step = 1 if frame.format.is_planar else frame.layout.nb_channels
        at = self._next or 0
        if frame.pts is not None and frame.time_base:
            at = round(frame.pts * frame.time_base * rate)
        if self._next is None:
            self._next = max(at, 0)
        ready = []
        if at > self._next + _LOOSE * rate:
            while at > self._next:
                count = min(rate, at - self._next)
                quiet = np.zeros((samples.shape[0], count * step), samples.dtype)
                quiet += 128 if samples.dtype == np.uint8 else 0
                ready += self._send(quiet, frame)
        elif at < self._next - _LOOSE * rate or at < 0:
            samples = samples[:, (self._next - at) * step :]
        if end is not None:
            left = max(0, round(end * rate) - self._next)
            samples = samples[:, : left * step]
        return ready + (self._send(samples, frame) if samples.size else [])

    def _send(self, samples: np.ndarray, like: AudioFrame) -> list[Packet]:
        assert self._next is not None
        step = 1 if like.format.is_planar else like.layout.nb_channels
        sound = AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), like.format.name, like.layout.name
        )
        sound.sample_rate = like.sample_rate
        sound.pts, sound.time_base = self._next, Fraction(1, like.sample_rate)
        self._next += samples.shape[1] // step
        return self.stream.encode(sound)


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
