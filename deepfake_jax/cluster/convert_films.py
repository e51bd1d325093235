"""Films converted by several workers: local processes, a Ray cluster, or one part.

`convert_films` does a whole job; `convert_share` does one of N shares, as each task of
a Slurm array would, after which `join_films` makes the outputs.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake_jax.cluster.film_plan import Film
from deepfake_jax.cluster.films import FilmSteps
from deepfake_jax.cluster.job import JobResult, Outcome, Schedule, Step, run_job
from deepfake_jax.cluster.job_file import job_path, list_films, read_job, write_job
from deepfake_jax.cluster.pools import open_pool
from deepfake_jax.cluster.worker import do_step
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.output_lock import lock_output

SLURM = "slurm"  # in place of a share: what the variables of a Slurm array say


def convert_films(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    config: ConvertConfig | None = None,
    *,
    workers: int | None = None,
    cluster: str = "",
    most: int = 2000,
) -> JobResult:
    """Converts a video, or many, by several workers; the same whoever does what.

    What was done before an interruption is not done again. Of many videos, those whose
    output is there are passed over, unless they are to be replaced.

    Args:
        source: a video; or a folder of videos, or a text file that names some.
        run: a run, or an exported one.
        out: a video; of many videos a folder.
        config: how.
        workers: how many; None is two on this machine, and what the cluster has.
        cluster: a Ray cluster's address; empty for processes of this machine.
        most: frames of a chunk.

    Raises:
        ConvertError: what cannot be converted in chunks; of a single video also why
            it failed.
        SourceError: no such source.
        OutputBusyError: another process does this job.
    """
    config, out = config or ConvertConfig(), Path(out)
    films = list_films(Path(source), Path(run), out, config, most=most)
    alone = films[0].out == out.resolve()
    path = job_path(out)
    with lock_output(path):
        if not alone and not config.overwrite:
            films = [film for film in films if not film.out.exists()]
        write_job(films, out)
        sizes = [float(film.source.stat().st_size) for film in films]
        schedule = Schedule(films, weights=sizes)
        useful = workers if cluster else _limit_workers(workers, films, most)
        with open_pool(path, workers=useful, cluster=cluster) as pool:
            result = run_job(schedule, pool, out=str(out))
        error = schedule.states[0].error if alone else ""
        if error:
            raise ConvertError(error)
        if not any(state.error for state in schedule.states):
            path.unlink(missing_ok=True)
    return result


def _limit_workers(workers: int | None, films: list[Film], most: int) -> int | None:
    """No more than there are chunks: each worker loads all that it may need."""
    if workers is None or len(films) >= workers:
        return workers
    try:
        frames = [probe_video(film.source).frames or math.inf for film in films]
    except VideoError:
        return workers  # its scan will say so
    chunks = sum(-(-count // most) for count in frames)
    return int(min(workers, chunks))


def convert_share(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    share: str,
    config: ConvertConfig | None = None,
    *,
    most: int = 2000,
) -> JobResult:
    """Converts one share of a job's chunks in this process; joins nothing.

    Of at least as many videos as shares each has whole videos; of fewer, chunks.

    Args:
        source: as of `convert_films`.
        run: likewise.
        out: likewise.
        share: ``3/16``, or "slurm" for what a Slurm array says.
        config: how.
        most: frames of a chunk; the same for all shares.

    Raises:
        ConvertError: no such share, or as of `convert_films`.
    """
    config, out = config or ConvertConfig(), Path(out)
    number, count = parse_share(share, os.environ)
    films = list_films(Path(source), Path(run), out, config, most=most)
    write_job(films, out)  # the same whoever writes it
    pool = _HerePool(films, number, count)
    schedule = Schedule(films, joins=False)
    result = run_job(schedule, pool, out=str(out))
    errors = [state.error for state in schedule.states if state.error]
    if errors and len(films) == 1:
        raise ConvertError(errors[0])
    return result


def join_films(out: str | Path) -> JobResult:
    """Makes the outputs of a job whose shares are done.

    Args:
        out: as it was given to the shares.

    Raises:
        ConvertError: there is no such job; of a single video also what is missing.
    """
    out = Path(out)
    known = read_job(job_path(out))
    films = [f for f in known if isinstance(f, Film) and f.folder.exists()]
    start, steps = time.monotonic(), FilmSteps()
    totals: list[Mapping[str, Any]] = []
    problems: list[str] = []
    for number, film in enumerate(films):
        outcome = do_step(steps, films, Step(number, "join"))
        if not outcome.error:
            totals.append(outcome.result)
            problems += outcome.result["problems"]
        elif film.out == out.resolve():
            raise ConvertError(outcome.error)
        else:
            problems.append(f"{film.source.name}: {outcome.error}")
    if len(totals) == len(films):
        job_path(out).unlink(missing_ok=True)
    return JobResult(
        films=len(totals),
        frames=sum(total["frames"] for total in totals),
        swapped_frames=sum(total["swapped"] for total in totals),
        seconds=round(time.monotonic() - start, 1),
        retries=0,
        out=str(out),
        problems=tuple(problems),
    )


def parse_share(share: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Which share, from 0, of how many.

    Raises:
        ConvertError: no share, or Slurm's variables are not set.
    """
    if share == SLURM:
        names = ("ID", "MIN", "COUNT")
        try:
            task, least, count = (
                int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in names
            )
        except (KeyError, ValueError) as error:
            raise ConvertError(
                f"--part {SLURM}: {error} is not set; start it by sbatch --array=1-N"
            ) from error
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
        number = (task - least) // step
    else:
        first, _, last = share.partition("/")
        if not (first.isdecimal() and last.isdecimal()):
            raise ConvertError(f"--part {share}: give I/N, as 3/16, or {SLURM}")
        number, count = int(first) - 1, int(last)
    if not 0 <= number < count:
        raise ConvertError(f"--part {share}: parts are numbered from 1 to their count")
    return number, count


class _HerePool:
    """This process, which does the steps of one share and says that others are done."""

    def __init__(self, films: list[Film], number: int, count: int):
        self._films, self._steps = films, FilmSteps()
        self._number, self._count = number, count
        self._ended: list[Outcome] = []

    @property
    def idle(self) -> int:
        return 1 - len(self._ended)

    def begin(self, step: Step) -> None:
        whole = len(self._films) >= self._count
        mine = step.film if whole else step.film + step.number
        if mine % self._count == self._number or (step.kind == "scan" and not whole):
            outcome = do_step(self._steps, self._films, step, patient=True)
            self._ended.append(outcome)
            return
        self._ended.append(Outcome(step, 0 if step.kind == "scan" else {}))

    def wait(self, seconds: float) -> Sequence[Outcome]:
        ended, self._ended = self._ended, []
        return ended
