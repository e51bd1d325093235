"""What the processes of a run tell each other at its start, and must agree on."""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.train_config import TrainConfig, config_to_yaml


class TrainingError(RuntimeError):
    """Training that cannot go on; the text says at which step and what to do."""


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
    config: TrainConfig, facts: RunFacts, teacher: str, *counts: int
) -> int:
    """A number that differs where processes would train different things."""
    # Hosts may differ in cores and memory.
    settings = config_to_yaml(replace(config, workers=1, memory_limit_mb=0))
    text = settings + json.dumps([facts.color_shift, counts]) + teacher
    return zlib.crc32(text.encode()) >> 1  # the sign's bit stays free
