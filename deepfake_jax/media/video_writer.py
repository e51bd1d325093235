"""Write videos: frames with exact time stamps, the source's tracks, whole files only.

Encoders run on a clock of their own that counts frames; the packets get the real time
stamps back afterwards. So a variable frame rate survives encoders that allow only
constant rates or coarse clocks.
"""

import math
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av import Packet, VideoFrame
from av.error import FFmpegError
from av.stream import Disposition

from deepfake_jax.media.copied_tracks import TrackCopy
from deepfake_jax.media.file_metadata import Extras, read_extras, write_chapters
from deepfake_jax.media.frame_writer import (
    WholeFileWriter,
    abandon,
    check_order,
    check_size,
)
from deepfake_jax.media.media_probe import VideoError, VideoInfo, frame_step
from deepfake_jax.media.pixel_formats import convert_from_rgb, convert_native
from deepfake_jax.media.video_encoders import (
    CONTAINERS,
    add_encoder,
    check_choices,
    resolve_codec,
)
from deepfake_jax.types import Frame

MOST_REORDERED = 64  # frames; more than any encoder decodes before it shows one


class VideoWriter(WholeFileWriter):
    """Write a video; a context manager.

    The file appears under its name when the block ends well: until then it is a hidden
    one beside it, and an exception removes that. To keep the readable part of a
    truncated source, catch its error inside the block.

    Time stamps are kept exactly in MP4 and MOV, and rounded to milliseconds in MKV and
    WebM, which count nothing finer. The size is kept exactly: H.264 and H.265 take odd
    sides in 4:4:4.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        frame_rate: Fraction,
        time_base: Fraction,
        codec: str = "libx264",
        crf: int = 18,
        sound_from: Path | None = None,
        extras_from: Path | None = None,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
        like: VideoInfo | None = None,
        cut_start: bool = False,
        end: float | Fraction | None = None,
    ) -> None:
        """Check the choices; files are opened by the ``with`` statement.

        Args:
            path: the video: .mp4, .m4v, .mov, .mkv or .webm.
            width: of every frame, pixels.
            height: of every frame, pixels.
            frame_rate: frames a second on average; the encoder plans its bits by it.
            time_base: seconds a tick of the time stamps given to `write`.
            codec: one of `deepfake_jax.encoders.list_codecs`, or the name of a format:
                h264, h265, hevc, av1 or vp9.
            crf: quality from 0, best, to 51 (libvpx-vp9 and libsvtav1: 63); ffv1 is
                lossless at any.
            sound_from: a file whose sound streams are copied, in sync with the frames
                as the time stamps say; None for silence.
            extras_from: a file whose subtitles, chapters, names and languages are kept
                where the container can hold them; None for none.
            metadata: names and texts to store in the file; they win over the same names
                of ``extras_from``.
            overwrite: whether ``path`` may exist already.
            like: the source, whose color tags, pixel format and pixel aspect are kept
                where the encoder can; None for BT.709, limited range, 4:2:0, 8 bits.
            cut_start: whether the video starts with the first frame: its time becomes
                0, and all else of the sources moves along. Without, the time stamps
                stay as they are.
            end: where the part of the source that is written ends, seconds of the
                source: sound, subtitles and chapters then end with the last frame.
                None to keep all that is left.

        Raises:
            VideoError: a choice that cannot work, with those that can.
        """
        check_choices(path, codec, crf)
        codec = resolve_codec(codec)
        for name, value in (("width", width), ("height", height)):
            if value < 1:
                raise VideoError(f"{path}: {name} is {value}; it must be at least 1")
        for name, value in (("frame_rate", frame_rate), ("time_base", time_base)):
            if value <= 0:
                raise VideoError(f"{path}: {name} is {value}; it must be above 0")
        super().__init__(path, noun="video", overwrite=overwrite)
        self._width, self._height = width, height
        self._frame_rate, self._time_base = frame_rate, time_base
        self._codec, self._crf = codec, crf
        self._sound_from, self._extras_from = sound_from, extras_from
        self._metadata = dict(metadata or {})
        self._like = like
        self._cut_start, self._end = cut_start, None if end is None else Fraction(end)
        self._tracks: list[TrackCopy] = []
        self._extras: Extras | None = None
        # The time of the source that is 0 here, in ``time_base``.
        self._origin = 0
        self._step = self._last_duration = frame_step(frame_rate, time_base)
        # The time stamps of the frames that the encoder still holds, by frame number.
        self._times: dict[int, int] = {}
        self._held: deque[Packet] = deque()
        self._count = 0

    def write(
        self, frame: Frame | VideoFrame, *, pts: int, duration: int | None = None
    ) -> None:
        """Write one frame.

        A native frame is encoded without a trip through RGB and, where its pixel format
        and color tags are the output's, with its exact samples.

        Args:
            frame: RGB uint8, height width 3, or a native frame of the same size.
            pts: when it is shown, in ``time_base``; above the last frame's.
            duration: how long it is shown, in ``time_base``. It counts for the last
                frame only: the others are shown until the next.

        Raises:
            VideoError: another size or type, a time stamp that does not increase, or a
                full disk.
        """
        native = self._convert(frame)
        if self._count == 0 and self._cut_start:
            self._origin = pts
            for tracks in self._tracks:
                tracks.start_at(pts * self._time_base)
        last = self._times.get(self._count - 1)
        last = None if last is None else last + self._origin
        check_order(self._path, self._count, pts, last)
        self._times[self._count] = pts - self._origin
        if duration is None and isinstance(frame, VideoFrame):
            duration = frame.duration
        self._last_duration = duration or self._step
        try:
            self._encode(native)
            self._count += 1
            self._release(final=False)
        except (FFmpegError, OSError) as error:
            raise self._explain(error) from error

    def _open(self, stack: ExitStack, partial: Path) -> None:
        suffix = self._path.suffix.lower()
        self._container = av.open(f"file:{partial}", "w", format=CONTAINERS[suffix])
        stack.callback(abandon, self._container)
        if self._extras_from is not None:
            self._extras = read_extras(self._extras_from)
            self._container.metadata.update(self._extras.metadata)
        self._container.metadata.update(self._metadata)
        self._stream, self._tags = add_encoder(
            self._container,
            codec=self._codec,
            crf=self._crf,
            width=self._width,
            height=self._height,
            frame_rate=self._frame_rate,
            like=self._like,
        )
        self._stream.time_base = self._time_base
        self._add_tracks(stack)
        if CONTAINERS[suffix] in ("mp4", "mov"):
            self._container.container_options.update(self._choose_clocks())
        self._start()

    def _add_tracks(self, stack: ExitStack) -> None:
        kinds: dict[Path, list[str]] = {}
        if self._sound_from is not None:
            kinds.setdefault(self._sound_from, []).append("audio")
        if self._extras_from is not None:
            kinds.setdefault(self._extras_from, []).append("subtitle")
        for source, wanted in kinds.items():
            tracks = TrackCopy(
                source, self._container, self._path, kinds=wanted, end=self._end
            )
            stack.callback(tracks.close)
            self._tracks.append(tracks)
        if self._extras is None:
            return
        self._stream.metadata.update(self._extras.video_metadata)
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

    def _start(self) -> None:
        try:
            self._stream.codec_context.open()
        except FFmpegError as error:
            raise VideoError(
                f"{self._path}: {self._codec} cannot encode {self._width}x"
                f"{self._height} ({error.strerror}); use libx264, which takes every "
                "size"
            ) from error
        try:
            self._container.start_encoding()
        except FFmpegError as error:
            # A full disk or a folder without rights is told by _explain.
            if isinstance(error, OSError):
                raise
            sound = f" with the sound of {self._sound_from}" if self._sound_from else ""
            raise VideoError(
                f"{self._path}: {self._path.suffix} cannot hold {self._codec}{sound} "
                f"({error.strerror}); name the output .mkv, which holds all"
            ) from error

    def _convert(self, frame: Frame | VideoFrame) -> VideoFrame:
        pixel_format = self._stream.codec_context.pix_fmt or ""
        check_size(
            self._path, self._count, frame, height=self._height, width=self._width
        )
        if isinstance(frame, VideoFrame):
            return convert_native(frame, pixel_format, self._tags)
        return convert_from_rgb(frame, pixel_format, self._tags)

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

    def _release(self, *, final: bool) -> None:
        # A packet waits for the next frame's time stamp, which tells its duration.
        while self._held:
            number = self._held[0].pts or 0
            if number == self._count - 1 and not final:
                return
            packet = self._held.popleft()
            order = number if packet.dts is None else packet.dts
            if not -MOST_REORDERED <= order <= number:
                # x265 leaves the times of one or two frames alone uninitialized.
                order = number
            end = self._times[self._count - 1] + self._last_duration
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
            for tracks in self._tracks:
                tracks.copy_until(packet.dts * self._time_base)
            packet.stream = self._stream
            self._container.mux_one(packet)
            for done in [known for known in self._times if 0 < known < order]:
                del self._times[done]

    def _finish(self) -> None:
        if self._count == 0:
            raise VideoError(
                f"{self._path}: no frame was written, so there is no video to keep; "
                "check that the source has frames"
            )
        self._held.extend(self._stream.encode(None))
        ticks = self._times[self._count - 1] + self._last_duration
        end = None if self._end is None else ticks * self._time_base
        self._release(final=True)
        for tracks in self._tracks:
            tracks.finish(end)
        if self._extras is not None:
            origin = self._origin * self._time_base
            write_chapters(
                self._container, self._extras.chapters, origin=origin, end=end
            )
        self._container.close()
