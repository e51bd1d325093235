"""Which encoders there are, what each takes, and what it is told.

Errors name what would work. Encoders of graphics cards are tried before they are used.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pixel_formats import choose_pixel_format
from deepfake_jax.processor import read_processor

# Each software encoder's highest crf.
_SOFTWARE = {
    "libx264": 51,
    "libx265": 51,
    "libvpx-vp9": 63,
    "libsvtav1": 63,
    "mpeg4": 51,
    "ffv1": 51,
}


@dataclass(frozen=True)
class _Hardware:
    """A family of encoders: what it runs on, and its options for a quality.

    ``{crf}`` stands for the quality on x264's scale, ``{lambda}`` for the same from 1,
    worst, to 100 in FFmpeg's unit.
    """

    needs: str
    options: Mapping[str, str]


# VA-API is left out: its encoders take frames that are on the device already, and PyAV
# has no way to put them there.
_HARDWARE = {
    "nvenc": _Hardware(
        "an NVIDIA GPU with an encoder (the A100 and H100 have none) and its driver",
        {"rc": "vbr", "cq": "{crf}", "b": "0", "preset": "p5"},
    ),
    "qsv": _Hardware(
        "an Intel GPU and its driver (oneVPL)", {"global_quality": "{crf}"}
    ),
    "amf": _Hardware(
        "an AMD GPU and its driver (AMF)",
        {"rc": "cqp", "qp_i": "{crf}", "qp_p": "{crf}"},
    ),
    "videotoolbox": _Hardware(
        "a Mac with Apple silicon",
        {"flags": "+qscale", "global_quality": "{lambda}"},
    ),
}
HARDWARE_CODECS = [
    f"{codec}_{family}" for family in _HARDWARE for codec in ("h264", "hevc", "av1")
]
# The names of formats, and the best software encoders for them.
_FRIENDLY = {
    "h264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
}
_LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA
# AVI and GIF are left out because they keep no time stamps, and the .m4v format of
# FFmpeg because it refuses what MP4, which .m4v means, can hold.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}


def list_codecs() -> dict[str, bool]:
    """List the encoders that `VideoWriter` knows and whether this FFmpeg has them.

    Those of graphics cards come last; whether the card is there too is known when they
    are opened (`check_device`).
    """
    found = {}
    for codec in (*_SOFTWARE, *HARDWARE_CODECS):
        try:
            found[codec] = av.Codec(codec, "w").is_encoder
        except UnknownCodecError:
            found[codec] = False
    return found


def resolve_codec(codec: str) -> str:
    """Return the encoder for a format's name (h264, h265, hevc, av1, vp9).

    The name of an encoder, and one that is not known, is returned as it is.
    """
    return _FRIENDLY.get(codec.lower(), codec)


def check_choices(path: Path, codec: str, crf: int) -> None:
    """Check that the codec exists, takes ``crf`` and goes into the file's container.

    Args:
        path: the output.
        codec: an encoder or a format's name (`resolve_codec`).
        crf: quality, 0 is best.

    Raises:
        VideoError: it does not, with the choices that work; or the device that the
            encoder runs on is not there.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        raise VideoError(
            f"{path}: videos cannot be written as {path.suffix or 'no suffix'!r}; "
            f"name the output {', '.join(CONTAINERS)}"
        )
    given, codec = codec, resolve_codec(codec)
    known = list_codecs()
    present = [name for name, exists in known.items() if exists]
    if codec in known and codec not in present:
        raise VideoError(
            f"{path}: this FFmpeg was built without {codec}; use one of "
            f"{', '.join(present)}"
        )
    if codec not in present:
        raise VideoError(
            f"{path}: codec {given!r} is not known; use one of "
            f"{', '.join([*_FRIENDLY, *present])}"
        )
    fitting = [name for name in present if _fits(name, CONTAINERS[suffix])]
    if codec not in fitting:
        raise VideoError(
            f"{path}: {suffix} cannot hold {codec}; use {', '.join(fitting)}, or name "
            "the output .mkv, which holds all"
        )
    most = _SOFTWARE.get(codec, 51)
    if not 0 <= crf <= most:
        raise VideoError(f"{path}: crf is {crf}; {codec} takes 0, best, to {most}")
    if codec in HARDWARE_CODECS:
        check_device(path, codec, crf)


def check_device(path: Path, codec: str, crf: int) -> None:
    """Open a graphics card's encoder for a small picture.

    Args:
        path: the output, for the message.
        codec: one of those of `list_codecs` that run on a card.
        crf: as `check_choices` allows.

    Raises:
        VideoError: the card, or its driver, is not there.
    """
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = 256, 256
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.pix_fmt = choose_pixel_format(list_formats(codec), None)
    context.options = make_options(codec, crf)
    try:
        context.open()
    except FFmpegError as error:
        software = _FRIENDLY[codec.split("_")[0]]
        raise VideoError(
            f"{path}: {codec} is in this FFmpeg but cannot be started "
            f"({error.strerror}); it needs {_family(codec).needs}. Use {software}, "
            "which runs everywhere"
        ) from error


def make_options(codec: str, crf: int) -> dict[str, str]:
    """What an encoder is told for a quality."""
    if codec in ("mpeg4", "ffv1"):
        return {}
    if codec in HARDWARE_CODECS:
        # 0 stands for "choose yourself" with nearly all of them.
        share = max(1, round(100 * (1 - crf / 51)))
        values = {"{crf}": max(1, crf), "{lambda}": share * _LAMBDA}
        return {
            name: str(values.get(text, text))
            for name, text in _family(codec).options.items()
        }
    options = {"crf": str(crf)}
    if codec == "libx264":
        # Of 1080p at crf 18 as large as medium, the default, in 40 % of its time (62
        # for 150 ms a frame) and 1.6 dB worse, at 49 dB.
        options["preset"] = "veryfast"
        # With B-frames its look ahead reads memory that nobody wrote (core 165 with
        # AVX-512), and the same frames give another file each time.
        options["bf"] = "0"
        if "avx512f" in read_processor():
            # Nor are its functions for AVX-512 trusted with the rest: those for AVX2
            # give one file, on every processor that has them.
            options["x264opts"] = "asm=AVX2"
    if codec in ("libx264", "libx265"):
        # Frames that are pasted into carry no captions, and others would alone.
        options["a53cc"] = "0"
    if codec == "libx265":
        options["x265-params"] = "log-level=none"
    if codec == "libvpx-vp9":
        options |= {"row-mt": "1", "cpu-used": "4"}
    if codec == "libsvtav1":
        options["preset"] = "8"
    return options


def list_formats(codec: str) -> list[str]:
    """The pixel formats that an encoder takes from us."""
    formats = av.Codec(codec, "w").video_formats or []
    if codec not in HARDWARE_CODECS:
        return [offered.name for offered in formats]
    # Cards would turn RGB into YUV by a matrix of their own choice, and frames that
    # are in their memory already (cuda, qsv) have no components to see.
    return [
        offered.name
        for offered in formats
        if offered.components and not offered.is_rgb and "msb" not in offered.name
    ]


def _fits(codec: str, container: str) -> bool:
    # FFmpeg lists them and refuses them at the header: QuickTime has no name for them.
    if container == "mov" and ("av1" in codec or "vp9" in codec):
        return False
    with av.open(os.devnull, "w", format=container) as trial:
        return codec in trial.supported_codecs


def _family(codec: str) -> _Hardware:
    return _HARDWARE[codec.rpartition("_")[2]]
