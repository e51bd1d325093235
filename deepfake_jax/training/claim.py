"""Who trains a run: one program at a time, and all of its processes alike."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from jaxtyping import Int

from deepfake_jax.runs.run_folder import RunError, RunPaths, check_run, write_run_config
from deepfake_jax.train_config import TrainConfig, config_to_yaml
from deepfake_jax.training.history import TrainingError
from deepfake_jax.training.teacher import TeacherRun, check_teacher, write_teacher


@contextmanager
def claim_run(
    run: Path, config: TrainConfig, teacher: TeacherRun | None
) -> Iterator[None]:
    """Holds a run folder, which nobody else trains meanwhile."""
    check_run(run, config)
    check_teacher(run, teacher)
    run.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(RunPaths(run).lock).acquire(timeout=0):
            write_run_config(run, config)
            write_teacher(run, teacher)
            yield
    except filelock.Timeout:
        raise RunError(
            f"another process is training {run}; wait for it or use another --run"
        ) from None


def compare_processes(told: Int[np.ndarray, "_ 3"], run: Path) -> None:
    """Checks what processes told each other: started, step, `fingerprint_run`.

    Raises:
        TrainingError: they would not train the same run alike.
    """
    leader, others = told[0], list(enumerate(told))[1:]
    for index, (started, step, fingerprint) in [(0, leader), *others]:
        if not started:
            raise TrainingError(f"process {index} could not start; see what it says")
        if step != leader[1]:
            raise TrainingError(
                f"process {index} finds step {step} in {run}, process 0 step "
                f"{leader[1]}; the run folder must be on a disk that all hosts see"
            )
        if fingerprint != leader[2]:
            raise TrainingError(
                f"process {index} has other settings or face sets than process 0; "
                "start all with the same command and the same face sets"
            )


def fingerprint_run(
    config: TrainConfig, extra: dict[str, Any], teacher: str, *counts: int
) -> int:
    """A number that differs where processes would train different things."""
    # Hosts may differ in cores and memory.
    settings = config_to_yaml(replace(config, workers=1, memory_limit_mb=0))
    text = settings + json.dumps([extra["color_shift"], counts]) + teacher
    return zlib.crc32(text.encode()) >> 1  # the sign's bit stays free
