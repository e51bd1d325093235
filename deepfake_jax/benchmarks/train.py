"""The real loop with the real loader, against the step alone."""

import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.benchmarks.loader import draw_faces
from deepfake_jax.benchmarks.machine import (
    Machine,
    describe_machine,
    device_peak_memory_mb,
    peak_memory_mb,
)
from deepfake_jax.benchmarks.step import StepRunner
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import make_header, write_record
from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import METRICS_NAME
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES


@dataclass(frozen=True)
class TrainBenchmark:
    """What `measure_train` found; medians over its rounds.

    Attributes:
        step_only_images_per_second: faces of both sides, on a batch on the device.
        end_to_end_images_per_second: the loop's own, as its log says: with the loader,
            without compilation, checkpoints and previews.
        ratio: the second to the first, each round's to its neighbours', the median.
        ratio_min: of the rounds.
        ratio_max: of the rounds.
        data_wait: share of time in which the loop waited for a batch.
        peak_memory_mb: of the process, 10^6 bytes; it holds two training states.
        device_peak_memory_mb: of a device's allocator, None where it says none.
        precision: of the network's arithmetic.
        width: of the network.
        batch_size: faces a step of each side.
        workers: the loader's threads.
        steps: of each in a round; the loop's first one is not timed.
        rounds: alternations.
        machine: where.
    """

    step_only_images_per_second: float
    end_to_end_images_per_second: float
    ratio: float
    ratio_min: float
    ratio_max: float
    data_wait: float
    peak_memory_mb: float
    device_peak_memory_mb: float | None
    precision: str
    width: int
    batch_size: int
    workers: int
    steps: int
    rounds: int
    machine: Machine


def measure_train(
    config: TrainConfig, *, steps: int = 10, rounds: int = 3, faces: int = 200
) -> TrainBenchmark:
    """Times `train` and the step alone in turns, in one process.

    The step is timed before and after each stretch of the loop, whose rate is compared
    with the mean of both: on a shared machine the speed drifts.

    Args:
        config: the run's; its ends, log interval and timed savings are replaced.
        steps: of each in a round, at least 2.
        rounds: alternations.
        faces: drawn for each side.

    Raises:
        ValueError: fewer than two steps, of which the first is not timed.
    """
    if steps < 2:
        raise ValueError(
            f"--steps must be at least 2 (the first compiles), got {steps}"
        )
    images = 2 * config.batch_size
    runner = StepRunner(config)
    runner.run(1)

    def step_rate() -> float:
        return images / statistics.median(runner.run(steps))

    with tempfile.TemporaryDirectory(prefix="deepfake-jax-benchmark-") as name:
        folder = Path(name)
        for seed, side in enumerate(SIDES):
            write_drawn_set(folder / side, faces, seed=seed)
        alone, loop, waits, ratios = [step_rate()], [], [], []
        for index in range(rounds):
            line = _train_stretch(folder, config, (index + 1) * steps, log_every=steps)
            loop.append(line["images_per_second"])
            waits.append(line["data_wait"])
            alone.append(step_rate())
            ratios.append(2 * loop[-1] / (alone[-2] + alone[-1]))
            print(f"round {index + 1}: ratio {ratios[-1]:.3f}", file=sys.stderr)
    return TrainBenchmark(
        step_only_images_per_second=statistics.median(alone),
        end_to_end_images_per_second=statistics.median(loop),
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        data_wait=statistics.median(waits),
        peak_memory_mb=peak_memory_mb(),
        device_peak_memory_mb=device_peak_memory_mb(),
        precision=config.model.precision,
        width=config.model.width,
        batch_size=config.batch_size,
        workers=config.workers,
        steps=steps,
        rounds=rounds,
        machine=describe_machine(),
    )


def _train_stretch(
    folder: Path, config: TrainConfig, steps: int, *, log_every: int
) -> dict[str, Any]:
    """The run's line at `steps`, where it stops; it goes on from the stretch before."""
    # One line of the log a stretch, and no checkpoint or preview but the last.
    stretch = replace(
        config,
        steps=steps,
        minutes=None,
        log_every=log_every,
        judge_every=0,
        preview_seconds=1e9,
        checkpoint_every=10**9,
        checkpoint_minutes=1e9,
    )
    train(folder / "a", folder / "b", folder / "run", stretch, devices=1)
    return read_metrics(folder / "run" / METRICS_NAME)[-1]


def write_drawn_set(folder: Path, count: int, *, seed: int) -> None:
    """Writes a face set of random smooth pictures, as `extract` would."""
    folder.mkdir()
    records = []
    # 68 landmarks, or `lite` would be timed without its loss of shapes.
    spread = np.random.default_rng(seed).normal(0, 3, (count, 68, 2))
    landmarks = template_landmarks(FACE_SIZE, count=68) + spread
    for index, face in enumerate(draw_faces(count, seed=seed)):
        name = f"000_{index:06d}_0.png"
        write_picture(folder / name, face)
        record = FaceRecord(
            file=name,
            source="drawn",
            frame=index,
            time=index / 25,
            box=(0.0, 0.0, 256.0, 256.0),
            score=1.0,
            landmarks=tuple(map(tuple, landmarks[index].tolist())),
            frame_to_face=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
            size=256.0,
        )
        records.append(record)
    write_record(folder, make_header([], "benchmark"), records)
