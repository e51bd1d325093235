"""One way to write what a conversion gives: a video, a GIF or a picture a frame.

Which, the output's name says. All writers are context managers, and what they write
appears whole or not at all.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal

from deepfake_jax.media.gif_writer import GifWriter
from deepfake_jax.media.media_probe import VideoError, VideoInfo
from deepfake_jax.media.picture_sequence import (
    SequenceWriter,
    is_sequence,
    split_pattern,
)
from deepfake_jax.media.video_encoders import CONTAINERS, check_choices
from deepfake_jax.media.video_writer import VideoWriter

OutputKind = Literal["video", "gif", "sequence"]
FrameWriter = VideoWriter | GifWriter | SequenceWriter


def choose_output(out: Path) -> OutputKind:
    """Tell by its name what an output is.

    Raises:
        VideoError: nothing that frames can be written to, with what can be.
    """
    if is_sequence(out):
        return "sequence"
    suffix = out.suffix.lower()
    if suffix == ".gif":
        return "gif"
    if suffix in CONTAINERS:
        return "video"
    raise VideoError(
        f"{out}: a video cannot be written as {out.suffix!r}; name the output "
        f"{', '.join([*CONTAINERS, '.gif'])}, a folder, or pictures like "
        "frames/%06d.png"
    )


def check_output(out: Path, *, codec: str, crf: int) -> OutputKind:
    """Check an output's name and its encoder, before hours of work for it.

    Returns:
        What it is.

    Raises:
        VideoError: the name, the encoder or its device is not one that works.
    """
    kind = choose_output(out)
    if kind == "video":
        check_choices(out, codec, crf)
    elif kind == "sequence":
        split_pattern(out)
    return kind


def open_writer(
    out: Path,
    info: VideoInfo,
    *,
    codec: str = "h264",
    crf: int = 18,
    sound_from: Path | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
    width: int | None = None,
    height: int | None = None,
) -> FrameWriter:
    """Make the writer for an output; use it in a ``with`` statement.

    Args:
        out: .mp4, .m4v, .mov, .mkv, .webm, .gif, a folder, or pictures such as
            ``frames/%06d.png``.
        info: the source: its times, colors, subtitles, chapters and names are kept
            where the output can hold them.
        codec: of a video; see `VideoWriter`.
        crf: quality of a video; see `VideoWriter`.
        sound_from: a file whose sound is copied; None for silence.
        metadata: names and texts to store in the output; a GIF holds none.
        overwrite: whether the output may exist already.
        start: the same as given to `read_frames`: the output starts with its first
            frame.
        end: the same as given to `read_frames`: sound ends with the last frame.
        width: of the output, pixels; None for the source's.
        height: of the output, pixels; None for the source's.

    Raises:
        VideoError: a choice that cannot work, with those that can.
    """
    width, height = width or info.width, height or info.height
    kind = choose_output(out)
    if kind == "gif":
        return GifWriter(
            out,
            width=width,
            height=height,
            time_base=info.time_base,
            color=info.color,
            sound_from=sound_from,
            overwrite=overwrite,
        )
    if kind == "sequence":
        return SequenceWriter(
            out,
            width=width,
            height=height,
            time_base=info.time_base,
            color=info.color,
            metadata=metadata,
            sound_from=sound_from,
            overwrite=overwrite,
        )
    return VideoWriter(
        out,
        width=width,
        height=height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        codec=codec,
        crf=crf,
        sound_from=sound_from,
        extras_from=info.path,
        metadata=metadata,
        overwrite=overwrite,
        like=info,
        cut_start=start is not None,
        end=end,
    )
