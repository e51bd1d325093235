"""What a video declares about itself, and what its first frame shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

from deepfake_jax.media.animations import CLOCK, probe_animation
from deepfake_jax.media.file_kinds import (
    ANIMATIONS,
    find_format,
    find_kind,
    find_trouble,
)
from deepfake_jax.media.frame_decoder import decode_frames
from deepfake_jax.media.opened_pictures import PictureError
from deepfake_jax.media.opened_videos import (
    VideoError,
    choose_video_stream,
    open_source,
)
from deepfake_jax.media.pixel_formats import (
    ColorTags,
    is_transparent,
    read_side_data,
    read_tags,
)
from deepfake_jax.media.rotation import read_rotation
from deepfake_jax.media.truncation import check_whole


@dataclass(frozen=True)
class VideoInfo:
    """What a video declares about itself and its first frame shows.

    Attributes:
        path: the file.
        width: pixels, as displayed: after the turn by ``rotation``.
        height: pixels, as displayed.
        frame_rate: frames a second, on average.
        time_base: seconds a tick of the time stamps.
        frames: how many, exact for MP4 and MOV, estimated from the duration for
            others; None where nothing is declared.
        duration: seconds, or None.
        has_audio: whether it has a sound stream.
        codec: FFmpeg's name of the decoder, such as h264.
        rotation: degrees clockwise that the stored picture is turned by to be
            displayed: 0, 90, 180 or 270.
        pixel_format: FFmpeg's name, such as yuv420p.
        color: color tags as declared.
        pixel_aspect: displayed width over height of one pixel; 1 for square ones.
        interlaced: whether each frame was recorded as two half pictures, one after the
            other; `read_frames` gives out whole ones.
        timeless: whether the file holds no time stamps, as a raw stream: frames then
            follow each other at ``frame_rate``.
        origin: when the first frame is shown on the file's own clock, seconds.
        lead: how long there is sound before the first frame, seconds.
        transparent: whether the first frame is not opaque everywhere.
        side_data: what the first frame carries beside its samples, by FFmpeg's names.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    frames: int | None
    duration: float | None
    has_audio: bool
    codec: str
    rotation: int
    pixel_format: str
    color: ColorTags
    pixel_aspect: Fraction
    interlaced: bool
    timeless: bool
    origin: Fraction
    lead: Fraction
    transparent: bool = False
    side_data: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def animation(self) -> bool:
        """Whether it is an animated picture, which FFmpeg does not open."""
        return self.codec in ANIMATIONS

    @property
    def square_size(self) -> tuple[int, int]:
        """Height and width in square pixels; the longer way is stretched."""
        return square_size(self.height, self.width, self.pixel_aspect)


def square_size(height: int, width: int, aspect: Fraction) -> tuple[int, int]:
    """Height and width in square pixels of what has pixels of ``aspect``."""
    if aspect >= 1:
        return height, round(width * aspect)
    return round(height / aspect), width


def probe_video(path: Path) -> VideoInfo:
    """Read what a video declares; decodes its first frame only.

    Raises:
        VideoError: no such file, a folder, a picture, a sound file, no video at all, or
            an MP4 or MOV whose index is missing because the file was cut.
    """
    trouble = find_trouble(path)
    if trouble:
        raise VideoError(trouble)
    if find_kind(path) == "animation":
        return _describe_animation(path)
    with open_source(path) as container:
        return _describe(path, container, choose_video_stream(path, container))


def frame_step(frame_rate: Fraction, time_base: Fraction) -> int:
    """Return the ticks between two frames at a constant rate, at least 1."""
    return max(1, round(1 / (frame_rate * time_base)))


def own_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return the declared length of the video stream alone, seconds, if there is one.

    A container's length is its longest stream's, often the sound's.
    """
    time_base = stream.time_base or Fraction(0)
    # FFmpeg tells a program stream's as that of its last frame alone.
    if stream.duration and container.format.name != "mpeg":
        return stream.duration * time_base
    # Matroska writers put it, as hh:mm:ss.fraction counted from 0, into a tag.
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        until = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds.rstrip("\0"))
    except ValueError:
        return None
    return until - (stream.start_time or 0) * time_base


def first_pts(native: av.VideoFrame) -> int:
    """The time stamp of a source's first frame; 0 if it has none."""
    stamp = native.dts if native.pts is None else native.pts
    return stamp or 0


def _describe(path: Path, container: InputContainer, stream: VideoStream) -> VideoInfo:
    first = _decode_first(path, container, stream)
    time_base = stream.time_base or Fraction(1, 1000)
    frame_rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    timeless = bool(container.format.flags & Flags.no_timestamps.value)
    if timeless:
        # FFmpeg calls it 25 a second, whatever the stream itself says.
        frame_rate = stream.guessed_rate or frame_rate
    origin = Fraction(0) if timeless else first_pts(first) * time_base
    duration = own_duration(container, stream)
    if duration is None:
        duration = _whole_duration(container)
    frames = _count_indexed(container, stream)
    if frames is None and duration is not None:
        frames = max(1, round(duration * frame_rate))
    rotation, _ = read_rotation(first)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    quarter = rotation in (90, 270)
    return VideoInfo(
        path=path,
        width=first.height if quarter else first.width,
        height=first.width if quarter else first.height,
        frame_rate=frame_rate,
        time_base=time_base,
        frames=frames,
        duration=None if duration is None else float(duration),
        has_audio=len(container.streams.audio) > 0,
        codec=stream.codec_context.name,
        rotation=rotation,
        pixel_format=first.format.name,
        color=read_tags(first),
        pixel_aspect=1 / aspect if quarter else aspect,
        interlaced=first.interlaced_frame,
        timeless=timeless,
        origin=origin,
        lead=_measure_lead(container, origin),
        transparent=is_transparent(first) or stream.metadata.get("alpha_mode") == "1",
        side_data=read_side_data(first),
    )


def _decode_first(
    path: Path, container: InputContainer, stream: VideoStream
) -> av.VideoFrame:
    decoded = next(decode_frames(container, stream, []), None)
    if decoded is not None:
        return decoded.native
    if check_whole(path).startswith("cut"):
        raise VideoError(
            f"{path}: is truncated before its first frame; copy or download it again"
        )
    raise VideoError(
        f"{path}: its {stream.codec_context.name} stream holds no frame that can be "
        "decoded; copy or download it again"
    )


def _whole_duration(container: InputContainer) -> Fraction | None:
    """Seconds of the longest stream, if the container says so."""
    if not container.duration:
        return None
    duration = Fraction(container.duration, av.time_base)
    if "matroska" in container.format.name:
        # Counted from 0, not from where it starts.
        duration -= min(Fraction(container.start_time or 0, av.time_base), duration)
    return duration


def _describe_animation(path: Path) -> VideoInfo:
    try:
        found = probe_animation(path)
    except PictureError as error:
        raise VideoError(str(error)) from error
    return VideoInfo(
        path=path,
        width=found.width,
        height=found.height,
        frame_rate=Fraction(found.frames / found.seconds).limit_denominator(1000),
        time_base=CLOCK,
        frames=found.frames,
        duration=found.seconds,
        has_audio=False,
        codec=find_format(path),
        rotation=0,
        pixel_format="rgb24",
        # Full range and sRGB, which has no matrix.
        color=ColorTags(matrix=2, range=2, primaries=1, transfer=13),
        pixel_aspect=Fraction(1),
        interlaced=False,
        timeless=False,
        origin=Fraction(0),
        lead=Fraction(0),
        transparent=found.transparent,
    )


def _measure_lead(container: InputContainer, origin: Fraction) -> Fraction:
    starts = [
        sound.start_time * sound.time_base
        for sound in container.streams.audio
        if sound.start_time is not None and sound.time_base
    ]
    return max(Fraction(0), origin - min(starts, default=origin))


def _count_indexed(container: InputContainer, stream: VideoStream) -> int | None:
    # The frames that an edit list hides are marked in the index of an MP4 or MOV,
    # whereas the stream's own count includes them.
    if "mp4" in container.format.name and stream.frames:
        return sum(not entry.is_discard for entry in stream.index_entries)
    return stream.frames or None
