"""Each picture of a folder with a face swapped, into another folder."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.provenance import provenance_metadata, write_sidecar
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.search import Conversion, ConvertResult, explain_no_face
from deepfake_jax.conversion.swap_stream import swap_stream
from deepfake_jax.files import hash_file
from deepfake_jax.media.pictures import (
    PictureError,
    list_pictures,
    read_picture,
    write_picture,
)
from deepfake_jax.media.sources import Source, SourceError, picture_frame
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.progress import Progress

_log = logging.getLogger("deepfake_jax")


def convert_folder(
    source: Path,
    out: Path,
    swapper: FrameSwapper,
    provenance: dict[str, Any],
    log: FaceLog | None,
) -> ConvertResult:
    """Swaps each picture; one without the face is copied as it is.

    Raises:
        ConvertError: no picture shows the face; SourceError: there are no pictures.
    """
    pictures = list_pictures(source)
    if not pictures:
        raise SourceError(f"{source} holds no pictures")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    problems: list[str] = []
    hashes: dict[str, str] = {}
    try:
        conversion = Conversion([Source(p, "picture", 1) for p in pictures], swapper)
        stream = swap_stream(
            _read(pictures, problems),
            lambda timed: conversion.placement.find(timed.index, 0),
            swapper,
            watch=conversion.watch,
            log=log,
        )
        write = conversion.watch.wrap("encode", write_picture)
        count = 0
        with (
            closing(stream),
            Progress("convert", total=len(pictures), unit="picture") as progress,
        ):
            for timed, shown, swapped in stream:
                path, count = pictures[timed.index], count + 1
                if swapped:
                    assert isinstance(shown, np.ndarray)
                    hashes[path.name] = hash_file(path)
                    facts = {**provenance, "source": path.name}
                    facts["source_sha256"] = hashes[path.name]
                    tags = provenance_metadata(facts)
                    write(partial / path.name, shown, metadata=tags)
                else:
                    shutil.copy2(path, partial / path.name)
                progress.update_to(count, f"{len(hashes)} swapped")
        if not hashes:
            raise explain_no_face(source, count, swapper.config)
        _move_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_sidecar(out, {**provenance, "source_sha256": hashes})
    return conversion.finish(count, len(hashes), out, problems)


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


def _move_folder(partial: Path, out: Path) -> None:
    """Gives a finished folder its name; into a folder that exists, file by file."""
    if out.exists():
        for path in partial.iterdir():
            path.replace(out / path.name)
    else:
        partial.rename(out)
