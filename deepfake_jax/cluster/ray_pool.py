"""Workers of a Ray cluster: actors, which keep what they have loaded.

Steps are told to them by number; films, chunks and results lie on a disk that all
machines see, and no frame goes through Ray. An actor whose node dies is started
elsewhere, and its step is done again.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_jax.cluster.films import FilmSteps
from deepfake_jax.cluster.job import Outcome, Step
from deepfake_jax.cluster.job_file import read_job
from deepfake_jax.cluster.worker import do_step

_RESTARTS = 3  # of a step by Ray itself; the schedule does the rest


class RayWorker:
    """What an actor does.

    Args:
        job: the job's file.
    """

    def __init__(self, job: str):
        self._films, self._steps = read_job(Path(job)), FilmSteps()

    def do(self, step: Step) -> Outcome:
        """Does a step."""
        return do_step(self._steps, self._films, step)


class RayPool:
    """A `job.Pool` of actors; a context manager that ends them.

    Args:
        job: the job's file.
        address: of the cluster, as ``ray://HOST:PORT``; "auto" is the one of this
            machine.
        count: actors; None is one for each GPU of the cluster, or each core of one
            without GPUs.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no cluster.
    """

    def __init__(self, job: Path, address: str, *, count: int | None = None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray = importlib.import_module("ray")
        except ImportError as error:
            raise ImportError(
                "Ray is not installed; pip install 'deepfake-jax[cluster]'"
            ) from error
        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False)
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0))
        count = count or gpus or max(1, int(found.get("CPU", 1)))
        actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=-1,
            max_task_retries=_RESTARTS,
        )(RayWorker)
        self._actors = [actor.remote(str(job)) for _ in range(count)]
        self._free = list(self._actors)
        self._busy: dict[Any, tuple[Step, Any]] = {}

    def __enter__(self) -> "RayPool":
        """The actors are there already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the actors, not the cluster."""
        for actor in self._actors:
            self._ray.kill(actor)

    @property
    def idle(self) -> int:
        """How many steps may be begun now."""
        return len(self._free)

    def begin(self, step: Step) -> None:
        """Gives a step to an actor."""
        actor = self._free.pop()
        self._busy[actor.do.remote(step)] = step, actor

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """The steps that ended, after some time at most."""
        ended, _ = self._ray.wait(list(self._busy), timeout=seconds)
        return [self._collect(reference) for reference in ended]

    def _collect(self, reference: Any) -> Outcome:
        step, actor = self._busy.pop(reference)
        self._free.append(actor)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return Outcome(step)
