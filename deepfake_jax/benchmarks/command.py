"""``deepfake-jax benchmark``: from flags to a measurement and its text."""

import json
from typing import Any

from deepfake_jax.benchmarks import options
from deepfake_jax.benchmarks.report import format_result, to_json


def run_benchmark(command: options.BenchmarkOptions) -> int:
    """Measures what the flags ask for and prints it; gives the exit status."""
    match command:
        case options.Step():
            result = _step(command)
        case options.Loader():
            result = _loader(command)
        case _:
            raise NotImplementedError
    print(json.dumps(to_json(result)) if command.json else format_result(result))
    return 0


def _step(command: options.Step) -> Any:
    from deepfake_jax.benchmarks.step import measure_step

    config = options.make_config(
        command.preset,
        command.set,
        batch_size=command.batch_size,
        precision=command.precision,
    )
    return measure_step(
        config, steps=command.steps, warmup=command.warmup, devices=command.devices
    )


def _loader(command: options.Loader) -> Any:
    from deepfake_jax.benchmarks.loader import measure_loader

    return measure_loader(
        batch_size=command.batch_size,
        workers=command.workers,
        rounds=command.rounds,
        seconds=command.seconds,
    )
