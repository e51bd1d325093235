"""The console command ``deepfake-jax``: parse, call, print.

Flags and their help are in `commands`. Exit status is 0, 1 (failed) or 2
(wrong use). Messages and progress go to stderr, results to stdout; with ``--json`` the
last line of stdout is one JSON object.
"""

import argparse
import dataclasses
import errno
import io
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import ValidationError

from deepfake_jax.benchmarks.commands import check_options, subcommand_of
from deepfake_jax.cli.commands import (
    Benchmark,
    Command,
    Convert,
    Demo,
    Distill,
    Doctor,
    Evaluate,
    Extract,
    Faces,
    Flat,
    Preview,
    Train,
)
from deepfake_jax.cli.describe import describe_conversion, describe_extraction
from deepfake_jax.convert_config import ConvertConfig, classic_options
from deepfake_jax.files import get_cache_dir
from deepfake_jax.train_config import (
    ConfigError,
    TrainConfig,
    load_config,
    load_preset,
    override_config,
)

DEFAULT_PRESET = "lite"


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    sys.exit(run_command(sys.argv[1:] if args is None else list(args)))


def run_command(args: list[str]) -> int:
    """Runs one command and gives its exit status; argument errors exit with 2."""
    logging.basicConfig(format="deepfake-jax: %(message)s", level=logging.WARNING)
    logging.getLogger("deepfake_jax").setLevel(logging.INFO)
    # A pair of bytes that a terminal cannot show must not end a long run.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command = parse_command(args)
    except ConfigError as error:
        return _fail(error, status=2)
    try:
        return _call(command)
    except KeyboardInterrupt:
        on = "; the same command goes on from here" * isinstance(command, Extract)
        done = on or "; nothing half-written was left"
        return _fail(f"interrupted{done}", status=1)
    except (ValueError, RuntimeError, OSError, MemoryError, ImportError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        fix = "; free some space, or name a folder on another disk" if full else ""
        return _fail(f"{error}{fix}", status=1)


def _fail(error: object, *, status: int) -> int:
    print(f"deepfake-jax: error: {error}", file=sys.stderr)
    return status


def parse_command(args: list[str]) -> Command:
    """Parses arguments; ``train`` takes its defaults from the preset or config named.

    Raises:
        ConfigError: no such preset, or a setting that cannot be used.
    """
    defaults = _train_defaults(args) if args[:1] == ["train"] else TrainConfig()
    looks = _convert_defaults(args)
    commands = (
        _subcommand(Extract)
        | _subcommand(Faces)
        | _subcommand(_with_defaults(Train, defaults))
        | _subcommand(Distill)
        | _subcommand(_with_defaults(Convert, looks))
        | _subcommand(_with_defaults(Preview, looks))
        | _subcommand(Evaluate)
        | _subcommand(Demo)
        | _subcommand(Doctor)
        | _subcommand(Benchmark)
    )
    try:
        command = tyro.cli(
            commands,
            prog="deepfake-jax",
            description="Face swapping by a shared encoder and two decoders, in JAX.",
            args=args,
        )
    except ValidationError as error:
        problems = [
            f"--{'.'.join(map(str, problem['loc'])).replace('_', '-')} "
            f"{problem['input']}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from None
    if isinstance(command, Extract) and not command.sources:
        raise ConfigError("extract needs a SOURCE: a video, a picture or a folder")
    if isinstance(command, Train):
        options = override_config(command.options, command.set)
        return dataclasses.replace(command, options=options)
    if isinstance(command, Distill):
        _override(_choose_config(command), command)  # wrong ones are wrong use
    if isinstance(command, Benchmark):
        check_options(command.what)
    return command


def _subcommand(command: type) -> Any:
    """A subcommand whose help is its class's docstring, example included."""
    return Annotated[command, subcommand_of(command)]


def _with_defaults(command: type, options: TrainConfig | ConvertConfig) -> type:
    """The command class with other default options."""
    return dataclasses.make_dataclass(
        command.__name__,
        [("options", Annotated[type(options), Flat], options)],
        bases=(command,),
        namespace={"__doc__": command.__doc__},
        frozen=True,
        kw_only=True,
    )


def _train_defaults(args: list[str]) -> TrainConfig:
    """The config that the flags of ``train`` override."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", "--config", "--run", "--steps", "--minutes"):
        parser.add_argument(name)
    known, _ = parser.parse_known_args(args[1:])
    config = _choose_config(known)
    if known.steps or known.minutes:
        config = dataclasses.replace(config, steps=None, minutes=None)
    return config


def _choose_config(named: argparse.Namespace | Distill) -> TrainConfig:
    """The config of the file or preset named, or of the run, or of the default."""
    if named.preset and named.config:
        raise ConfigError("give --preset or --config, not both")
    if named.config:
        return load_config(named.config)
    if named.preset:
        return load_preset(named.preset)
    return _run_config(named.run) or load_preset(DEFAULT_PRESET)


def _override(config: TrainConfig, command: Distill) -> TrainConfig:
    """A config with what the flags of ``distill`` say."""
    limits = [("steps", command.steps), ("minutes", command.minutes)]
    given = [f"{name}={value}" for name, value in limits if value is not None]
    if given:
        config = dataclasses.replace(config, steps=None, minutes=None)
    return override_config(config, [*given, *command.set])


def _convert_defaults(args: list[str]) -> ConvertConfig:
    """The options that the flags of ``convert`` and ``preview`` override."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    known, _ = parser.parse_known_args(args[1:])
    classic = args[:1] in (["convert"], ["preview"]) and known.preset == "classic"
    return classic_options() if classic else ConvertConfig()


def _run_config(run: str | Path | None) -> TrainConfig | None:
    path = Path(run) / "config.yaml" if run else None
    return load_config(path) if path and path.exists() else None


def keep_compiled() -> None:
    """Lets JAX keep compiled programs in the user's cache folder.

    To be called before JAX is imported. Compiling a training step takes half a minute
    on a CPU, and the next run reuses it. A folder that ``JAX_COMPILATION_CACHE_DIR``
    names already is used instead.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(get_cache_dir() / "xla"))


def _call(command: Command) -> int:
    """Calls what a command names; imports are here so that --help is instant."""
    if isinstance(command, Benchmark):
        from deepfake_jax.benchmarks.run import run_benchmark

        return run_benchmark(command.what)
    keep_compiled()
    match command:
        case Extract():
            from deepfake_jax.face_sets.extraction import extract_faces

            result = extract_faces(list(command.sources), command.out, command.options)
            text = describe_extraction(result)
        case Faces():
            return _review(command)
        case Train():
            result, leads = _train(command)
            if not leads:
                return 0  # process 0 speaks for all
            text = (
                f"step {result.step}, loss A {result.loss_a:.4f} B {result.loss_b:.4f}"
                f", {result.images_per_second:.0f} img/s; saved {result.checkpoint}"
            )
        case Distill():
            from deepfake_jax.training.distillation import describe

            result, leads = _distill(command)
            if not leads:
                return 0
            text = describe(result)
        case Convert():
            from deepfake_jax.conversion.convert import convert_video

            result = convert_video(
                command.source, command.run, command.out, command.options
            )
            text = describe_conversion(result)
        case Preview():
            from deepfake_jax.conversion.frame_preview import preview_frame

            result = preview_frame(
                command.source,
                command.run,
                command.out,
                command.options,
                at=command.frame,
                grid=command.grid,
            )
            text = f"frame {result.frame} ({result.time:.2f} s): {result.out}"
        case Evaluate():
            from deepfake_jax.evaluation.evaluate import describe, evaluate

            result = evaluate(
                command.run,
                command.a,
                command.b,
                clip=command.clip,
                checkpoint=command.checkpoint,
            )
            text = describe(result)
        case Demo():
            from deepfake_jax.cli.demo import run_demo

            result = run_demo(command.out, minutes=command.minutes)
            text = result.out
        case Doctor():
            return _doctor(command)
    problems = getattr(result, "problems", ())
    print(_to_json(result) if command.json else text)
    for problem in problems:
        print(f"deepfake-jax: error: read in part only: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _review(command: Faces) -> int:
    from deepfake_jax.face_sets.face_set import list_sets, read_record
    from deepfake_jax.face_sets.review import review_faces, summarise

    result = review_faces(
        command.folder,
        sort=command.sort,
        drop=command.drop,
        keep=command.keep,
        restore=command.restore,
        delete=command.delete,
        check=command.check,
        repair=command.repair,
        sheets=command.sheets,
    )
    for problem in result.problems:
        print(f"deepfake-jax: {problem}", file=sys.stderr)
    if command.json:
        print(_to_json(result))
    else:
        sets = list_sets(command.folder)
        print(summarise(result, [r for part in sets for r in read_record(part)[1]]))
        for sheet in result.sheets:
            print(sheet)
    # What was repaired is no failure.
    return int(bool(result.problems) and not command.repair)


def _train(command: Train) -> tuple[Any, bool]:
    """The result of training, and whether this process leads."""
    import jax

    from deepfake_jax.training.devices import setup_distributed
    from deepfake_jax.training.loop import train

    setup_distributed(command.coordinator, command.num_processes, command.process_id)
    result = train(
        command.a,
        command.b,
        command.run,
        command.options,
        devices=command.devices,
        init=command.init,
        init_decoders=command.init_decoders,
    )
    return result, jax.process_index() == 0


def _distill(command: Distill) -> tuple[Any, bool]:
    """The result of distilling, and whether this process leads."""
    import jax

    from deepfake_jax.runs.trained_run import load_run
    from deepfake_jax.training.devices import setup_distributed
    from deepfake_jax.training.distillation import distill, student_config

    setup_distributed()
    config = _override(_choose_config(command), command)
    goes_on = not (command.preset or command.config) and _run_config(command.run)
    if not goes_on:
        named = any(s.partition("=")[0] == "model.width" for s in command.set)
        width = config.model.width if named else None
        config = student_config(load_run(command.teacher), config, width=width)
        # What was asked for and no student can have is said, not passed over.
        config = override_config(config, command.set)
    result = distill(
        command.teacher,
        command.run,
        config,
        a=command.a,
        b=command.b,
        devices=command.devices,
    )
    return result, jax.process_index() == 0


def _to_json(result: Any) -> str:
    """A result as one line; JSON knows no NaN, so a loss that is none becomes null."""
    fields = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in dataclasses.asdict(result).items()
    }
    return json.dumps(fields, ensure_ascii=False)


def _doctor(command: Doctor) -> int:
    from deepfake_jax.cli.doctor import format_checks, run_doctor

    checks = run_doctor(fetch=command.fetch)
    if command.json:
        rows: list[dict[str, Any]] = [dataclasses.asdict(check) for check in checks]
        print(json.dumps({"checks": rows}))
    else:
        print(format_checks(checks))
    return int(any(check.required and not check.ok for check in checks))
