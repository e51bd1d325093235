"""A part of a video as coded packets, and parts joined to a video, coded once.

Whoever codes a part needs nothing of the others: each begins with a key frame. Joining
copies packets and gives them the times that one encoder of all frames would have given;
sound, subtitles and all else of the source come with it, once.

A part is a zip file: ``packets``, one after another, and ``index.json``, which says how
long each is and which frame, in which order it is decoded and whether it is a key
frame; when the frames are shown, in ``time_base`` of the source; and the stream's
header, by which parts that do not fit together are told.
"""

import json
import os
import zipfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import av
from av import Packet, VideoFrame

from deepfake_jax.files import write_whole
from deepfake_jax.json_files import format_json
from deepfake_jax.media.encoder_choices import CONTAINERS
from deepfake_jax.media.frame_writer import OutputSpec, abandon
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.video_encoders import add_encoder
from deepfake_jax.media.video_writer import MOST_REORDERED, VideoWriter
from deepfake_jax.types import Frame

# Encoders' pictures depend on it, so it may not depend on the machine.
_THREADS = 2
_INDEX, _PACKETS = "index.json", "packets"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of both, so that the same frames give the same bytes


class PartWriter(VideoWriter):
    """Codes frames as `VideoWriter` does, and writes a part; a context manager."""

    noun = "part of a video"

    def __init__(self, spec: OutputSpec, part: Path) -> None:
        """Checks the choices.

        Args:
            spec: of the whole video.
            part: the file to write.
        """
        super().__init__(spec)
        self._part = part
        self._notes: dict[str, Any] = {}
        self._stamps: list[int] = []
        self._index: list[list[int]] = []

    def note(self, notes: dict[str, Any]) -> None:
        """Has the part keep values for JSON; see `read_notes`."""
        self._notes |= notes

    def _lend_partial(self) -> AbstractContextManager[Path]:
        return write_whole(self._part, overwrite=True)

    def _open(self, stack: ExitStack) -> None:
        name = CONTAINERS[self._path.suffix.lower()]
        self._container = av.open(os.devnull, "w", format=name)
        stack.callback(abandon, self._container)
        self._stream, self._tags = add_encoder(self._container, self._spec)
        self._stream.time_base = self._time_base
        self._start()
        self._zip = stack.enter_context(zipfile.ZipFile(self._partial, "w"))
        packets = zipfile.ZipInfo(_PACKETS, _EPOCH)
        self._file = self._zip.open(packets, "w", force_zip64=True)
        stack.callback(self._file.close)

    def _start(self) -> None:
        self._stream.codec_context.thread_count = _THREADS
        super()._start()

    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        self._stamps.append(pts)
        if duration is None and isinstance(frame, VideoFrame):
            duration = frame.duration
        self._last_duration = duration or self._step
        self._encode(self._convert(frame))
        self._keep()

    def _keep(self) -> None:
        for packet in self._held:
            number, order = packet.pts or 0, packet.dts
            order = number if order is None else order
            self._index.append([packet.size, number, order, int(packet.is_keyframe)])
            self._file.write(bytes(packet))
        self._held.clear()

    def _finish(self) -> None:
        self._drain()
        self._keep()
        self._file.close()
        facts = {
            "stamps": self._stamps,
            "duration": self._last_duration,
            "packets": self._index,
            "header": read_header(self._stream.codec_context),
            "notes": self._notes,
        }
        self._zip.writestr(zipfile.ZipInfo(_INDEX, _EPOCH), format_json(facts))
        self._zip.close()


class PartJoiner(VideoWriter):
    """Writes a video of parts instead of frames; a context manager."""

    _ahead = 0

    def add(self, part: Path) -> None:
        """Adds the next part.

        Raises:
            VideoError: it cannot be read, or was coded in another way.
        """
        try:
            with zipfile.ZipFile(part) as file:
                facts = json.loads(file.read(_INDEX))
                with file.open(_PACKETS) as packets:
                    self._add(part, facts, packets)
        except (zipfile.BadZipFile, KeyError) as error:
            raise VideoError(f"{part}: damaged ({error}); remove it") from error

    def _start(self) -> None:
        self._stream.codec_context.thread_count = _THREADS
        super()._start()

    def _add(self, part: Path, facts: dict[str, Any], packets: Any) -> None:
        if facts["header"] != read_header(self._stream.codec_context):
            raise VideoError(
                f"{part}: was coded by another version of {self._codec} than this "
                "machine's; install the same versions, remove it and start again"
            )
        first, stamps = self._count, facts["stamps"]
        if first == 0:
            self._origin = self._choose_start(stamps[0])
            # By how many frames decoding runs ahead, in all parts alike. Some encoders
            # say nothing sensible of a frame or two alone.
            orders = [order for _, _, order, _ in facts["packets"]]
            self._ahead = -min([o for o in orders if -MOST_REORDERED <= o < 0] or [0])
        for number, stamp in enumerate(stamps, start=first):
            self._times[number] = stamp - self._origin
        self._last_duration = facts["duration"]
        self._count, self._last_pts = first + len(stamps), stamps[-1]
        for place, (size, number, _, is_key) in enumerate(facts["packets"], first):
            packet = Packet(packets.read(size))
            shown = first + number
            packet.pts, packet.dts = shown, min(place - self._ahead, shown)
            packet.is_keyframe = bool(is_key)
            self._held.append(packet)
        self._release(self._count - 1, final=False)

    def _drain(self) -> None:
        """There is nothing in the encoder: it was opened for the header alone."""


def read_notes(part: Path) -> dict[str, Any]:
    """What whoever wrote a part noted of it.

    Raises:
        VideoError: the part is damaged.
    """
    try:
        with zipfile.ZipFile(part) as file:
            return json.loads(file.read(_INDEX))["notes"]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise VideoError(f"{part}: damaged ({error}); remove it") from error


def read_header(context: Any) -> str:
    """What a coded stream begins with, in hexadecimal."""
    return bytes(context.extradata or b"").hex()
