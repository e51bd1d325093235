"""Videos and pictures to the same with a face swapped.

A first pass finds, follows and names the faces, as extraction does (or takes them from
an extraction's record). Then frames stream through, each stage in threads of its own:
decode, swap, blend, encode. A frame without a face is passed on as it was decoded.
"""

import logging
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.conversion.convert_pictures import convert_folder
from deepfake_jax.conversion.frame_swapper import FrameSwapper, make_frame_swapper
from deepfake_jax.conversion.provenance import (
    make_provenance,
    provenance_metadata,
    write_sidecar,
)
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.search import (
    Conversion,
    ConvertError,
    ConvertResult,
    explain_no_face,
)
from deepfake_jax.conversion.swap_stream import swap_stream
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.face_sets.extraction import own_version
from deepfake_jax.files import hash_file
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import TruncatedVideoError, probe_video
from deepfake_jax.media.outputs import check_output, open_writer
from deepfake_jax.media.picture_sequence import is_sequence, split_pattern
from deepfake_jax.media.pictures import is_picture, read_picture, write_picture
from deepfake_jax.media.sources import Source, SourceError, parse_part, picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.progress import Progress
from deepfake_jax.runs.trained_run import TrainedRun, load_run

__all__ = ["ConvertError", "ConvertResult", "convert_video"]

_log = logging.getLogger("deepfake_jax")


def convert_video(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    config: ConvertConfig | None = None,
) -> ConvertResult:
    """Swaps a face in a video, a picture or a folder of pictures.

    Args:
        source: a video (to a video, a GIF or numbered pictures), a picture (to a
            picture), or a folder of pictures (to a folder).
        run: folder of a training run.
        out: the output; its folder is made.
        config: how.

    Raises:
        ConvertError: no face in all of the source, or `out` exists or does not fit.
        SourceError: no such source.
        RunError: the run cannot be used; CheckpointError: nor any of its checkpoints.
        VideoError, PictureError: a source that cannot be read.
    """
    config = config or ConvertConfig()
    source, out = Path(source), Path(out)
    _check_paths(source, out, config)
    trained = load_run(run, checkpoint=config.checkpoint)
    swapper = make_frame_swapper(trained, config)
    log = None
    if config.save_faces:
        log = FaceLog(Path(config.save_faces), overwrite=config.overwrite)
    try:
        if source.is_dir():
            provenance = _provenance(trained, config, source.name, "")
            return convert_folder(source, out, swapper, provenance, log)
        provenance = _provenance(trained, config, source.name, hash_file(source))
        convert = _convert_picture if is_picture(source) else _convert_film
        return convert(source, out, swapper, provenance, log)
    finally:
        # Faces are on disk by now even if the conversion did not end well.
        if log is not None:
            log.finish()


def _check_paths(source: Path, out: Path, config: ConvertConfig) -> None:
    if not source.exists():
        raise SourceError(f"no such file or folder: {source}")
    if source.is_dir():
        if out.exists() and not out.is_dir():
            raise ConvertError(
                f"{source} is a folder, so --out must be one; {out} is a file"
            )
        if out.exists() and source.resolve() == out.resolve():
            raise ConvertError("--out is the source folder; name another one")
    elif out.exists() and source.resolve() == out.resolve():
        raise ConvertError("--out is the source itself; name another file")
    elif is_picture(source):
        if out.is_dir():
            raise ConvertError(
                f"--out {out} is a folder; name a file, such as {out / source.name}"
            )
        if not is_picture(out):
            raise ConvertError(
                f"{source.name} is a picture, so --out must name one too; got "
                f"{out.name}"
            )
    elif is_picture(out) and not is_sequence(out):
        raise ConvertError(
            f"{source.name} is a video, so --out must name one too, or numbered "
            f"pictures such as {out.with_name('%06d' + out.suffix)}; got {out.name}"
        )
    else:
        kind = check_output(out, codec=config.encoder, crf=config.crf)
        out = split_pattern(out)[0] if kind == "sequence" else out
    if config.overwrite or not out.exists():
        return
    if not (out.is_dir() and not any(out.iterdir())):
        raise ConvertError(f"{out} exists; give --overwrite to replace it")


def _provenance(
    trained: TrainedRun, config: ConvertConfig, name: str, source_hash: str
) -> dict[str, Any]:
    return make_provenance(
        tool_version=own_version(),
        model_hash=trained.model_hash,
        model_step=trained.step,
        source_name=name,
        source_hash=source_hash,
        direction="a_to_b" if config.to == "b" else "b_to_a",
    )


def _convert_film(
    source: Path,
    out: Path,
    swapper: FrameSwapper,
    provenance: dict[str, Any],
    log: FaceLog | None,
) -> ConvertResult:
    info, config = probe_video(source), swapper.config
    start, end = parse_part(config.start, config.end)
    footage = Source(source, "video", info.frames, float(info.frame_rate))
    expected = footage.expect_frames(start=start or 0.0, end=end)
    conversion = Conversion([footage], swapper)
    if not len(conversion.placement):
        if conversion.searched == 0:
            next(read_frames(source, start=start, end=end))  # says what is wrong
        raise explain_no_face(source, conversion.searched or expected, config)
    spec = OutputSpec(
        path=out,
        width=info.width * (2 if config.side_by_side else 1),
        height=info.height,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
        codec=config.encoder,
        crf=config.crf,
        like=info,
        sound_from=source if info.has_audio else None,
        metadata=provenance_metadata(provenance),
        overwrite=config.overwrite,
        cut_start=start is not None,
        end=None if end is None else Fraction(end),
    )
    watch, problems = conversion.watch, list[str]()
    stream = swap_stream(
        read_frames(source, start=start, end=end),
        lambda timed: conversion.placement.find(0, timed.index),
        swapper,
        watch=watch,
        log=log,
    )
    count = swapped = 0
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(spec))
        stack.enter_context(closing(stream))
        write = watch.wrap("encode", writer.write)
        progress = stack.enter_context(
            Progress("convert", total=expected, unit="frame")
        )
        try:
            for timed, shown, faces in stream:
                write(shown, pts=timed.pts, duration=timed.duration)
                count, swapped = count + 1, swapped + bool(faces)
                progress.update_to(count, f"{swapped} swapped")
        except TruncatedVideoError as error:
            problems.append(str(error))
            _log.warning("%s", error)
        if not swapped:
            raise explain_no_face(source, count, config)
    folder = split_pattern(out)[0] if is_sequence(out) else out
    write_sidecar(folder, provenance)
    return conversion.finish(count, swapped, folder, problems)


def _convert_picture(
    source: Path,
    out: Path,
    swapper: FrameSwapper,
    provenance: dict[str, Any],
    log: FaceLog | None,
) -> ConvertResult:
    conversion = Conversion([Source(source, "picture", 1)], swapper)
    frames = [picture_frame(read_picture(source))]
    with closing(
        swap_stream(
            frames,
            lambda timed: conversion.placement.find(0, 0),
            swapper,
            watch=conversion.watch,
            log=log,
        )
    ) as stream:
        ((_, shown, faces),) = stream
    if not faces:
        raise explain_no_face(source, 1, swapper.config)
    assert isinstance(shown, np.ndarray)
    tags = provenance_metadata(provenance)
    write_picture(out, shown, metadata=tags, overwrite=swapper.config.overwrite)
    write_sidecar(out, provenance)
    return conversion.finish(1, 1, out, [])
