"""Each picture of a folder with a face swapped, into another folder."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from deepfake_jax.conversion.conversion_job import ConversionJob
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.marking import Marks, write_swapped
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.search import Conversion, ConvertResult
from deepfake_jax.conversion.swap_stream import swap_stream
from deepfake_jax.files import write_whole_folder
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.progress import Progress
from deepfake_jax.provenance.facts import write_sidecar


def convert_folder(
    job: ConversionJob,
    swapper: FrameSwapper,
    marks: Marks,
    log: FaceLog | None,
) -> ConvertResult:
    """Swaps each picture; one without the face is copied as it is.

    Raises:
        ConvertError: no picture shows the face.
    """
    pictures = [job.source / name for name in job.pictures]
    problems: list[str] = []
    hashes: dict[str, str] = {}
    written: list[str] = []
    with write_whole_folder(job.place, known=job.known) as partial:
        conversion = Conversion([Source(p, "picture", 1) for p in pictures], swapper)
        stream = swap_stream(
            _read(pictures, problems),
            lambda timed: conversion.placement.find(timed.index, 0),
            swapper,
            watch=conversion.watch,
            log=log,
            mark=marks.pixels.marker(),
        )
        write = conversion.watch.wrap("encode", write_swapped)
        with (
            closing(stream),
            Progress("convert", total=len(pictures), unit="picture") as progress,
        ):
            for timed, shown, swapped in stream:
                path = pictures[timed.index]
                if swapped:
                    own = marks.of_picture(path)
                    hashes[path.name] = own.facts["source_sha256"]
                    write(partial / path.name, shown, own, like=path)
                else:
                    shutil.copy2(path, partial / path.name)
                written.append(path.name)
                progress.update_to(len(written), f"{len(hashes)} swapped")
        if not hashes:
            raise conversion.explain_no_face(job.source, len(written))
        facts = {**marks.facts, "source_sha256": hashes, "pictures": written}
        job.tell_first(facts)
    write_sidecar(job.place, facts)
    return conversion.finish(len(written), len(hashes), job.place, problems)


def _read(pictures: list[Path], problems: list[str]) -> Iterator[TimedFrame]:
    """The pictures as frames that their numbers tell apart.

    One that cannot be read is noted; the look for faces has warned of it already.
    """
    for number, path in enumerate(pictures):
        try:
            frame = read_picture(path)
        except PictureError as error:
            problems.append(str(error))
            continue
        yield replace(picture_frame(frame), index=number)
