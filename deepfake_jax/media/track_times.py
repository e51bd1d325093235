"""Packets of sound and subtitles from their source's clock to that of an output.

What lies before the output's start or after its end is cut.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from av import Packet

_NOTHING = Fraction(0)
_PREROLL = Fraction(1, 2)  # seconds of sound decoded before a start


@dataclass
class TrackTimes:
    """Where the packets of a file lie in an output.

    Attributes:
        origin: the time on the source's clock that is 0 in the output, seconds.
        end: when subtitles disappear, on the source's clock, seconds; None if never.
        hides: whether the output can hide sound that comes before its start.
        cut: whether what lies before the start is left out.
    """

    origin: Fraction
    end: Fraction | None
    hides: bool
    cut: bool = False
    _last: dict[int, int] = field(default_factory=dict)  # by stream

    def start_at(self, origin: Fraction, *, cut: bool) -> None:
        """Choose the time on the source's clock that becomes 0, seconds."""
        self.origin, self.cut = origin, cut

    def is_heard(self, packet: Packet) -> bool:
        """Whether sound that is decoded is wanted, or what a decoder needs before."""
        clock = packet.time_base or _NOTHING
        until = ((packet.pts or 0) + (packet.duration or 0)) * clock
        return until - self.origin >= -_PREROLL

    def cut_packet(self, packet: Packet) -> bool:
        """Shorten a packet that the start or the end cuts; say whether any is left."""
        return self._cut_start(packet) and self._cut_end(packet)

    def _cut_start(self, packet: Packet) -> bool:
        clock = packet.time_base or _NOTHING
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return not self.cut or packet.stream_index in self._last
        start, length = stamp * clock - self.origin, (packet.duration or 0) * clock
        if start >= 0:
            return True
        if packet.stream.type == "audio":
            return not self.cut or (self.hides and start + 2 * length > 0)
        if start + length <= 0:
            return False
        first = round(self.origin / clock)
        packet.duration = (packet.duration or 0) - (first - stamp)
        packet.pts = packet.dts = first
        return True

    def _cut_end(self, packet: Packet) -> bool:
        if self.end is None or packet.pts is None or not packet.time_base:
            return True
        if packet.stream.type == "audio":
            return True
        end = round(self.end / packet.time_base)
        if packet.duration:
            packet.duration = max(0, min(packet.duration, end - packet.pts))
        return packet.pts < end

    def move(self, packet: Packet) -> None:
        """Give a packet the output's times, which increase in each stream."""
        index = packet.stream_index
        shift = round(self.origin / packet.time_base) if packet.time_base else 0
        dts = packet.pts if packet.dts is None else packet.dts
        last = self._last.get(index)
        dts = (last or 0) + 1 if dts is None else dts - shift
        # Containers refuse a time stamp that does not increase.
        if last is not None and dts <= last:
            dts = last + 1
        pts = dts if packet.pts is None else max(packet.pts - shift, dts)
        packet.pts, packet.dts = pts, dts
        self._last[index] = dts
