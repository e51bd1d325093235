"""Videos for tests, written with PyAV alone: what is read must not be our own."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image, PngImagePlugin

from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.outputs import open_writer
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.types import Frame

RATE = 48000
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
        for track in tracks:
            track.bit_rate = 128_000
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


def make_beeps(path: Path, *, seconds: int = 8, subtitles: bool = False) -> Path:
    """White frames of 80 ms with a beep beside each, at 0.5 s of every second."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        assert isinstance(video, VideoStream)
        track = container.add_stream("aac", rate=RATE)
        assert isinstance(track, AudioStream)
        for index in range(25 * seconds):
            lit = 0.48 <= index / 25 % 1 < 0.57
            white = np.full((48, 64, 3), 235 if lit else 20, np.uint8)
            native = av.VideoFrame.from_ndarray(white, "rgb24")
            native.pts, native.time_base = index, Fraction(1, 25)
            container.mux(video.encode(native))
        times = np.arange(RATE * seconds) / RATE
        loud = (times % 1 >= 0.48) & (times % 1 < 0.56)
        wave = 0.5 * loud * np.sin(2 * np.pi * 1000 * times)
        for start in range(0, len(wave), 1024):
            part = wave[None, start : start + 1024].astype(np.float32)
            sound = av.AudioFrame.from_ndarray(part.repeat(2, 0), "fltp", "stereo")
            sound.sample_rate, sound.pts = RATE, start
            sound.time_base = Fraction(1, RATE)
            container.mux(track.encode(sound))
        container.mux(video.encode(None) + track.encode(None))
    return path


def read_flashes(path: Path) -> list[float]:
    lit = [(t.time, t.frame.mean() > 120) for t in read_frames(path)]
    return [
        time
        for (time, now), (_, before) in zip(lit[1:], lit, strict=False)
        if now and not before
    ]


def read_beeps(path: Path) -> tuple[list[float], float]:
    """When each beep starts and when all sound ends, seconds."""
    levels: list[np.ndarray] = []
    times: list[np.ndarray] = []
    with av.open(path) as container:
        for sound in container.decode(audio=0):
            samples = sound.to_ndarray()[0]
            assert sound.time is not None
            times.append(sound.time + np.arange(len(samples)) / RATE)
            levels.append(np.abs(samples))
    time, loud = np.concatenate(times), np.concatenate(levels) > 0.1
    starts = time[loud][np.diff(time[loud], prepend=-9) > 0.2]
    return starts.tolist(), float(time[-1])


def shift_file(source: Path, target: Path, seconds: int) -> Path:
    """Copy a file with all its time stamps moved."""
    with av.open(source) as container, av.open(target, "w") as output:
        copies = {
            stream.index: output.add_stream_from_template(stream)
            for stream in container.streams
        }
        for packet in container.demux():
            if packet.size and packet.pts is not None and packet.time_base:
                ticks = round(seconds / packet.time_base)
                packet.pts += ticks
                packet.dts = packet.pts if packet.dts is None else packet.dts + ticks
                packet.stream = copies[packet.stream_index]
                output.mux_one(packet)
    return target


def copy_spec(source: Path, out: Path, **changes: Any) -> OutputSpec:
    info = probe_video(source)
    spec = OutputSpec(
        path=out,
        width=info.width,
        height=info.height,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
        like=info,
    )
    return replace(spec, **changes)


def convert(source: Path, out: Path, *, sound: bool = False, **options) -> list[float]:
    """Copy frames as a conversion does; returns their times in the source."""
    part = {name: options.pop(name, None) for name in ("start", "end")}
    times = []
    spec = copy_spec(
        source,
        out,
        sound="copy" if sound else "none",
        cut_start=part["start"] is not None,
        end=None if part["end"] is None else Fraction(part["end"]),
        **options,
    )
    with open_writer(spec) as writer:
        for timed in read_frames(source, **part):
            shown = timed.frame if timed.native is None else timed.native
            writer.write(shown, pts=timed.pts, duration=timed.duration)
            times.append(timed.time)
    return times
