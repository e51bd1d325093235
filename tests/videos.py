"""Videos for tests, written with PyAV alone: what is read must not be our own."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image, PngImagePlugin

from deepfake_jax.types import Frame

TICK = Fraction(1, 600)


# Steps of 20 to 400 ms; ten frames, so that B frames are reordered among them.
VFR = [0, 12, 36, 37, 100, 340, 360, 480, 500, 524]


def make_frame(index: int, *, height: int = 48, width: int = 64) -> Frame:
    """Make a smooth picture, so that coding loss is small, that tells its index."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 60 + 100 * columns / width
    green = 60 + 100 * rows / height
    blue = np.full((height, width), 60 + (index * 37) % 120)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def encode_sound(stream: AudioStream, start: int) -> list[av.Packet]:
    samples = np.repeat(0.3 * np.sin(np.arange(start, start + 1024) * 0.06)[None], 2, 0)
    name = stream.format.name
    if not stream.format.is_planar:
        samples = samples.T.reshape(1, -1)
    if name.startswith("s16"):
        samples = (samples * 32767).astype(np.int16)
    elif name.startswith("s32"):
        samples = (samples * (2**31 - 1)).astype(np.int32)
    samples = np.ascontiguousarray(samples, None if name[0] == "s" else np.float32)
    frame = av.AudioFrame.from_ndarray(samples, name, "stereo")
    frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
    frame.pts = start
    return stream.encode(frame)


def make_video(
    path: Path,
    *,
    pts: list[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    height: int = 48,
    width: int = 64,
    sound: str | None = None,
    sounds: int = 1,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    tags: tuple[int, int, int, int] | None = None,
    movflags: str | None = None,
) -> Path:
    """Write a video with PyAV alone: what the module reads must not be its own."""
    pts = pts if pts is not None else [24 * index for index in range(25)]
    with av.open(
        path, "w", container_options={"movflags": movflags} if movflags else {}
    ) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = TICK if codec == "libx264" else Fraction(1, 25)
        if rotation or mirrored:
            stream.set_display_rotation(-rotation, hflip=mirrored)
        if tags is not None:
            context = stream.codec_context
            context.colorspace, context.color_range = tags[0], tags[1]
            context.color_primaries, context.color_trc = tags[2], tags[3]
        tracks = [
            container.add_stream(sound or "aac", rate=48000)
            for _ in range(sounds if sound else 0)
        ]
        tracks = [track for track in tracks if isinstance(track, AudioStream)]
        done = 0
        for index, stamp in enumerate(pts):
            rgb = make_frame(index, height=height, width=width)
            native = av.VideoFrame.from_ndarray(rgb, "rgb24")
            native.pts, native.time_base = stamp, TICK
            container.mux(stream.encode(native))
            while tracks and done <= stamp * TICK * 48000:
                for track in tracks:
                    container.mux(encode_sound(track, done))
                done += 1024
        container.mux(stream.encode(None))
        for track in tracks:
            container.mux(track.encode(None))
    return path


def read_picture_tags(path: Path) -> dict[str, str]:
    """Names and texts that were stored with a picture."""
    with Image.open(path) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            return {name: str(text) for name, text in image.text.items()}
        return json.loads(image.getexif().get(0x010E, "{}"))


def read_packets(path: Path, kind: str, stream: int = 0) -> list[tuple]:
    with av.open(path) as container:
        return [
            (packet.pts, packet.dts, packet.duration, packet.time_base, bytes(packet))
            for packet in container.demux(**{kind: stream})
            if packet.size
        ]
