"""Choose and open an encoder: names, quality, pixel format and color tags."""

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.stream import VideoStream

from deepfake_jax.native import BT709, ColorTags, choose_pixel_format, is_convertible
from deepfake_jax.probe import VideoError, VideoInfo

# Each encoder's highest crf.
_CODECS = {
    "libx264": 51,
    "libx265": 51,
    "libvpx-vp9": 63,
    "libsvtav1": 63,
    "mpeg4": 51,
    "ffv1": 51,
}
# AVI and GIF are left out because they keep no time stamps, and the .m4v format of
# FFmpeg because it refuses what MP4, which .m4v means, can hold.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
# MPEG-4 part 2 counts at most this many ticks a second.
_MOST_TICKS = 65535


def list_codecs() -> dict[str, bool]:
    """List the encoders that `VideoWriter` knows and whether this FFmpeg has them."""
    found = {}
    for codec in _CODECS:
        try:
            found[codec] = av.Codec(codec, "w").is_encoder
        except UnknownCodecError:
            found[codec] = False
    return found


def check_choices(path: Path, codec: str, crf: int) -> None:
    """Check that the codec exists, takes ``crf`` and goes into the file's container.

    Raises:
        VideoError: it does not, with the choices that work.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        raise VideoError(
            f"{path}: videos cannot be written as {path.suffix or 'no suffix'!r}; "
            f"name the output {', '.join(CONTAINERS)}"
        )
    present = [name for name, exists in list_codecs().items() if exists]
    if codec not in present:
        raise VideoError(
            f"{path}: codec {codec!r} is not known; use one of {', '.join(present)}"
        )
    fitting = [name for name in present if _fits(name, CONTAINERS[suffix])]
    if codec not in fitting:
        raise VideoError(
            f"{path}: {suffix} cannot hold {codec}; use {', '.join(fitting)}, or name "
            "the output .mkv, which holds all"
        )
    if not 0 <= crf <= _CODECS[codec]:
        raise VideoError(
            f"{path}: crf is {crf}; {codec} takes 0, best, to {_CODECS[codec]}"
        )


def add_encoder(
    container: OutputContainer,
    *,
    codec: str,
    crf: int,
    width: int,
    height: int,
    frame_rate: Fraction,
    like: VideoInfo | None,
) -> tuple[VideoStream, ColorTags]:
    """Add a video stream whose encoder counts frames: its clock ticks once a frame.

    Args:
        container: not yet written to.
        codec: one of `list_codecs`.
        crf: as `check_choices` allows.
        width: pixels.
        height: pixels.
        frame_rate: frames a second, for the encoder's planning.
        like: the source whose color tags, pixel format and pixel aspect are kept.

    Returns:
        The stream and the color tags of what it encodes.
    """
    if codec == "libsvtav1":
        # The library prints a page to stderr and has no other switch for it.
        os.environ.setdefault("SVT_LOG", "1")
    rate = 1 / (1 / frame_rate).limit_denominator(_MOST_TICKS)
    stream = container.add_stream(
        codec, rate=rate, options=_make_options(codec, crf), width=width, height=height
    )
    assert isinstance(stream, VideoStream)
    formats = av.Codec(codec, "w").video_formats or []
    pixel_format = choose_pixel_format(
        [offered.name for offered in formats],
        like.pixel_format if like else None,
        height=height,
        width=width,
        even=codec in ("libx264", "libx265"),
    )
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
        context.qmin = context.qmax = max(1, min(31, crf // 6))
    if codec == "libx265" and container.format.name in ("mp4", "mov"):
        # Apple's players show H.265 under this tag only.
        context.codec_tag = "hvc1"
    return stream, tags


def _fits(codec: str, container: str) -> bool:
    with av.open(os.devnull, "w", format=container) as trial:
        return codec in trial.supported_codecs


def _make_options(codec: str, crf: int) -> dict[str, str]:
    if codec in ("mpeg4", "ffv1"):
        return {}
    options = {"crf": str(crf)}
    if codec == "libx265":
        options["x265-params"] = "log-level=none"
    if codec == "libvpx-vp9":
        options |= {"row-mt": "1", "cpu-used": "4"}
    if codec == "libsvtav1":
        options["preset"] = "8"
    return options


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
