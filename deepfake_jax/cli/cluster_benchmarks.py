"""The benchmark of jobs on many workers."""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from deepfake_jax.cli.benchmark_flags import STRICT, Benchmark, Positive


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Cluster(Benchmark):
    """Simulate the conversion of many videos by many workers.

    Example:
        deepfake-jax benchmark cluster --videos 10000 --workers 1000

    The schedule is the real one; the workers' times are drawn, from measured rates,
    with stragglers and workers that die. `efficiency` is the ideal time, all work
    spread evenly and nothing lost, over the time that the job takes.
    """

    videos: Positive = 10_000
    """How many; their lengths are lognormal."""
    minutes: Annotated[float, Field(gt=0)] = 3.0
    """Median length of a video."""
    workers: Positive = 1000
    """How many; a tenth and four times as many are simulated, too."""

    def execute(self) -> Any:
        """Simulates: a `ClusterResult` of three numbers of workers."""
        from deepfake_jax.benchmarks.cluster import (
            ClusterModel,
            ClusterResult,
            simulate_cluster,
        )

        many = (max(1, self.workers // 10), self.workers, 4 * self.workers)
        models = [
            ClusterModel(videos=self.videos, minutes=self.minutes, workers=workers)
            for workers in many
        ]
        return ClusterResult(tuple(map(simulate_cluster, models)))

    def text(self, result: Any) -> str:
        """A line a number of workers."""
        from deepfake_jax.benchmarks.cluster import describe_figures

        return describe_figures(result.points)
