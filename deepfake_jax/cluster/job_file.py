"""Which films a job is of, in a hidden file beside its output that all workers read."""

import json
from collections.abc import Sequence
from pathlib import Path

from deepfake_jax.cluster.film_plan import Film, check_film
from deepfake_jax.cluster.looks import Look
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import hidden_path
from deepfake_jax.json_files import write_json
from deepfake_jax.media.encoder_choices import CONTAINERS
from deepfake_jax.media.file_kinds import find_kind
from deepfake_jax.media.sources import SourceError, list_folder

_ENDING = ".job"
LIST_SUFFIX = ".txt"


def list_films(
    source: Path, run: Path, out: Path, config: ConvertConfig, *, most: int
) -> list[Film]:
    """The films of a job.

    Args:
        source: a video; or a folder of videos, or a text file that names one a line:
            `out` is a folder then, and outputs are named as their sources.
        run: a run, or an exported one.
        out: the output.
        config: how.
        most: frames of a chunk.

    Raises:
        SourceError: no such source, or no video in it.
        ConvertError: two videos of one name, or what cannot be done in chunks.
    """
    run, out = run.resolve(), out.resolve()
    if not holds_films(source):
        film = Film(source.resolve(), out, run, config, most)
        check_film(film)
        return [film]
    if out.exists() and not out.is_dir():
        raise ConvertError(f"--out {out} is a file; of several videos it is a folder")
    videos = _list_videos(source)
    films = []
    for video in videos:
        suffix = video.suffix if video.suffix.lower() in CONTAINERS else ".mp4"
        target = out / f"{video.stem}{suffix}"
        films.append(Film(video.resolve(), target, run, config, most))
    names = [film.out.name for film in films]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ConvertError(
            f"{source}: several videos would be written as {doubles[0]}; rename one"
        )
    return films


def holds_films(source: Path) -> bool:
    """Whether a source is a folder with videos in it, or a list of some."""
    if source.suffix.lower() == LIST_SUFFIX:
        return source.is_file()
    if not source.is_dir():
        return False
    return any(find_kind(p) == "film" for p in source.iterdir() if p.is_file())


def _list_videos(source: Path) -> list[Path]:
    if source.is_dir():
        videos = list_folder(source)[1]
    else:
        lines = source.read_text(encoding="utf-8").splitlines()
        named = [Path(line.strip()) for line in lines if line.strip()]
        videos = [source.parent / path for path in named]
    if not videos:
        raise SourceError(f"{source} names no videos")
    return videos


def job_path(out: Path) -> Path:
    """Where the job of an output, a file or a folder, lies."""
    return hidden_path(out.resolve(), _ENDING)


def write_job(films: Sequence[Film | Look], out: Path) -> Path:
    """Writes a job's file; gives its place."""
    path = job_path(out)
    write_json(path, [film.to_json() for film in films], indent=None)
    return path


def read_job(path: Path) -> list[Film | Look]:
    """The films of a job's file.

    Raises:
        ConvertError: there is no such job.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [
            Look.from_json(each) if "look" in each else Film.from_json(each)
            for each in values
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConvertError(
            f"no job at {path} ({error}); start one by `deepfake-jax convert SOURCE "
            "--run RUN --out OUT --part 1/N`"
        ) from error
