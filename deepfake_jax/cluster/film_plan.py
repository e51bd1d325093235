"""A video converted in chunks: what is asked for, and the plan of its chunks."""

import hashlib
import json
from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.conversion.conversion_job import make_job
from deepfake_jax.conversion.film_parts import FilmPart
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import hidden_path
from deepfake_jax.json_files import format_json
from deepfake_jax.media.encoder_choices import CONTAINERS
from deepfake_jax.media.frame_index import FrameIndex
from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.sources import parse_part
from deepfake_jax.version import own_version

PLAN_NAME = "plan.json"


@dataclass(frozen=True)
class Film:
    """A video to convert.

    Attributes:
        source: the video.
        out: the output, a video.
        run: a run, or an exported one.
        config: how.
        most: frames of a chunk.
    """

    source: Path
    out: Path
    run: Path
    config: ConvertConfig
    most: int

    @property
    def folder(self) -> Path:
        """Where the steps leave what they have made."""
        return hidden_path(self.out.resolve(), ".parts")

    def to_json(self) -> dict[str, Any]:
        """As values for JSON."""
        paths = {name: str(getattr(self, name)) for name in ("source", "out", "run")}
        return {**paths, "config": asdict(self.config), "most": self.most}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Film":
        """What `to_json` gave."""
        paths = {name: Path(values[name]) for name in ("source", "out", "run")}
        config = ConvertConfig(**values["config"])
        return cls(**paths, config=config, most=values["most"])


@dataclass(frozen=True)
class FilmPlan:
    """What a scan has settled.

    Attributes:
        parts: the chunks.
        names: their files.
        distrust: why the video is one chunk, where it had to be.
        source_hash: SHA-256 of the video.
        model_hash: names the network's parameters.
        model_step: updates that they have had.
    """

    parts: tuple[FilmPart, ...]
    names: tuple[str, ...]
    distrust: str
    source_hash: str
    model_hash: str
    model_step: int


def check_film(film: Film) -> None:
    """Refuses what cannot be converted in chunks.

    Raises:
        ConvertError: the source is no video, or the output no video file.
    """
    if film.config.save_faces:
        raise ConvertError("--save-faces is for one process; leave it out")
    if film.out.suffix.lower() not in CONTAINERS:
        raise ConvertError(
            f"--out {film.out}: chunks are joined to a video, {', '.join(CONTAINERS)}; "
            "one process writes the other kinds"
        )
    job = make_job(film.source, film.out, film.config)
    if job.kind != "film":
        raise ConvertError(f"{film.source} is no video; one process converts it")


def find_part(
    info: VideoInfo, index: FrameIndex, config: ConvertConfig
) -> tuple[int, int | None]:
    """The first frame that a config wants of a video, and the one after the last.

    Raises:
        ConvertError: a part of a video whose frames no index tells.
    """
    start, end = parse_part(config.start, config.end)
    if start is None and end is None:
        return 0, None
    if index.distrust:
        raise ConvertError(
            f"{info.path}: --start and --end need an index in more than one process "
            f"({index.distrust}); leave them out, or convert by one"
        )
    times = index.times(info.time_base)
    first = bisect_left(times, start or 0.0)
    last = None if end is None else bisect_left(times, end)
    if first >= (len(times) if last is None else last):
        raise VideoError(f"{info.path}: no frame is shown in that part")
    return first, None if last == len(times) else last


def read_plan(film: Film) -> FilmPlan | None:
    """What a scan of a film with these options has settled; None before.

    A damaged plan, and one of another version, are none: the film is scanned again.
    """
    try:
        values = json.loads((film.folder / PLAN_NAME).read_text(encoding="utf-8"))
        known = values.pop("facts")
        config = asdict(replace(film.config, overwrite=False))
        asked = {"version": own_version(), "config": json.loads(format_json(config))}
        if {name: known[name] for name in asked} != asked:
            return None
        parts = tuple(FilmPart(**part) for part in values.pop("parts"))
        return FilmPlan(parts=parts, names=tuple(values.pop("names")), **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def name_part(facts: dict[str, Any], part: FilmPart) -> str:
    """The file of a chunk: where it begins, and a hash of all that decides it."""
    text = json.dumps([facts, asdict(part)], sort_keys=True)
    return f"{part.first:08d}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.part"
