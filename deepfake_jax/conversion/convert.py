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

from deepfake_jax.conversion.conversion_job import ConversionJob, make_job
from deepfake_jax.conversion.convert_pictures import convert_folder
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.loaded_swapper import load_swapper
from deepfake_jax.conversion.marking import Marks, make_marks, write_swapped
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.search import Conversion, ConvertError, ConvertResult
from deepfake_jax.conversion.swap_stream import swap_stream, write_shown
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import VideoInfo, probe_video
from deepfake_jax.media.outputs import open_writer
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import Source, parse_part
from deepfake_jax.media.timed_frames import picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.output_lock import lock_output
from deepfake_jax.progress import Progress
from deepfake_jax.provenance.facts import DIGITAL_SOURCE_TYPE, write_sidecar
from deepfake_jax.provenance.signing_keys import SigningKey

__all__ = ["ConvertError", "ConvertResult", "convert_video"]

_log = logging.getLogger("deepfake_jax")


def convert_video(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    config: ConvertConfig | None = None,
    *,
    signer: SigningKey | None = None,
) -> ConvertResult:
    """Swaps a face in a video, a picture or a folder of pictures.

    Args:
        source: a video (to a video, a GIF or numbered pictures), a picture (to a
            picture), or a folder of pictures (to a folder).
        run: folder of a training run, or an exported one; see `load_swapper`.
        out: the output; its folder is made.
        config: how.
        signer: who signs the output; by default what the config names.

    Raises:
        ConvertError: no face in all of the source, or `out` exists or does not fit.
        OutputBusyError: another process writes `out`.
        SourceError: no such source.
        RunError: the run cannot be used; CheckpointError: nor any of its checkpoints.
        VideoError, PictureError: a source that cannot be read.
        SigningError: the output cannot be signed as asked.
    """
    config = config or ConvertConfig()
    job = make_job(Path(source), Path(out), config)
    with ExitStack() as stack:
        stack.enter_context(lock_output(job.place))
        job.check_output(overwrite=config.overwrite)
        stack.callback(job.drop_stray_sidecar)
        loaded = load_swapper(run, config)
        marks = make_marks(
            config,
            job.source,
            model_hash=loaded.model_hash,
            model_step=loaded.step,
            run=run,
            signer=signer,
        )
        log = None
        if config.save_faces:
            folder, overwrite = Path(config.save_faces), config.overwrite
            log = FaceLog(folder, overwrite=overwrite, marks=marks)
            stack.enter_context(log)
        convert = _CONVERTERS[job.kind]
        return convert(job, loaded.swapper, marks, log)


def describe_output(
    job: ConversionJob, info: VideoInfo, config: ConvertConfig, marks: Marks | None
) -> OutputSpec:
    """What a converted film is written as.

    Args:
        job: source and output.
        info: of the source.
        config: of the conversion.
        marks: that it is synthetic; None for what is no output yet.
    """
    start, end = parse_part(config.start, config.end)
    marked: dict[str, Any] = {}
    if marks is not None:
        marked = {"metadata": marks.metadata, "seal": marks.seal}
    return OutputSpec(
        path=job.out,
        width=info.width * (2 if config.side_by_side else 1),
        height=info.height,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
        codec=config.encoder,
        crf=config.crf,
        pixel_format=config.pixel_format,
        like=info,
        sound=config.sound,
        overwrite=config.overwrite,
        cut_start=start is not None,
        end=None if end is None else Fraction(end),
        source_type=DIGITAL_SOURCE_TYPE,
        **marked,
    )


def _convert_film(
    job: ConversionJob,
    swapper: FrameSwapper,
    marks: Marks,
    log: FaceLog | None,
) -> ConvertResult:
    source, config = job.source, swapper.config
    info = probe_video(source)
    start, end = parse_part(config.start, config.end)
    footage = Source(source, "video", info.frames, float(info.frame_rate))
    expected = footage.expect_frames(start=start or 0.0, end=end)
    # Opened before the search, so that what it refuses is told before any work.
    with open_writer(describe_output(job, info, config, marks)) as writer:
        conversion = Conversion([footage], swapper)
        if not len(conversion.placement):
            if conversion.searched == 0:
                next(read_frames(source, start=start, end=end))  # says what is wrong
            raise conversion.explain_no_face(source, conversion.searched or expected)
        stream = swap_stream(
            read_frames(source, start=start, end=end),
            lambda timed: conversion.placement.find(0, timed.index),
            swapper,
            watch=conversion.watch,
            log=log,
            mark=marks.pixels.marker(float(info.pixel_aspect)),
        )
        with (
            closing(stream),
            Progress("convert", total=expected, unit="frame") as progress,
        ):
            written = write_shown(
                stream,
                conversion.watch.wrap("encode", writer.write),
                pixels=marks.pixels,
                start=start or 0.0,
                progress=progress,
            )
        for problem in written.problems:
            _log.warning("%s", problem)
        if not written.swapped:
            raise conversion.explain_no_face(source, written.frames)
        job.tell_first(marks.facts)
    write_sidecar(job.place, marks.facts)
    return conversion.finish(
        written.frames, written.swapped, job.place, written.problems
    )


def _convert_picture(
    job: ConversionJob,
    swapper: FrameSwapper,
    marks: Marks,
    log: FaceLog | None,
) -> ConvertResult:
    conversion = Conversion([Source(job.source, "picture", 1)], swapper)
    frames = [picture_frame(read_picture(job.source))]
    stream = swap_stream(
        frames,
        lambda timed: conversion.placement.find(0, 0),
        swapper,
        watch=conversion.watch,
        log=log,
        mark=marks.pixels.marker(),
    )
    with closing(stream):
        ((_, shown, faces),) = stream
    if not faces:
        raise conversion.explain_no_face(job.source, 1)
    job.tell_first(marks.facts)
    overwrite = swapper.config.overwrite
    write_swapped(job.out, shown, marks, like=job.source, overwrite=overwrite)
    write_sidecar(job.place, marks.facts)
    return conversion.finish(1, 1, job.place, [])


_CONVERTERS = {
    "film": _convert_film,
    "picture": _convert_picture,
    "folder": convert_folder,
}
