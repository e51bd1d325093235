"""``deepfake-jax benchmark``: from flags to a measurement and its text."""

import json
import os
from dataclasses import asdict
from typing import Any

from deepfake_jax.benchmarks import commands
from deepfake_jax.benchmarks.report import format_result, to_json
from deepfake_jax.files import get_cache_dir
from deepfake_jax.train_config import TrainConfig


def run_benchmark(command: commands.BenchmarkOptions) -> int:
    """Measures what the flags ask for and prints it; gives the exit status.

    Raises:
        ConfigError: no such preset, or a setting that cannot be used.
        ValueError: more devices than there are, or a batch that they cannot share.
        PeerError: the peer cannot be started, or ends.
        QualityError: the quality of a run cannot be measured as asked.
    """
    match command:
        case commands.Step():
            result = _step(command)
        case commands.Loader():
            result = _loader(command)
        case commands.Poisson():
            result = _poisson(command)
        case commands.Train():
            result = _train(command)
        case commands.Layers():
            return _layers(command)
        case commands.Ratio():
            result = _ratio(command)
        case commands.Convert():
            result = _convert(command)
        case commands.Quality():
            return _quality(command)
        case commands.Distill():
            result = _distill(command)
        case commands.All():
            return _all(command)
    print(json.dumps(to_json(result)) if command.json else format_result(result))
    return 0


def _make_config(
    command: commands.Step | commands.Train | commands.Layers,
) -> TrainConfig:
    return commands.make_config(
        command.preset,
        command.set,
        batch_size=command.batch_size,
        precision=command.precision,
    )


def _step(command: commands.Step) -> Any:
    from deepfake_jax.benchmarks.step import measure_step

    config = _make_config(command)
    return measure_step(
        config, steps=command.steps, warmup=command.warmup, devices=command.devices
    )


def _loader(command: commands.Loader) -> Any:
    from deepfake_jax.benchmarks.loader import measure_loader

    return measure_loader(
        batch_size=command.batch_size,
        workers=command.workers,
        rounds=command.rounds,
        seconds=command.seconds,
    )


def _poisson(command: commands.Poisson) -> Any:
    # Read when NumPy is first imported: the claim is of one core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from deepfake_jax.benchmarks.poisson import measure_poisson

    return measure_poisson(size=command.size, rounds=command.rounds)


def _train(command: commands.Train) -> Any:
    # As `deepfake-jax train`: each round of the loop would compile anew.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(get_cache_dir() / "xla"))
    from deepfake_jax.benchmarks.train import measure_train

    config = _make_config(command)
    return measure_train(
        config, steps=command.steps, rounds=command.rounds, faces=command.faces
    )


def _layers(command: commands.Layers) -> int:
    from deepfake_jax.benchmarks.layers import format_layers, measure_layers

    config = _make_config(command)
    result = measure_layers(config, repeats=command.repeats)
    print(json.dumps(to_json(result)) if command.json else format_layers(result))
    return 0


def _ratio(command: commands.Ratio) -> Any:
    # The peer needs a part of the GPU's memory, of which XLA would reserve most.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from deepfake_jax.benchmarks.against_pytorch import measure_ratio

    config = commands.make_config(
        command.preset, command.set, batch_size=command.batch_size
    )
    return measure_ratio(
        config,
        python=command.peer_python,
        script=command.peer_script,
        steps=command.steps,
        rounds=command.rounds,
        forms=command.peer_forms,
    )


def _convert(command: commands.Convert) -> Any:
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(get_cache_dir() / "xla"))
    from deepfake_jax.benchmarks.convert import measure_convert

    return measure_convert(
        command.source, command.run, command.options, rounds=command.rounds
    )


def _quality(command: commands.Quality) -> int:
    # Without the cache of compiled programs: each run counts its whole compilation.
    from deepfake_jax.benchmarks.quality import format_quality, measure_quality

    result = measure_quality(
        {"a": command.a, "b": command.b},
        command.out,
        commands.make_quality_config(command),
        judgements=command.judgements,
        seeds=commands.parse_seeds(command.seeds),
        persons={"a": command.a_person, "b": command.b_person},
        devices=command.devices,
        init=command.init,
    )
    print(json.dumps(to_json(result)) if command.json else format_quality(result))
    return 0


def _distill(command: commands.Distill) -> Any:
    # Without the cache of compiled programs, as `_quality`.
    from deepfake_jax.benchmarks.distill import measure_distill

    return measure_distill(
        command.teacher,
        command.out,
        commands.make_config(command.preset, command.set),
        minutes=command.minutes,
        width=command.width,
        rounds=command.rounds,
        devices=command.devices,
    )


def _all(command: commands.All) -> int:
    from deepfake_jax.benchmarks.whole_table import format_table, plan_parts, run_parts

    flags = ["--preset", command.preset]
    for setting in command.set:
        flags += ["--set", setting]
    if command.batch_size is not None:
        flags += ["--batch-size", str(command.batch_size)]
    parts = plan_parts(flags, steps=command.steps, python=command.peer_python)
    table = run_parts(parts, out=command.out)
    print(json.dumps(asdict(table)) if command.json else format_table(table))
    return 0 if table.results else 1
