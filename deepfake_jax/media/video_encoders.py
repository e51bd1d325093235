"""A video's encoder: its stream, with size, pixel format and color tags."""

import logging
import os
from dataclasses import replace
from fractions import Fraction

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from deepfake_jax.media.encoder_choices import (
    HARDWARE_CODECS,
    list_formats,
    make_options,
    resolve_codec,
)
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.hdr10 import add_hdr10
from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pixel_formats import (
    BT709,
    ColorTags,
    choose_pixel_format,
    is_convertible,
)
from deepfake_jax.media.yuv_planes import chroma_steps

_log = logging.getLogger("deepfake_jax")
# MPEG-4 part 2 counts at most this many ticks a second.
_MOST_TICKS = 65535


def add_encoder(
    container: OutputContainer, spec: OutputSpec
) -> tuple[VideoStream, ColorTags]:
    """Add a video stream whose encoder counts frames: its clock ticks once a frame.

    Args:
        container: not yet written to.
        spec: with choices that passed `check_choices`.

    Returns:
        The stream and the color tags of what it encodes.
    """
    codec, like = resolve_codec(spec.codec), spec.like
    if codec == "libsvtav1":
        # The library prints a page to stderr and has no other switch for it.
        os.environ.setdefault("SVT_LOG", "1")
    rate = 1 / (1 / spec.frame_rate).limit_denominator(_MOST_TICKS)
    options = make_options(codec, spec.crf)
    if spec.like is not None:
        add_hdr10(options, codec, spec.like.side_data)
    pixel_format = _choose_format(codec, spec)
    height, width = _pad_size(codec, spec, pixel_format)
    stream = container.add_stream(
        codec, rate=rate, options=options, width=width, height=height
    )
    assert isinstance(stream, VideoStream)
    tags = _choose_tags(codec, pixel_format, like)
    context = stream.codec_context
    context.pix_fmt = pixel_format
    context.time_base = 1 / rate
    context.sample_aspect_ratio = like.pixel_aspect if like else Fraction(1)
    context.colorspace = tags.matrix
    context.color_range = tags.range
    context.color_primaries = tags.primaries
    context.color_trc = tags.transfer
    if codec == "mpeg4":
        # It has no crf; 18 becomes 3, which is near transparent, of 1 to 31.
        context.qmin = context.qmax = max(1, min(31, spec.crf // 6))
    if codec.startswith(("libx265", "hevc")) and container.format.name in (
        "mp4",
        "mov",
    ):
        # Apple's players show H.265 under this tag only.
        context.codec_tag = "hvc1"
    return stream, tags


def _choose_format(codec: str, spec: OutputSpec) -> str:
    offered = list_formats(codec)
    if not spec.pixel_format:
        like = spec.like.pixel_format if spec.like else None
        return choose_pixel_format(offered, like)
    if spec.pixel_format not in offered:
        raise VideoError(
            f"{spec.path}: {codec} has no pixel format {spec.pixel_format!r}; use one "
            f"of {', '.join(offered)}"
        )
    return spec.pixel_format


def _pad_size(codec: str, spec: OutputSpec, pixel_format: str) -> tuple[int, int]:
    """Height and width that the encoder can code; says so if they are others."""
    if codec not in ("libx264", "libx265", *HARDWARE_CODECS):
        return spec.height, spec.width
    across, down = chroma_steps(av.VideoFormat(pixel_format))
    height, width = (-(-spec.height // down) * down, -(-spec.width // across) * across)
    if (height, width) != (spec.height, spec.width):
        _log.warning(
            "%s: %dx%d becomes %dx%d, because %s with %s has no odd sides; the edge is "
            "repeated. --pixel-format yuv444p keeps the size, but few players show it",
            spec.path,
            spec.width,
            spec.height,
            width,
            height,
            codec,
            pixel_format,
        )
    return height, width


def _choose_tags(codec: str, pixel_format: str, like: VideoInfo | None) -> ColorTags:
    tags = like.color if like else BT709
    if av.VideoFormat(pixel_format).is_rgb:
        return replace(tags, matrix=0, range=2)
    if like is not None and av.VideoFormat(like.pixel_format).is_rgb:
        return replace(tags, matrix=1, range=1)
    if like is not None and like.pixel_format.startswith("yuvj"):
        tags = replace(tags, range=2)
    if codec == "mpeg4":
        # FFmpeg's encoder does not write the range, so every player takes it so.
        tags = replace(tags, range=1)
    return tags if is_convertible(tags) else replace(tags, matrix=1)
