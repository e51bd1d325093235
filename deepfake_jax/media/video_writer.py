"""Write videos: frames with exact time stamps, the source's tracks, whole files only.

Encoders run on a clock of their own that counts frames; the packets get the real time
stamps back afterwards. So a variable frame rate survives encoders that allow only
constant rates or coarse clocks.
"""

import logging
import math
from collections import deque
from contextlib import ExitStack

import av
from av import Packet, VideoFrame
from av.error import FFmpegError
from av.stream import Disposition

from deepfake_jax.media.copied_tracks import TrackCopy
from deepfake_jax.media.encoder_choices import CONTAINERS, check_choices, resolve_codec
from deepfake_jax.media.file_metadata import (
    Extras,
    list_losses,
    read_extras,
    write_chapters,
)
from deepfake_jax.media.frame_writer import FrameWriter, OutputSpec, abandon
from deepfake_jax.media.media_probe import frame_step
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pixel_formats import convert_from_rgb, convert_native
from deepfake_jax.media.video_encoders import add_encoder
from deepfake_jax.media.yuv_planes import pad_native
from deepfake_jax.types import Frame

_log = logging.getLogger("deepfake_jax")
MOST_REORDERED = 64  # frames; more than any encoder decodes before it shows one


class VideoWriter(FrameWriter):
    """Write a video; a context manager.

    Time stamps are kept exactly in MP4 and MOV, and rounded to milliseconds in MKV and
    WebM, which count nothing finer. The size is kept but for an odd side where the
    encoder takes none: it becomes a pixel longer. A native frame is encoded without a
    trip through RGB and, where its pixel format and color tags are the output's, with
    its exact samples.
    """

    noun, holds_sound = "video", True

    def __init__(self, spec: OutputSpec) -> None:
        """Check the choices; files are opened by the ``with`` statement.

        Raises:
            VideoError: a choice that cannot work, with those that can.
        """
        super().__init__(spec)
        check_choices(spec.path, spec.codec, spec.crf)
        self._codec, self._time_base = resolve_codec(spec.codec), spec.time_base
        self._tracks: TrackCopy | None = None
        self._extras: Extras | None = None
        # The time of the source that is 0 here, in ``time_base``.
        self._origin = 0
        self._step = frame_step(spec.frame_rate, spec.time_base)
        self._last_duration = self._step
        # The time stamps of the frames that the encoder still holds, by frame number.
        self._times: dict[int, int] = {}
        self._held: deque[Packet] = deque()

    def _open(self, stack: ExitStack) -> None:
        name = CONTAINERS[self._path.suffix.lower()]
        self._container = av.open(f"file:{self._partial}", "w", format=name)
        stack.callback(abandon, self._container)
        if self._spec.like is not None and not self._spec.like.animation:
            self._extras = read_extras(self._spec.like)
            self._container.metadata.update(self._extras.metadata)
        self._container.metadata.update(self._spec.metadata)
        self._tell_losses()
        self._stream, self._tags = add_encoder(self._container, self._spec)
        self._stream.time_base = self._time_base
        self._add_tracks(stack)
        if name in ("mp4", "mov"):
            self._container.container_options.update(self._choose_clocks())
        self._start()

    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        if self._count == 0:
            self._origin = self._choose_start(pts)
        self._times[self._count] = pts - self._origin
        if duration is None and isinstance(frame, VideoFrame):
            duration = frame.duration
        self._last_duration = duration or self._step
        self._encode(self._convert(frame))
        self._release(self._count, final=False)

    def _add_tracks(self, stack: ExitStack) -> None:
        if self._extras is None or self._spec.like is None:
            return
        self._tracks = TrackCopy(
            self._spec.like,
            self._container,
            self._path,
            sound=self._spec.sound,
            end=self._spec.end,
        )
        stack.callback(self._tracks.close)
        self._stream.metadata.update(self._extras.video_metadata)
        if self._extras.timecode and not self._spec.cut_start:
            # Of which MP4 and MOV make a track.
            self._stream.metadata["timecode"] = self._extras.timecode
        self._stream.disposition = Disposition(self._extras.video_disposition)
        if self._path.suffix.lower() == ".mkv":
            for name, kind, content in self._extras.attachments:
                self._container.add_attachment(name, kind, content)

    def _choose_clocks(self) -> dict[str, str]:
        # Where a stream starts is told on the movie's clock, which FFmpeg lets tick
        # once a millisecond; one that all streams' ticks fit into keeps it exact.
        ticks = self._time_base.denominator
        rates = [track.rate for track in self._container.streams.audio]
        movie = math.lcm(ticks, *rates)
        return {
            "movflags": "use_metadata_tags",
            "video_track_timescale": str(ticks),
            "movie_timescale": str(movie if movie < 2**31 else ticks),
        }

    def _tell_losses(self) -> None:
        like, suffix = self._spec.like, self._path.suffix.lower()
        if like is None:
            return
        lost = list_losses(
            like,
            self._extras,
            suffix=suffix,
            codec=self._codec,
            cut=self._spec.cut_start,
        )
        if lost:
            said = ", ".join(lost)
            _log.warning("%s: left out of %s: %s", self._path, like.path.name, said)

    def _choose_start(self, pts: int) -> int:
        """The time of the source that is 0 in the output, in ``time_base``."""
        like, cut = self._spec.like, self._spec.cut_start
        start = pts
        if not cut:
            # In whole ticks, so that the frames' times stay exact.
            lead = like.lead if like is not None and self._spec.has_sound else 0
            start = -math.ceil(lead / self._time_base)
        if self._tracks is not None:
            self._tracks.start_at(start * self._time_base, cut=cut)
        return start

    def _start(self) -> None:
        try:
            self._stream.codec_context.open()
        except FFmpegError as error:
            raise VideoError(
                f"{self._path}: {self._codec} cannot encode {self._spec.width}x"
                f"{self._spec.height} ({error.strerror}); use libx264, which takes "
                "every size"
            ) from error
        try:
            self._container.start_encoding()
        except FFmpegError as error:
            # A full disk or a folder without rights is told by _explain.
            if isinstance(error, OSError):
                raise
            raise VideoError(
                f"{self._path}: {self._path.suffix} cannot hold {self._codec} with "
                f"what else is in the source ({error.strerror}); name the output .mkv, "
                "which holds all, or leave the sound out (--sound none)"
            ) from error

    def _convert(self, frame: Frame | VideoFrame) -> VideoFrame:
        pixel_format = self._stream.codec_context.pix_fmt or ""
        if isinstance(frame, VideoFrame):
            native = convert_native(frame, pixel_format, self._tags)
        else:
            native = convert_from_rgb(frame, pixel_format, self._tags)
        return pad_native(native, self._stream.height, self._stream.width)

    def _encode(self, native: VideoFrame) -> None:
        context = self._stream.codec_context
        kept = native.pts, native.time_base, native.pict_type
        native.pts, native.time_base = self._count, context.time_base
        # A decoded frame remembers what it was coded as, and encoders would obey.
        native.pict_type = 0
        try:
            self._held.extend(self._stream.encode(native))
        finally:
            # The frame is the caller's; the encoder has its own reference.
            native.pts, native.pict_type = kept[0], kept[2]
            if kept[1] is not None:
                native.time_base = kept[1]

    def _release(self, newest: int, *, final: bool) -> None:
        # A packet waits for the next frame's time stamp, which tells its duration.
        while self._held:
            number = self._held[0].pts or 0
            if number == newest and not final:
                return
            packet = self._held.popleft()
            order = number if packet.dts is None else packet.dts
            if not -MOST_REORDERED <= order <= number:
                # x265 leaves the times of one or two frames alone uninitialized.
                order = number
            end = self._times[newest] + self._last_duration
            packet.pts = self._times[number]
            if order < 0:
                # Before the first frame, where reordering encoders start to decode.
                packet.dts = self._times[0] + order * self._step
            else:
                packet.dts = self._times[order]
            packet.duration = self._times.get(number + 1, end) - packet.pts
            if final and not self._held:
                # MP4 adds up the times between decodings, so that with reordering and
                # a variable rate the sum would miss the end of the last frame.
                packet.dts, packet.duration = packet.pts, end - packet.pts
            packet.time_base = self._time_base
            if self._tracks is not None:
                self._tracks.copy_until(packet.dts * self._time_base)
            packet.stream = self._stream
            self._container.mux_one(packet)
            for done in [known for known in self._times if 0 < known < order]:
                del self._times[done]

    def _drain(self) -> None:
        """Takes what the encoder still holds."""
        self._held.extend(self._stream.encode(None))

    def _finish(self) -> None:
        self._drain()
        ticks = self._times[self._count - 1] + self._last_duration
        end = None if self._spec.end is None else ticks * self._time_base
        self._release(self._count - 1, final=True)
        if self._tracks is not None:
            self._tracks.finish(end)
        if self._extras is not None:
            origin = self._origin * self._time_base
            write_chapters(
                self._container, self._extras.chapters, origin=origin, end=end
            )
        self._container.close()
