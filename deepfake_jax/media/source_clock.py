"""One clock for all streams of a file, which neither jumps nor runs backwards.

A transport stream joined of two, or recorded over a change of programme, starts its
time stamps anew in the middle. Here all that follows moves along, in every stream by
the same amount, so that sound and subtitles stay with their pictures. Whoever demuxes
the same file in the same order comes to the same clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from av import Packet
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition, Stream

# As FFmpeg's own program does; a real gap of a broadcast is shorter.
_LONGEST_GAP = Fraction(10)


@dataclass
class _Track:
    """Where a stream's last packet lies on the clock, seconds."""

    segment: int
    start: Fraction | None = None
    end: Fraction = Fraction(0)


class SourceClock:
    """Moves packets of one file, in the order of the file, onto one clock.

    Attributes:
        leaps: whether the format is one of those whose clock may start anew.
    """

    def __init__(self, container: InputContainer) -> None:
        """Begin at the start of a file."""
        # The index of these rules out jumps and leaves deliberate gaps of hours.
        self._steady = "mp4" in container.format.name
        self.leaps = bool(container.format.flags & Flags.ts_discont.value)
        self._back = Fraction(1, 4) if self.leaps else Fraction(1)
        self._shifts = [Fraction(0)]
        self._tracks: dict[int, _Track] = {}

    @property
    def jumps(self) -> int:
        """How many jumps there were so far."""
        return len(self._shifts) - 1

    def move(self, packet: Packet) -> bool:
        """Put a packet's time stamps onto the clock.

        Returns:
            False for sound that lies where there is sound from before a jump already.
        """
        stamp = packet.pts if packet.dts is None else packet.dts
        clock = packet.time_base
        if self._steady or stamp is None or not clock:
            return True
        start, length = stamp * clock, (packet.duration or 0) * clock
        leads = packet.stream.type in ("audio", "video")
        track = self._tracks.get(packet.stream_index)
        if track is None:
            track = self._tracks[packet.stream_index] = _Track(self.jumps)
        before = track.segment
        track.segment = self._choose(track, start, leads=leads)
        start += self._shifts[track.segment]
        if track.segment != before and packet.stream.type == "audio":
            if start + length / 2 < track.end:
                track.segment = before
                return False
        if leads:
            if track.start is not None and not length:
                length = max(start - track.start, Fraction(0))
            track.start, track.end = start, start + length
        shift = round(self._shifts[track.segment] / clock)
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        return True

    def _choose(self, track: _Track, start: Fraction, *, leads: bool) -> int:
        newest = len(self._shifts) - 1
        ends = [t.end for t in self._tracks.values() if t.start is not None]
        if not leads:
            # A subtitle comes now and then: whichever clock makes it nearest.
            near = range(max(0, newest - 1), newest + 1)
            now = max(ends, default=start)
            return min(near, key=lambda k: abs(start + self._shifts[k] - now))
        if track.start is None or not self._jumps(
            track, start + self._shifts[track.segment]
        ):
            return track.segment
        if track.segment < newest:
            # Another stream was first to jump.
            apart = start + self._shifts[newest] - track.end
            if abs(apart) < _LONGEST_GAP:
                return newest
        self._shifts.append(max(ends) - start)
        return newest + 1

    def _jumps(self, track: _Track, start: Fraction) -> bool:
        assert track.start is not None
        if start < track.start - self._back:
            return True
        if not self.leaps or start < track.end + _LONGEST_GAP:
            return False
        # A stream that was silent for long comes back where the others are.
        return all(
            abs(other.end - start) > _LONGEST_GAP
            for other in self._tracks.values()
            if other is not track and other.start is not None
        )


def read_packets(
    container: InputContainer,
    clock: SourceClock,
    wanted: list[Stream],
    problems: list[str],
) -> Iterator[Packet]:
    """Demux streams on the one clock; what cannot be read is noted and passed over.

    Args:
        container: at its start.
        clock: a new one.
        wanted: the streams whose packets are given out.
        problems: FFmpeg's words for each failure are appended.
    """
    # Sound and pictures tell of jumps, whoever reads: else the clocks would differ.
    pictures = Disposition.attached_pic
    leading = [s for s in container.streams.video if not s.disposition & pictures]
    watched = {s.index: s for s in [*leading, *container.streams.audio, *wanted]}
    if "mp4" in container.format.name:
        watched = {stream.index: stream for stream in wanted}
    indices = {stream.index for stream in wanted}
    packets = container.demux(*watched.values())
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            problems.append(str(error))
            return
        if packet is None:
            return
        if packet.size and clock.move(packet) and packet.stream_index in indices:
            yield packet
