"""One video, converted in three steps that any process may do: scan, chunks, join.

All that the steps share lies in a hidden folder beside the output, which every worker
has to see. A step whose result is there is not done again, and a result appears whole
or not at all; so a step may be done twice, late, or by several at once, and comes to
the same. ``plan.json`` names the chunks by a hash of the source, the run, the options
and the frames; ``placement.npy`` says where the faces lie.

The search for faces is one step: what it finds in a frame depends on the frames before.
"""

import io
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from deepfake_jax.cluster.chunks import plan_chunks
from deepfake_jax.cluster.film_plan import (
    PLAN_NAME,
    Film,
    FilmPlan,
    find_part,
    name_part,
    read_plan,
)
from deepfake_jax.conversion.conversion_job import make_job
from deepfake_jax.conversion.convert import describe_output
from deepfake_jax.conversion.film_parts import convert_part
from deepfake_jax.conversion.loaded_swapper import LoadedSwapper, load_swapper
from deepfake_jax.conversion.marking import make_marks, make_pixel_marks
from deepfake_jax.conversion.placement import ROW, Placement
from deepfake_jax.conversion.search import Conversion, ConvertError
from deepfake_jax.files import hash_file, write_whole
from deepfake_jax.json_files import write_json
from deepfake_jax.media.frame_index import FrameIndex, read_index
from deepfake_jax.media.media_probe import VideoInfo, probe_video
from deepfake_jax.media.sources import Source
from deepfake_jax.media.video_packets import PartJoiner, read_notes
from deepfake_jax.output_lock import OutputBusyError, lock_output
from deepfake_jax.provenance.facts import write_sidecar
from deepfake_jax.version import own_version

_PLACES_NAME = "placement.npy"
_WAIT = 1.0  # seconds between looks whether another process has scanned


class FilmSteps:
    """Does steps; keeps what was loaded and read for the next.

    A step is a function of its film and number alone.
    """

    def __init__(self) -> None:
        self._swapper: tuple[Any, LoadedSwapper] | None = None
        self._read: tuple[Any, VideoInfo, FrameIndex, Placement] | None = None

    def prepare(self, film: Film) -> None:
        """Loads and compiles what a film needs, before there is a step to do.

        What is wrong with it the step will say.
        """
        with suppress(Exception):
            self._load(film).swapper.warm_up()

    def scan(self, film: Film, *, patient: bool = True) -> FilmPlan:
        """Searches the faces and plans the chunks.

        Args:
            film: of which video.
            patient: whether to wait where another process does it already. Doing it
                twice is no harm: both come to the same.

        Raises:
            ConvertError: the person is not there, or the output does not fit.
            VideoError: the video cannot be read.
        """
        while True:
            try:
                with lock_output(film.folder / PLAN_NAME):
                    plan = read_plan(film)
                    if plan is not None and self._is_of(film, plan):
                        return plan
                    return self._scan(film)
            except OutputBusyError:
                if not patient:
                    return self._scan(film)
                time.sleep(_WAIT)

    def convert(self, film: Film, number: int) -> dict[str, Any]:
        """Converts a chunk; gives what was noted of it.

        Raises:
            ConvertError: the film was not scanned, or is done already.
            VideoError: the video cannot be read or the chunk not be written.
        """
        plan = read_plan(film)
        if plan is None:
            raise ConvertError(f"{film.out}: not planned, or done already")
        out = film.folder / plan.names[number]
        if not out.exists():
            info, index, placement = self._read_film(film)
            spec = describe_output(
                make_job(film.source, film.out, film.config), info, film.config, None
            )
            swapper = self._load(film).swapper
            part = plan.parts[number]
            pixels = make_pixel_marks(
                film.config, film.source, model_hash=plan.model_hash
            )
            convert_part(
                info, index, part, placement, swapper, spec, out, pixels=pixels
            )
        return read_notes(out)

    def join(self, film: Film) -> dict[str, Any]:
        """Makes the output of all chunks; gives the sum of what was noted.

        Raises:
            ConvertError: the output exists, or the person is in no frame of it.
            OutputBusyError: another process writes it.
            VideoError: a chunk is missing or damaged.
        """
        config = film.config
        with lock_output(film.out):
            plan = read_plan(film)
            if plan is None:
                raise ConvertError(f"{film.out}: nothing was converted for it yet")
            job = make_job(film.source, film.out, config)
            job.check_output(overwrite=config.overwrite)
            parts = [film.folder / name for name in plan.names]
            missing = [n for n, part in enumerate(parts) if not part.exists()]
            if missing:
                raise ConvertError(
                    f"{film.out}: {len(missing)} of {len(parts)} chunks are missing "
                    f"(number {missing[0]} the first); convert them, then join"
                )
            total = _add_up([read_notes(part) for part in parts])
            if not total["swapped"]:
                raise ConvertError(
                    f"no face to swap in any frame of {film.source}; nothing was "
                    "written"
                )
            marks = make_marks(
                config,
                film.source,
                model_hash=plan.model_hash,
                model_step=plan.model_step,
                run=film.run,
            )
            info = probe_video(film.source)
            with PartJoiner(describe_output(job, info, config, marks)) as joiner:
                for part in parts:
                    joiner.add(part)
                job.tell_first(marks.facts)
            write_sidecar(job.place, marks.facts)
        shutil.rmtree(film.folder, ignore_errors=True)
        return total

    def _is_of(self, film: Film, plan: FilmPlan) -> bool:
        """Whether an earlier command's plan is of the same video and run."""
        if plan.source_hash != hash_file(film.source):
            return False
        return plan.model_hash == self._load(film).model_hash

    def _scan(self, film: Film) -> FilmPlan:
        job = make_job(film.source, film.out, film.config)
        job.check_output(overwrite=film.config.overwrite)
        info = probe_video(film.source)
        index = read_index(info)
        begin, end = find_part(info, index, film.config)
        parts = tuple(plan_chunks(index, begin=begin, end=end, most=film.most))
        loaded = self._load(film)
        footage = Source(film.source, "video", info.frames, float(info.frame_rate))
        conversion = Conversion([footage], loaded.swapper)
        if not len(conversion.placement):
            raise conversion.explain_no_face(film.source, conversion.searched)
        facts = {
            "source": hash_file(film.source),
            "model": loaded.model_hash,
            "version": own_version(),
            "config": asdict(replace(film.config, overwrite=False)),
        }
        plan = FilmPlan(
            parts=parts,
            names=tuple(name_part(facts, part) for part in parts),
            distrust=index.distrust,
            source_hash=facts["source"],
            model_hash=loaded.model_hash,
            model_step=loaded.step,
        )
        with write_whole(film.folder / _PLACES_NAME, overwrite=True) as path:
            with path.open("wb") as file:
                np.save(file, conversion.placement.table, allow_pickle=False)
        write_json(film.folder / PLAN_NAME, {**asdict(plan), "facts": facts})
        return plan

    def _read_film(self, film: Film) -> tuple[VideoInfo, FrameIndex, Placement]:
        if self._read is None or self._read[0] != film.folder:
            info = probe_video(film.source)
            data = (film.folder / _PLACES_NAME).read_bytes()
            table = np.load(io.BytesIO(data), allow_pickle=False).astype(ROW)
            self._read = film.folder, info, read_index(info), Placement(table)
        return self._read[1:]

    def _load(self, film: Film) -> LoadedSwapper:
        key = film.run, film.config
        if self._swapper is None or self._swapper[0] != key:
            self._swapper = key, load_swapper(film.run, film.config)
        return self._swapper[1]


def _add_up(notes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "frames": sum(note["frames"] for note in notes),
        "swapped": sum(note["swapped"] for note in notes),
        "problems": [problem for note in notes for problem in note["problems"]],
    }
