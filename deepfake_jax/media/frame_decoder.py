"""Decode a video stream, and tell which of its frames can be trusted.

A frame is damaged when its data are, or when it is drawn by help of one whose data
are: all that follow in the order of decoding, until the next key frame. That order is
not the one of display, so a few frames are held back until their neighbours are known.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from av import Packet, VideoFrame
from av.container import InputContainer
from av.error import EOFError as EndOfStream
from av.error import FFmpegError
from av.video.stream import VideoStream

from deepfake_jax.media.source_clock import SourceClock, read_packets

_MOST_HELD = 16  # frames; more than any stream reorders
# Packets of a transport stream's end that FFmpeg calls corrupt where another is joined.
_JOINED = 3
# Decoders that draw what comes after broken data and flag none of it; told to, they
# raise, and compare the sums of pictures in a stream that has such.
_DRAWS_ON = ("hevc",)


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame as it leaves the decoder.

    Attributes:
        native: the frame.
        damaged: see the module.
        leading: whether no intact key frame came before it, as at the start of a
            recording that began between two: what is broken there is no fault.
        deinterlaced: whether it was drawn whole of two half pictures.
    """

    native: VideoFrame
    damaged: bool
    leading: bool
    deinterlaced: bool = False


def decode_frames(
    container: InputContainer, stream: VideoStream, problems: list[str]
) -> Iterator[DecodedFrame]:
    """Decode all that can be decoded, on the clock of `read_packets`.

    Errors before the first frame are not noted: a recording that starts between two
    key frames has them and is whole.

    Args:
        container: at its start.
        stream: of it.
        problems: FFmpeg's words for what could not be read are appended.
    """
    stream.thread_type = "AUTO"
    if stream.codec_context.name in _DRAWS_ON:
        stream.codec_context.options = {"err_detect": "explode+crccheck"}
    clock, number = SourceClock(container), 0
    damage = _Damage(stream, later=_JOINED if clock.leaps else 0)
    suspects: deque[tuple[int, int]] = deque()
    for packet in read_packets(container, clock, [stream], problems):
        while suspects and suspects[0][0] + _JOINED <= number:
            suspect, jumps = suspects.popleft()
            if jumps == clock.jumps:
                damage.broke(suspect)
        if packet.is_corrupt:
            suspects.append((number, clock.jumps))
        damage.sent(number, packet)
        number += 1
        yield from _decode(stream, packet, damage, problems)
    for suspect, jumps in suspects:
        if jumps == clock.jumps:
            damage.broke(suspect)
    yield from _decode(stream, None, damage, problems)
    yield from damage.flush()


def _decode(
    stream: VideoStream, packet: Packet | None, damage: "_Damage", problems: list[str]
) -> Iterator[DecodedFrame]:
    try:
        for native in stream.decode(packet):
            yield from damage.add(native)
    except EndOfStream:
        return
    except FFmpegError as error:
        if damage.any_frame:
            problems.append(str(error))
            damage.failed()


class _Damage:
    """What is known of the packets and of the frames that are held back."""

    def __init__(self, stream: VideoStream, *, later: int) -> None:
        # How many frames later it may be told that one was broken.
        self._later = later
        self.any_frame = False
        self._context = stream.codec_context
        # Numbers in the order of decoding: of key frames, of what is broken, and of
        # packets whose frame is still to come, with the times of these.
        self._keys: list[int] = []
        self._broken: list[int] = []
        self._outstanding: dict[int, int] = {}
        # Frames among which a packet that failed is looked for.
        self._searching = 0
        self._held: deque[tuple[int, int, VideoFrame]] = deque()
        self._shown: set[int] = set()
        self._count = 0
        self._intact = False

    def sent(self, number: int, packet: Packet) -> None:
        if packet.pts is not None and not packet.is_discard:
            self._outstanding[number] = packet.pts
        self._outstanding.pop(number - 4 * _MOST_HELD, None)
        if packet.is_keyframe:
            self._keys.append(number)

    def broke(self, number: int) -> None:
        self._broken.append(number)

    def failed(self) -> None:
        """A packet could not be decoded; which one, the frames that come will tell."""
        self._searching = 4 * _MOST_HELD
        if self._context.name in _DRAWS_ON:
            # It gives the frame out all the same; each thread works on one of its own.
            newest = max(self._outstanding, default=self._count)
            near = newest - max(self._context.thread_count, 1)
            self.broke(min((n for n in self._outstanding if n > near), default=newest))

    def add(self, native: VideoFrame) -> Iterator[DecodedFrame]:
        self.any_frame = True
        # Told by its time, since PyAV loses what is hung onto packets; a raw stream,
        # without times, is taken to be shown in the order of decoding.
        numbers = [old for old, at in self._outstanding.items() if at == native.pts]
        number = numbers[0] if numbers else self._count
        self._count += 1
        depth = min(max(self._context.reorder_depth, 0), _MOST_HELD)
        self._outstanding.pop(number, None)
        if self._searching and native.pts is not None:
            # Frames come in the order of display: what should have come before did not.
            lost = [old for old, at in self._outstanding.items() if at < native.pts]
            for old in lost:
                del self._outstanding[old]
            self._broken += lost
            self._searching = 0 if lost else self._searching - 1
        if native.is_corrupt:
            self.broke(number)
        if number in self._keys:
            self._shown.add(number)
        # A frame that is shown before a key frame but decoded after it leans on the
        # one before that, too.
        keys = [key for key in self._keys if key <= number and key in self._shown]
        self._held.append((number, max(keys, default=-1), native))
        while len(self._held) > depth + self._later:
            yield self._release()

    def flush(self) -> Iterator[DecodedFrame]:
        while self._held:
            yield self._release()

    def _release(self) -> DecodedFrame:
        first = 0
        if self._broken:
            # Around a lost key frame FFmpeg gives out a later frame first.
            times = [native.pts for *_, native in self._held]
            whole = [at for at in times if at is not None]
            first = times.index(min(whole)) if len(whole) == len(times) else 0
        number, key, native = self._held[first]
        del self._held[first]
        damaged = any(key <= broken <= number for broken in self._broken)
        self._intact = self._intact or (key >= 0 and not damaged)
        if len(self._keys) > 2 * _MOST_HELD:
            oldest = self._keys[-_MOST_HELD]
            self._keys = [known for known in self._keys if known >= oldest]
            self._broken = [known for known in self._broken if known >= oldest]
            self._shown = {known for known in self._shown if known >= oldest}
        return DecodedFrame(native, damaged, leading=not self._intact)
