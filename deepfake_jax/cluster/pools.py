"""Which pool of workers a job is done by: processes of this machine, or a cluster."""

from pathlib import Path

from deepfake_jax.cluster.local_pool import LocalPool
from deepfake_jax.cluster.ray_pool import RayPool

_HERE = 2  # workers on this machine, where nobody says how many


def open_pool(job: Path, *, workers: int | None, cluster: str) -> LocalPool | RayPool:
    """The pool; a context manager that ends its workers.

    Args:
        job: the job's file.
        workers: how many; None is two on this machine, and what the cluster has.
        cluster: a Ray cluster's address; empty for processes of this machine.

    Raises:
        ImportError: Ray is not installed.
    """
    if cluster:
        return RayPool(job, cluster, count=workers)
    return LocalPool(job, workers or _HERE)
