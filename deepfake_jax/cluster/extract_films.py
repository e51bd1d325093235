"""An extraction whose videos are searched by several workers first.

The extraction itself is one process, which reads what they found: it cuts the faces out
and sorts all people in one step, so that the record is that of one process to the byte.
"""

import logging
from pathlib import Path

from deepfake_jax.cluster.job import Schedule, run_job
from deepfake_jax.cluster.job_file import job_path, write_job
from deepfake_jax.cluster.looks import Look
from deepfake_jax.cluster.pools import open_pool
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import ExtractResult, extract_faces
from deepfake_jax.media.sources import list_sources
from deepfake_jax.output_lock import lock_output

_log = logging.getLogger("deepfake_jax")


def extract_films(
    sources: list[Path],
    out: str | Path,
    config: ExtractConfig | None = None,
    *,
    workers: int | None = None,
    cluster: str = "",
) -> ExtractResult:
    """`extract_faces`, its videos searched by several workers.

    Args:
        sources: videos, pictures and folders of both.
        out: folder of the set or sets.
        config: which faces to keep.
        workers: how many; None is two on this machine, and what the cluster has.
        cluster: a Ray cluster's address; empty for processes of this machine.

    Raises:
        ValueError: as `extract_faces`.
    """
    config, out = config or ExtractConfig(), Path(out)
    films = [s.path for s in list_sources(list(sources)) if s.kind == "video"]
    looks = [Look(path.resolve(), config) for path in films]
    if len(looks) > 1:
        path = job_path(out)
        with lock_output(path):
            write_job(looks, out)
            sizes = [float(look.source.stat().st_size) for look in looks]
            schedule = Schedule(looks, weights=sizes)
            with open_pool(path, workers=workers, cluster=cluster) as pool:
                result = run_job(schedule, pool, out=str(out), label="search")
            for problem in result.problems:  # the extraction will meet it, too
                _log.warning("%s", problem)
            path.unlink(missing_ok=True)
    return extract_faces([*sources], out, config)
