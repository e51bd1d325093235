"""A large job on many workers, simulated: real schedule, drawn videos, drawn faults.

The schedule is the one that `convert --workers` and `--cluster` use; only the workers
are simulated. Their times come from rates that were measured, with stragglers, workers
that die in the middle of a step, and what each has to load before its first.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_jax.cluster.film_plan import Film
from deepfake_jax.cluster.job import Outcome, Schedule, Step
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.progress import count


@dataclass(frozen=True, kw_only=True)
class ClusterModel:
    """What is simulated.

    Attributes:
        videos: how many.
        minutes: median length of a video; lengths are lognormal.
        spread: of the logarithm of lengths.
        workers: how many.
        most: frames of a chunk.
        scan_rate: frames a second of the search for faces, which is one step a video.
        convert_rate: frames a second of the conversion.
        join_rate: frames a second of joining.
        begin: seconds that a worker needs before its first step.
        around: frames that a chunk reads beyond its own.
        straggling: share of steps that take three to eight times as long.
        dying: share of steps whose worker dies in the middle.
        seed: of all draws.
    """

    videos: int = 10_000
    minutes: float = 3.0
    spread: float = 1.0
    workers: int = 1000
    most: int = 2000
    scan_rate: float = 60.0
    convert_rate: float = 45.0
    join_rate: float = 2000.0
    begin: float = 20.0
    around: int = 24
    straggling: float = 0.01
    dying: float = 0.005
    seed: int = 0


@dataclass(frozen=True)
class ClusterFigures:
    """What a simulated job took.

    Attributes:
        workers: how many.
        frames: of all videos.
        steps: that were done.
        retries: that were begun again.
        hours: until all was done.
        ideal: hours if all work were spread evenly, without faults and loading.
        efficiency: their ratio.
        longest: hours that the longest video takes by itself: its search is one step.
    """

    workers: int
    frames: int
    steps: int
    retries: int
    hours: float
    ideal: float
    efficiency: float
    longest: float


@dataclass(frozen=True)
class ClusterResult:
    """Figures of several numbers of workers.

    Attributes:
        points: one of each.
    """

    points: tuple[ClusterFigures, ...]


def simulate_cluster(model: ClusterModel) -> ClusterFigures:
    """Runs a schedule against simulated workers."""
    rng = np.random.default_rng(model.seed)
    frames = draw_lengths(rng, model)
    film = Film(Path("in.mp4"), Path("out.mp4"), Path("run"), ConvertConfig(), 0)
    # Files' sizes tell their lengths roughly.
    sizes = [n * math.exp(rng.normal(0, 0.3)) for n in frames]
    schedule = Schedule([film] * model.videos, weights=sizes)
    seconds, begun = _run_schedule(rng, model, schedule, frames)
    rates = (model.scan_rate, model.convert_rate, model.join_rate)
    ideal = sum(frames) * sum(1 / rate for rate in rates) / model.workers
    return ClusterFigures(
        workers=model.workers,
        frames=sum(frames),
        steps=begun,
        retries=schedule.retries,
        hours=round(seconds / 3600, 3),
        ideal=round(ideal / 3600, 3),
        efficiency=round(ideal / seconds, 3),
        longest=round(max(frames) / model.scan_rate / 3600, 3),
    )


def _run_schedule(
    rng: np.random.Generator,
    model: ClusterModel,
    schedule: Schedule,
    frames: Sequence[int],
) -> tuple[float, int]:
    """Seconds until all is done, and how many steps were begun."""
    chunks = [max(1, math.ceil(n / model.most)) for n in frames]
    # Ends of steps: time, order, step, whether its worker is alive.
    ends: list[tuple[float, int, Step, bool]] = []
    idle, now, begun, fresh = model.workers, 0.0, 0, model.workers
    while schedule.open:
        while idle and (step := schedule.take(now)) is not None:
            seconds = _time_step(model, step, frames[step.film], chunks[step.film])
            if rng.random() < model.straggling:
                seconds *= rng.uniform(3, 8)
            alive = rng.random() >= model.dying
            seconds *= 1 if alive else rng.random()
            seconds += model.begin * (fresh > 0)
            fresh, idle, begun = max(0, fresh - 1), idle - 1, begun + 1
            heapq.heappush(ends, (now + seconds, begun, step, alive))
        now, _, step, alive = heapq.heappop(ends)
        idle, fresh = idle + 1, fresh + (not alive)
        result = chunks[step.film] if step.kind == "scan" else {}
        schedule.end(Outcome(step, result if alive else None), now)
    return now, begun


def _time_step(model: ClusterModel, step: Step, frames: int, chunks: int) -> float:
    """Seconds that a step takes of a video of so many frames and chunks."""
    if step.kind == "scan":
        return frames / model.scan_rate
    if step.kind == "join":
        return frames / model.join_rate
    return (frames / chunks + model.around * (chunks > 1)) / model.convert_rate


def draw_lengths(rng: np.random.Generator, model: ClusterModel) -> list[int]:
    """Frames of each video, at 25 a second."""
    lengths = model.minutes * np.exp(rng.normal(0, model.spread, model.videos))
    return np.maximum(1, np.rint(lengths * 60 * 25)).astype(int).tolist()


def describe_figures(figures: Sequence[ClusterFigures]) -> str:
    """Figures of several numbers of workers as lines."""
    return "\n".join(
        f"{each.workers} workers: {each.hours:.2f} h, ideal {each.ideal:.2f} h, "
        f"efficiency {each.efficiency:.1%}; {count(each.steps, 'step')}, "
        f"{each.retries} begun again; the longest video's search {each.longest:.2f} h"
        for each in figures
    )
