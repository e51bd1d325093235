"""One way to write what a conversion gives: a video, an animation or pictures.

Which, the output's name says. All writers are context managers, and what they write
appears whole or not at all.
"""

from pathlib import Path
from typing import Literal

from deepfake_jax.media import animation_writer
from deepfake_jax.media.animation_writer import AnimationWriter
from deepfake_jax.media.encoder_choices import CONTAINERS, check_choices
from deepfake_jax.media.frame_writer import FrameWriter, OutputSpec
from deepfake_jax.media.gif_writer import GifWriter
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.picture_sequence import (
    SequenceWriter,
    is_sequence,
    split_pattern,
)
from deepfake_jax.media.video_writer import VideoWriter

OutputKind = Literal["video", "gif", "animation", "sequence"]


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
    if suffix in animation_writer.SUFFIXES:
        return "animation"
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


def open_writer(spec: OutputSpec) -> FrameWriter:
    """Make the writer of an output; use it in a ``with`` statement.

    Raises:
        VideoError: a choice that cannot work, with those that can.
    """
    writers = {
        "video": VideoWriter,
        "gif": GifWriter,
        "animation": AnimationWriter,
        "sequence": SequenceWriter,
    }
    return writers[choose_output(spec.path)](spec)
