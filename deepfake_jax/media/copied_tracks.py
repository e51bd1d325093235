"""A file's sound and subtitles on their way into another.

Packets are copied as they are, in step with the pictures, so that the writer never
holds more than a moment of sound. What the output cannot hold is coded anew where that
is possible and named where it is not, before any frame is read. Times are those of the
source's clock (`source_clock`), counted from its first frame.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from deepfake_jax.media.file_metadata import choose_names
from deepfake_jax.media.frame_writer import SoundMode
from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.opened_videos import open_source
from deepfake_jax.media.recoded_tracks import (
    SUBTITLE_HEADER,
    SoundEncoder,
    choose_text_codec,
    recode_packet,
)
from deepfake_jax.media.source_clock import SourceClock, read_packets
from deepfake_jax.media.track_times import TrackTimes

_log = logging.getLogger("deepfake_jax")
_NOTHING = Fraction(0)


@dataclass(frozen=True)
class _Track:
    """Where a stream goes, and how it is coded before and after."""

    copy: Stream
    codec: str
    recoded: str = ""
    encoder: SoundEncoder | None = None


class TrackCopy:
    """Sound and subtitle streams of a file on their way into a container."""

    def __init__(
        self,
        source: VideoInfo,
        output: OutputContainer,
        path: Path,
        *,
        sound: SoundMode = "copy",
        end: Fraction | None = None,
    ) -> None:
        """Open ``source`` and add its streams to ``output``.

        Args:
            source: the file; one without sound or subtitles adds none.
            output: a container that is not yet written to.
            path: the output's name, for messages.
            sound: whether sound is copied where the container takes it, always coded
                anew, or left out.
            end: seconds at which subtitles disappear; those that start later are left
                out. Where the sound ends, `finish` is told.

        Raises:
            VideoError: ``source`` cannot be read.
        """
        self._source, self._output, self._path = source, output, path
        self._container = open_source(source.path)
        self._tracks: dict[int, _Track] = {}
        self._times = TrackTimes(
            source.origin,
            end=None if end is None else end + source.origin,
            hides=output.format.name in ("mp4", "mov"),
        )
        try:
            if sound != "none":
                self._add_sound(sound)
            self._add_subtitles()
        except BaseException:
            self.close()
            raise
        self._packets = self._read_packets()
        self._next: Packet | None = None

    def start_at(self, seconds: Fraction, *, cut: bool) -> None:
        """Choose the time that becomes 0; call it before anything is copied.

        Args:
            seconds: from the first frame; negative if the output starts earlier.
            cut: whether what lies before is left out. MP4 and MOV get the packet of
                sound at the start and one before, because most codecs need one to
                settle, and an edit list that begins between; the others cannot hide
                sound and begin with the first packet that starts later.
        """
        self._times.start_at(self._source.origin + seconds, cut=cut)

    def copy_until(self, seconds: Fraction) -> None:
        """Write the packets that are over by then, and the subtitles that start."""
        for packet in self._take(seconds):
            self._write(packet, None)

    def finish(self, end: Fraction | None) -> None:
        """Write all that is left, or what starts before ``end``, no longer than that.

        What follows a place where ``source`` is damaged is left out: there is nothing
        to copy.
        """
        for packet in self._take(None):
            clock = packet.time_base or _NOTHING
            if end is not None and clock:
                if (packet.pts or 0) * clock >= end:
                    # Reading on to the end of a long source would take minutes, and
                    # packets are stored in order, give or take a second.
                    if (packet.dts or 0) * clock >= end + 1:
                        break
                    continue
                left = round(end / clock) - (packet.pts or 0)
                packet.duration = min(packet.duration or left, max(1, left))
            self._write(packet, end)
        for track in self._tracks.values():
            if track.encoder is not None:
                self._mux(track, track.encoder.finish())

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
            if packet.stream.type == "audio":
                start += (packet.duration or 0) * (packet.time_base or _NOTHING)
            if seconds is not None and start > seconds:
                return
            self._next = None
            yield packet

    def _write(self, packet: Packet, end: Fraction | None) -> None:
        track = self._tracks[packet.stream_index]
        if track.encoder is not None:
            self._mux(track, track.encoder.encode(packet, end=end))
            return
        if track.recoded:
            packet = recode_packet(packet, track.codec, track.recoded)
            if packet.size == 0:
                return
        self._mux(track, [packet])

    def _mux(self, track: _Track, packets: list[Packet]) -> None:
        for packet in packets:
            packet.stream = track.copy
            self._output.mux_one(packet)

    def _add_sound(self, mode: SoundMode) -> None:
        source = self._source.path
        for number, stream in enumerate(self._container.streams.audio, start=1):
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            name = f"sound track {number} of {source.name} ({codec})"
            if mode == "copy" and can_copy(source, stream, self._output.format.name):
                copy = self._output.add_stream_from_template(stream)
                self._keep(stream, _Track(copy, codec))
                continue
            if stream.codec_context is None:
                _log.warning("%s is not known to this FFmpeg and left out", name)
                continue
            encoder = SoundEncoder(stream, self._output)
            self._keep(stream, _Track(encoder.stream, codec, encoder=encoder))
            if mode == "copy":
                _log.warning(
                    "%s cannot hold %s as it is; it is coded as %s",
                    self._path.suffix,
                    name,
                    encoder.stream.codec_context.name,
                )

    def _add_subtitles(self) -> None:
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
                        self._path.suffix,
                        name,
                        self._source.path.name,
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
                        self._path.suffix,
                        name,
                        self._source.path.name,
                    )
            self._keep(stream, _Track(copy, codec, recoded))

    def _keep(self, stream: Stream, track: _Track) -> None:
        track.copy.metadata.update(choose_names(stream))
        track.copy.disposition = stream.disposition
        self._tracks[stream.index] = track

    def _read_packets(self) -> Iterator[Packet]:
        # The readable part of a truncated source is kept; read_frames reports it.
        streams = [self._container.streams[index] for index in self._tracks]
        if not streams:
            return
        clock = SourceClock(self._container)
        for packet in read_packets(self._container, clock, streams, []):
            if self._tracks[packet.stream_index].encoder is not None:
                wanted = self._times.is_heard(packet)
            else:
                wanted = self._times.cut_packet(packet)
            if wanted:
                self._times.move(packet)
                yield packet


def can_copy(source: Path, sound: AudioStream, container: str) -> bool:
    """Try whether a container takes a sound stream as it is, by its first packets.

    Args:
        source: the file that ``sound`` is in.
        sound: the stream; its own container is not read on.
        container: FFmpeg's name of the format.
    """
    try:
        with (
            open_source(source) as again,
            av.open(os.devnull, "w", format=container) as trial,
        ):
            copy = trial.add_stream_from_template(again.streams[sound.index])
            trial.start_encoding()
            for packet in islice(again.demux(again.streams[sound.index]), 2):
                if packet.size:
                    packet.stream = copy
                    trial.mux_one(packet)
    except (FFmpegError, ValueError):
        return False
    return True
