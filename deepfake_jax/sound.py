"""Copy a file's sound into another, packet by packet, without decoding it.

Packets keep their bytes and their time stamps; they are given out in step with the
pictures, so that the writer never holds more than a moment of sound.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av import Packet
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Stream

from deepfake_jax.probe import VideoError, clock_origin, open_source


class SoundCopy:
    """All sound streams of a file on their way into an output container."""

    def __init__(self, source: Path, output: OutputContainer, path: Path) -> None:
        """Open ``source`` and add its sound streams to ``output``.

        Args:
            source: the file with the sound; one without sound adds nothing.
            output: a container that is not yet written to.
            path: the output's name, for messages.

        Raises:
            VideoError: ``source`` cannot be read, or the container cannot hold its
                sound.
        """
        self._container = open_source(source)
        self._output = output
        self._streams: dict[int, Stream] = {}
        self._last: dict[int, int] = {}
        try:
            self._add_streams(source, path)
        except BaseException:
            self.close()
            raise
        self._packets = self._read_packets(self._container)
        self._next: Packet | None = next(self._packets, None)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Write the packets that start up to ``seconds``; None for all that are left.

        What follows a place where ``source`` is damaged is left out: there is nothing
        to copy.
        """
        while self._next is not None:
            packet = self._next
            start = (packet.dts or 0) * (packet.time_base or Fraction(0))
            if seconds is not None and start > seconds:
                return
            packet.stream = self._streams[packet.stream_index]
            self._output.mux_one(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def _add_streams(self, source: Path, path: Path) -> None:
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
            copy.metadata.update(
                (name, text)
                for name, text in stream.metadata.items()
                if name in ("language", "title", "handler_name")
            )
            copy.disposition = stream.disposition
            self._streams[stream.index] = copy

    def _read_packets(self, container: InputContainer) -> Iterator[Packet]:
        origin = clock_origin(container)
        packets = container.demux(*container.streams.audio) if self._streams else ()
        try:
            for packet in packets:
                if packet.size == 0:
                    continue
                self._repair_time(packet, origin)
                yield packet
        except FFmpegError:
            # The readable part of a truncated source is kept; read_frames reports it.
            return

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
