"""The console command ``deepfake-jax``: parse, call, print, exit.

Exit status is 0, 1 (failed) or 2 (wrong use). Messages and progress go to stderr,
results to stdout; with ``--json`` the last line of stdout is one JSON object.
"""

import dataclasses
import functools
import inspect
import logging
import operator
import sys
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

import tyro
from pydantic import ValidationError

from deepfake_jax.benchmarks.report import to_json
from deepfake_jax.cli.cluster_benchmarks import Cluster
from deepfake_jax.cli.command import Command, Flat
from deepfake_jax.cli.console import (
    explain_error,
    hear_lost_interrupts,
    prepare_streams,
    signals_interrupt,
)
from deepfake_jax.cli.export_commands import Export
from deepfake_jax.cli.face_set_commands import Extract, Faces
from deepfake_jax.cli.quality_benchmarks import Convert as BenchmarkConvert
from deepfake_jax.cli.quality_benchmarks import Distill as BenchmarkDistill
from deepfake_jax.cli.quality_benchmarks import Quality
from deepfake_jax.cli.run_commands import Distill, Evaluate, Train
from deepfake_jax.cli.setup_commands import Demo, Doctor
from deepfake_jax.cli.speed_benchmarks import (
    All,
    Gpu,
    Layers,
    Loader,
    Poisson,
    Ratio,
    Step,
)
from deepfake_jax.cli.speed_benchmarks import Train as BenchmarkTrain
from deepfake_jax.cli.studio_commands import Studio
from deepfake_jax.cli.swap_commands import Convert, Join, Preview
from deepfake_jax.cli.trust_benchmarks import Provenance
from deepfake_jax.cli.trust_commands import Verify
from deepfake_jax.json_files import format_json
from deepfake_jax.train_config import ConfigError
from deepfake_jax.version import own_version

COMMANDS = (
    *(Extract, Faces, Train, Distill, Convert, Join, Preview, Evaluate, Verify),
    *(Studio, Export, Demo, Doctor),
)
BENCHMARKS = (
    *(Step, Loader, Poisson, BenchmarkTrain, Layers, Ratio),
    *(BenchmarkConvert, Quality, BenchmarkDistill, Cluster, Provenance),
    *(All, Gpu),
)
_DESCRIPTION = """Face swapping by a shared encoder and two decoders, in JAX.

deepfake-jax COMMAND --help explains a command, deepfake-jax --version names this one.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    prepare_streams()
    hear_lost_interrupts()
    sys.exit(run_command(sys.argv[1:] if args is None else list(args)))


def run_command(args: list[str]) -> int:
    """Runs one command and gives its exit status; argument errors exit with 2."""
    logging.basicConfig(format="deepfake-jax: %(message)s", level=logging.WARNING)
    logging.getLogger("deepfake_jax").setLevel(logging.INFO)
    for name in ("absl", "asyncio"):  # orbax logs with a trace what it raises besides
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if args[:1] == ["--version"]:
        print(f"deepfake-jax {own_version()}")
        return 0
    left = Command.on_interrupt
    try:
        with signals_interrupt():
            try:
                command = parse_command(args)
            except ConfigError as error:
                return _fail(error, status=2)
            left = command.on_interrupt
            result = command.execute()
            return 0 if result is None else _report(command, result)
    except KeyboardInterrupt as error:
        by = f" by {error}" if str(error) else ""
        return _fail(f"interrupted{by}; {left}", status=1)
    except (ValueError, RuntimeError, OSError, MemoryError, ImportError) as error:
        return _fail(explain_error(error), status=1)


def _report(command: Command, result: Any) -> int:
    """Prints a result and what went wrong beside; gives the exit status."""
    if command.json:
        print(format_json(to_json(result)))
    else:
        print(command.text(result))
    for problem in command.problems(result):
        _say(problem)
    sys.stdout.flush()  # while an error can still be told
    return int(command.failed(result))


def _fail(error: object, *, status: int) -> int:
    _say(f"error: {error}")
    return status


def _say(text: str) -> None:
    print(f"deepfake-jax: {text}", file=sys.stderr)


def parse_command(args: list[str]) -> Command:
    """Parses a command line; what is wrong in a way that tyro sees exits with 2.

    Raises:
        ConfigError: a preset, setting or value that cannot be used.
    """
    try:
        command = tyro.cli(
            _join([*(_subcommand(kind, args) for kind in COMMANDS), _benchmark()]),
            prog="deepfake-jax",
            description=_DESCRIPTION,
            args=args,
        )
    except ValidationError as error:
        problems = [
            f"--{'.'.join(map(str, problem['loc'])).replace('_', '-')} "
            f"{problem['input']}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from None
    command = getattr(command, "what", command)
    command.verify()
    return command


def _subcommand(kind: type[Any], args: Sequence[str] = ()) -> Any:
    """A subcommand: its class gives the name, and its docstring the help."""
    name = kind.__name__.lower()
    if args[:1] == [name] and (begun := kind.begin(args[1:])):
        kinds = get_type_hints(kind, include_extras=True)
        kind = dataclasses.make_dataclass(
            kind.__name__,
            [(field, kinds[field], default) for field, default in begun.items()],
            bases=(kind,),
            namespace={"__doc__": kind.__doc__},
            frozen=True,
            kw_only=True,
        )
    help_text = inspect.getdoc(kind)
    return Annotated[kind, tyro.conf.subcommand(name, description=help_text)]


def _benchmark() -> Any:
    """The subcommand whose own subcommands are the benchmarks."""
    what = Annotated[_join([_subcommand(kind) for kind in BENCHMARKS]), Flat]
    help_text = {"__doc__": _BENCHMARK_HELP}
    return _subcommand(
        dataclasses.make_dataclass("Benchmark", [("what", what)], namespace=help_text)
    )


_BENCHMARK_HELP = """
Measure this installation: its speed, quality against time, a peer, or all.

Example:
    deepfake-jax benchmark step --precision bfloat16 --json

Figures are medians without compilation, with device, versions and command beside them.
`all` measures a device's whole table in one go.
"""


def _join(kinds: Sequence[Any]) -> Any:
    return functools.reduce(operator.or_, kinds)
