"""Videos and pictures to the same with a face swapped.

A first pass finds, follows and names the faces, as extraction does (or takes them from
an extraction's record); then frames stream through: decode in one thread, swap and
blend in another, encode in this one. A frame without a face is passed on as it was
decoded.
"""

import logging
import shutil
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.encode import VideoWriter
from deepfake_jax.extract import own_version
from deepfake_jax.frames import FrameSwapper, Swapped
from deepfake_jax.options import ConvertConfig
from deepfake_jax.people import PersonError
from deepfake_jax.pictures import (
    PictureError,
    is_picture,
    list_pictures,
    read_picture,
    write_picture,
)
from deepfake_jax.pipeline import in_chunks, run_ahead
from deepfake_jax.place import Placement, place_faces, read_placement
from deepfake_jax.progress import Progress
from deepfake_jax.provenance import (
    make_provenance,
    provenance_metadata,
    write_sidecar,
)
from deepfake_jax.run import TrainedRun, load_run
from deepfake_jax.source import Source, SourceError, hash_file, picture_frame
from deepfake_jax.types import Frame
from deepfake_jax.video import TimedFrame, TruncatedVideoError, probe_video, read_frames

_log = logging.getLogger("deepfake_jax")
_CHUNK = 8  # frames swapped at once: a whole batch, and few enough to hold in memory


class ConvertError(ValueError):
    """A conversion that cannot be done; the text says why and the usual fix."""


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion gave.

    Attributes:
        frames: frames written.
        swapped_frames: those with a swapped face.
        frames_per_second: of the whole conversion, start-up left out.
        out: the output.
        problems: what could be read in part only.
    """

    frames: int
    swapped_frames: int
    frames_per_second: float
    out: str
    problems: tuple[str, ...]


def convert_video(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    config: ConvertConfig | None = None,
) -> ConvertResult:
    """Swaps a face in a video, a picture or a folder of pictures.

    Args:
        source: a video (to a video), a picture (to a picture), or a folder of pictures
            (to a folder).
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
    _check_paths(source, out, overwrite=config.overwrite)
    trained = load_run(run)
    swapper = FrameSwapper(trained, config)
    if source.is_dir():
        provenance = _provenance(trained, config, source.name, "")
        return _convert_folder(source, out, swapper, provenance)
    provenance = _provenance(trained, config, source.name, hash_file(source))
    if is_picture(source):
        return _convert_picture(source, out, swapper, provenance)
    return _convert_film(source, out, swapper, provenance)


def _check_paths(source: Path, out: Path, *, overwrite: bool) -> None:
    if not source.exists():
        raise SourceError(f"no such file or folder: {source}")
    if source.is_dir():
        if out.exists() and not out.is_dir():
            raise ConvertError(
                f"{source} is a folder, so --out must be one; {out} is a file"
            )
        if out.exists() and source.resolve() == out.resolve():
            raise ConvertError("--out is the source folder; name another one")
    elif out.is_dir():
        raise ConvertError(
            f"--out {out} is a folder; name a file, such as {out / source.name}"
        )
    elif out.exists() and source.resolve() == out.resolve():
        raise ConvertError("--out is the source itself; name another file")
    elif is_picture(source) != is_picture(out):
        kind = "picture" if is_picture(source) else "video"
        raise ConvertError(
            f"{source.name} is a {kind}, so --out must name one too; got {out.name}"
        )
    if not overwrite and out.exists() and not (out.is_dir() and not any(out.iterdir())):
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


def _swap_stream(
    frames: Iterable[TimedFrame], placement: Placement, swapper: FrameSwapper
) -> Generator[Swapped]:
    """Swaps a stream in chunks; decoding and swapping have a thread each."""

    def swap() -> Iterator[Swapped]:
        for chunk in in_chunks(run_ahead(frames, ahead=_CHUNK), _CHUNK):
            found = [(timed, placement.find(0, timed.index)) for timed in chunk]
            yield from swapper.swap(found)

    return run_ahead(swap(), ahead=_CHUNK)


def _place(sources: list[Source], swapper: FrameSwapper) -> Placement:
    """Where the faces to swap are; a first pass over the footage or its record."""
    config = swapper.config
    if config.faces and len(sources) > 1:
        raise ConvertError(
            "--faces is for one video or picture; leave it out for a folder of pictures"
        )
    try:
        if not config.faces:
            return place_faces(sources, config, swapper.identity)
        return read_placement(
            Path(config.faces), sources[0].path, config, swapper.identity
        )
    except PersonError as error:
        raise ConvertError(str(error)) from error


def _convert_film(
    source: Path, out: Path, swapper: FrameSwapper, provenance: dict[str, Any]
) -> ConvertResult:
    info, config = probe_video(source), swapper.config
    placement = _place([Source(source, "video", info.frames)], swapper)
    if not len(placement):
        raise _no_face(source, sum(1 for _ in read_frames(source)), config)
    writer = VideoWriter(
        out,
        width=info.width,
        height=info.height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        codec=config.codec,
        crf=config.crf,
        sound_from=source if info.has_audio else None,
        metadata=provenance_metadata(provenance),
        overwrite=config.overwrite,
        like=info,
    )
    count = swapped = 0
    problems: list[str] = []
    with writer, Progress("convert", total=info.frames, unit="frame") as progress:
        start = time.monotonic()
        try:
            stream = _swap_stream(read_frames(source), placement, swapper)
            for timed, frame in stream:
                unchanged = timed.frame if timed.native is None else timed.native
                shown = unchanged if frame is None else frame
                writer.write(shown, pts=timed.pts, duration=timed.duration)
                count, swapped = count + 1, swapped + (frame is not None)
                progress.update_to(count, f"{swapped} swapped")
        except TruncatedVideoError as error:
            problems.append(str(error))
            _log.warning("%s", error)
        if not swapped:
            raise _no_face(source, count, config)
        seconds = time.monotonic() - start
    write_sidecar(out, provenance)
    return ConvertResult(count, swapped, count / seconds, str(out), tuple(problems))


def _no_face(source: Path, count: int, config: ConvertConfig) -> ConvertError:
    who = "" if config.person != "auto" else " of the person the run was trained on"
    fix = "" if config.person != "auto" else ", or give --person largest"
    return ConvertError(
        f"no face{who} in {count} frames of {source}; nothing was written. Lower "
        f"--min-score (now {config.min_score}){fix}"
    )


def _convert_picture(
    source: Path, out: Path, swapper: FrameSwapper, provenance: dict[str, Any]
) -> ConvertResult:
    start = time.monotonic()
    placement = _place([Source(source, "picture", 1)], swapper)
    (_, frame), *_ = _swap_pictures([source], placement, swapper)
    if frame is None:
        raise _no_face(source, 1, swapper.config)
    tags = provenance_metadata(provenance)
    write_picture(out, frame, metadata=tags, overwrite=swapper.config.overwrite)
    write_sidecar(out, provenance)
    return ConvertResult(1, 1, 1 / (time.monotonic() - start), str(out), ())


def _convert_folder(
    source: Path, out: Path, swapper: FrameSwapper, provenance: dict[str, Any]
) -> ConvertResult:
    """Swaps each picture of a folder; one without the face is copied as it is."""
    pictures = list_pictures(source)
    if not pictures:
        raise SourceError(f"{source} holds no pictures")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    problems: list[str] = []
    hashes: dict[str, str] = {}
    start = time.monotonic()
    try:
        with Progress("convert", total=len(pictures), unit="picture") as progress:
            readable = list(_readable(pictures, problems))
            placement = _place([Source(p, "picture", 1) for p in readable], swapper)
            count = 0
            for count, (path, frame) in enumerate(
                _swap_pictures(readable, placement, swapper), start=1
            ):
                if frame is None:
                    shutil.copy2(path, partial / path.name)
                else:
                    hashes[path.name] = hash_file(path)
                    facts = {**provenance, "source": path.name}
                    facts["source_sha256"] = hashes[path.name]
                    tags = provenance_metadata(facts)
                    write_picture(partial / path.name, frame, metadata=tags)
                progress.update_to(count, f"{len(hashes)} swapped")
        if not hashes:
            raise _no_face(source, count, swapper.config)
        _move_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_sidecar(out, {**provenance, "source_sha256": hashes})
    rate = count / (time.monotonic() - start)
    return ConvertResult(count, len(hashes), rate, str(out), tuple(problems))


def _readable(pictures: list[Path], problems: list[str]) -> Iterator[Path]:
    """Passes over pictures that cannot be read, and notes them."""
    for path in pictures:
        try:
            read_picture(path)
        except PictureError as error:
            problems.append(str(error))
            _log.warning("%s", error)
            continue
        yield path


def _swap_pictures(
    pictures: Iterable[Path], placement: Placement, swapper: FrameSwapper
) -> Iterator[tuple[Path, Frame | None]]:
    for chunk in in_chunks(enumerate(pictures), _CHUNK):
        found = [
            # Numbered, because the swapper tells the frames of a batch by their index.
            (
                replace(picture_frame(read_picture(path)), index=number),
                placement.find(number, 0),
            )
            for number, path in chunk
        ]
        for (_, path), (_, frame) in zip(chunk, swapper.swap(found), strict=True):
            yield path, frame


def _move_folder(partial: Path, out: Path) -> None:
    """Gives a finished folder its name; into a folder that exists, file by file."""
    if out.exists():
        for path in partial.iterdir():
            path.replace(out / path.name)
    else:
        partial.rename(out)
