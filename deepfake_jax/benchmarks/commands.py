"""The flags of ``deepfake-jax benchmark``; their comments are its help texts.

Free of JAX and OpenCV, so that ``--help`` is instant.
"""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.train_config import (
    ConfigError,
    TrainConfig,
    load_preset,
    override_config,
)

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Positive = Annotated[int, Field(gt=0)]
_Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]
_Settings = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Step:
    """Time the training step on random faces that lie on the device.

    Example:
        deepfake-jax benchmark step --precision bfloat16 --json

    Prints images a second (A and B counted: 128 a step at batch size 64), the step's
    median time and spread, compile time apart, the network's operations a second (of
    the plain network, whatever form computes it), their share of the device's peak and
    of the matrix product's rate measured in the same run, and peak memory.
    """

    preset: str = "original"
    """Network, loss and optimizer: a preset's name."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    batch_size: _Positive | None = None
    """Faces a step of each side, over all devices; the preset's by default."""
    precision: Precision | None = None
    """Type of the network's arithmetic; the preset's by default."""
    steps: _Positive = 10
    """Steps timed."""
    warmup: _Positive = 2
    """Steps before them that are not."""
    devices: _Positive = 1
    """Devices used: jit on one, pmap on more."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Loader:
    """Time the loader, and the classic two-step augmentation beside it.

    Example:
        deepfake-jax benchmark loader --workers 4

    Random faces of 256 pixels become training pairs. A face counts once for its pair;
    the rate per core is by processor time. `ratio` is ours to the classic form's, per
    core, the median of rounds that alternate.
    """

    batch_size: _Positive = 64
    """Faces a step of each side."""
    workers: _Positive | None = None
    """Threads that prepare batches; by default one a core."""
    rounds: _Positive = 7
    """Alternations of ours and the classic form."""
    seconds: Annotated[float, Field(gt=0)] = 1.0
    """How long each is measured in a round."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Poisson:
    """Time seamless cloning against cv2.seamlessClone, alternating, on one core.

    Example:
        deepfake-jax benchmark poisson --size 300

    Clones an oval in a square region. `ratio` is OpenCV's time to ours, the median of
    rounds. OpenCV asks another question (its change does not end at the mask), so our
    solver is timed on that one, too, and the root mean square difference is given.
    """

    size: Annotated[int, Field(ge=16)] = 300
    """Side of the region, pixels."""
    rounds: _Positive = 15
    """Alternations of ours and OpenCV's."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Train:
    """Time the real loop with the real loader against the step alone.

    Example:
        deepfake-jax benchmark train --preset lite --rounds 5

    `train` runs on a drawn face set in a temporary folder, alternating with the same
    step on a batch that lies on the device. `ratio` is the end-to-end rate to the
    step-only rate, the median over rounds.
    """

    preset: str = "original"
    """Network, loss and optimizer: a preset's name."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    batch_size: _Positive | None = None
    """Faces a step of each side; the preset's by default."""
    precision: Precision | None = None
    """Type of the network's arithmetic; the preset's by default."""
    steps: _Positive = 10
    """Steps of each in a round."""
    rounds: _Positive = 3
    """Alternations of the loop and the step alone."""
    faces: _Positive = 200
    """Faces drawn for each side."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Layers:
    """Time every convolution of the network in every form that can compute it.

    Example:
        deepfake-jax benchmark layers --preset lite

    Milliseconds for the value and for both gradients; a star marks the form that the
    network uses on this device. Needs a few minutes for `original` on a CPU.
    """

    preset: str = "original"
    """Network: a preset's name."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    batch_size: _Positive | None = None
    """Faces a step of each side; the preset's by default."""
    precision: Precision | None = None
    """Type of the network's arithmetic; the preset's by default."""
    repeats: _Positive = 5
    """Times each is measured; the best counts."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Ratio:
    """Alternate our step with PyTorch's and print the ratios.

    Example:
        deepfake-jax benchmark ratio --peer-python ../torch/bin/python

    Runs scripts/bench_peer_torch.py (from a checkout) in a Python that has torch.
    The first round tries every form of the peer; those within a quarter of the best
    in float32, or of the best of all, go on. Ratios are medians over rounds: our
    float32 to the peer's best float32, our bfloat16 to the peer's best of all.
    """

    peer_python: Path | None = None
    """A Python that has torch; this one by default."""
    peer_script: Path | None = None
    """bench_peer_torch.py; that of the checkout by default."""
    preset: str = "original"
    """Network of ours: a preset's name; the peer's is `original` of that width."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    batch_size: _Positive | None = None
    """Faces a step of each side; the preset's by default."""
    steps: _Positive = 3
    """Steps of each form in a round."""
    rounds: _Positive = 5
    """Alternations, after the one that screens the peer's forms."""
    peer_forms: tuple[str, ...] = ()
    """Forms of the peer to try, PRECISION-MODE-LAYOUT; all by default, which takes a
    quarter of an hour on a small CPU."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Convert:
    """Convert a clip and measure speed, seam, flicker and fidelity.

    Example:
        deepfake-jax benchmark convert interview.mp4 --run run --json

    `seam` is the color step that the paste adds at the mask's border (Delta E), beside
    that of a plain hard paste; `flicker` the restlessness that it adds from frame to
    frame (grey levels), beside that of the choices of 2018; both are lower when
    better. `identity_psnr` is of a network that returns its input. Any flag of
    `convert` changes what is measured as the default.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video that shows the run's A."""
    run: Path
    """Folder of a training run."""
    rounds: _Positive = 1
    """Conversions timed; the median counts."""
    options: Annotated[ConvertConfig, tyro.conf.arg(name="")] = ConvertConfig()
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Quality:
    """Train a real run and judge its held-out faces against training time.

    Example:
        deepfake-jax benchmark quality --a man.mp4 --b singer.mp4 --minutes 20 --out q

    Trains OUT/run_SEED as `train` does and evaluates it at even times, on faces that it
    is not trained on: OUT/quality.jsonl has a line a judgement with all figures of
    `evaluate`, OUT/quality.png the curves. Minutes are those of `train --minutes`:
    compilation counts, the judgements do not. `minutes_to_retrieval` is when 95 % of
    the swaps of both directions are nearer to the target from then on, to the
    judgement. The same command goes on with an interrupted measurement; more
    --minutes or other --seeds add to it.
    """

    a: Path
    """Face set of A; or a video, a picture or a folder of pictures, to extract it."""
    b: Path
    """Face set of B, or footage of B."""
    out: Path
    """Folder for runs, curves and extracted faces."""
    minutes: Annotated[float, Field(gt=0)]
    """Training time of each run."""
    preset: str = "lite"
    """Network, loss and optimizer: a preset's name."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    judgements: _Positive = 10
    """Evaluations of each run, evenly over its time."""
    holdout: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of each side's faces to judge by and not train on."""
    seeds: str = "0"
    """Seeds of the runs, as 0,1,2: one run a seed, one after another, and medians."""
    init: Path | None = None
    """Each run starts with the encoder of this run: a warm start, to compare with
    another measurement without."""
    devices: _Positive = 1
    """Devices that train."""
    a_person: str = "main"
    """Whom to extract from footage of A: main (the person seen most), a number as
    `extract` counts people, or the path of a picture of the person."""
    b_person: str = "main"
    """Likewise of B."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Distill:
    """Compare a distilled student with its teacher, and with itself untaught.

    Example:
        deepfake-jax benchmark distill --teacher run --minutes 8 --out small

    Trains OUT/student as `distill` does, then OUT/alone: the same network, as many
    steps, without a teacher. All three are judged as `evaluate` does on the faces that
    the teacher held out. Prints for each its identity transfer and the other figures of
    swaps, its size in MB (what a swap reads: parameters in float32, and the bank of
    codes and real faces) and the faces a second that it swaps. The same command goes on
    with an interrupted measurement.
    """

    teacher: Path
    """Folder of the trained run to learn from; it stays as it is."""
    out: Path
    """Folder for the two runs."""
    minutes: Annotated[float, Field(gt=0)]
    """Training time of the student."""
    preset: str = "lite"
    """Network, loss and optimizer: a preset's name."""
    width: _Positive | None = None
    """Width of the network; by default the widest that has a tenth of the teacher's
    parameters."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    rounds: _Positive = 5
    """Timings of the swaps; the median counts."""
    devices: _Positive = 1
    """Devices that train."""
    json: _Json = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class All:
    """Measure the whole table of a device: step, loader, train, and the peer.

    Example:
        deepfake-jax benchmark all --out h100.json --peer-python ../torch/bin/python

    The one command to run where a GPU can be had for a short time. Each part runs in a
    process of its own; one that fails is reported and the others still run. The peer
    is left out where torch cannot be imported.
    """

    out: Path | None = None
    """File for every result as JSON, one a line, as they come."""
    preset: str = "original"
    """Network, loss and optimizer: a preset's name."""
    set: _Settings = ()
    """Override one setting, as key.sub=value; may be given again."""
    batch_size: _Positive | None = None
    """Faces a step of each side; the preset's by default."""
    steps: _Positive | None = None
    """Steps timed; by default 100 on an accelerator and 5 on a CPU."""
    peer_python: Path | None = None
    """A Python that has torch; this one by default."""
    json: _Json = False
    """Print the results as one line of JSON."""


def subcommand_of(command: type) -> Any:
    """A subcommand: its class gives the name, its docstring the help."""
    return tyro.conf.subcommand(
        command.__name__.lower(), description=inspect.getdoc(command)
    )


BenchmarkOptions = (
    Annotated[Step, subcommand_of(Step)]
    | Annotated[Loader, subcommand_of(Loader)]
    | Annotated[Poisson, subcommand_of(Poisson)]
    | Annotated[Train, subcommand_of(Train)]
    | Annotated[Layers, subcommand_of(Layers)]
    | Annotated[Ratio, subcommand_of(Ratio)]
    | Annotated[Convert, subcommand_of(Convert)]
    | Annotated[Quality, subcommand_of(Quality)]
    | Annotated[Distill, subcommand_of(Distill)]
    | Annotated[All, subcommand_of(All)]
)


def make_config(
    preset: str,
    settings: tuple[str, ...],
    *,
    batch_size: _Positive | None = None,
    precision: Precision | None = None,
) -> TrainConfig:
    """The config that a benchmark's flags describe; flags win over ``--set``.

    Raises:
        ConfigError: no such preset, or a setting that cannot be used.
    """
    more = []
    if batch_size is not None:
        more.append(f"batch_size={batch_size}")
    if precision is not None:
        more.append(f"model.precision={precision}")
    return override_config(load_preset(preset), [*settings, *more])


def make_quality_config(options: Quality) -> TrainConfig:
    """The config of a run that is judged on its way; raises ConfigError."""
    config = make_config(options.preset, options.set)
    return replace(
        config, steps=None, minutes=options.minutes, holdout=options.holdout, until=""
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """Different numbers, from a text such as 0,1,2; raises ConfigError."""
    try:
        seeds = tuple(int(word) for word in text.split(","))
    except ValueError:
        seeds = ()
    in_range = all(0 <= seed < 2**32 for seed in seeds)
    if not seeds or not in_range or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"--seeds takes different whole numbers from 0, as 0,1,2, got {text!r}"
        )
    return seeds


def check_options(options: Any) -> None:
    """Raises ConfigError if a benchmark's preset or settings cannot be used."""
    if isinstance(options, Quality):
        make_quality_config(options)
        parse_seeds(options.seeds)
    elif isinstance(options, Distill):
        make_config(options.preset, options.set)
    elif not isinstance(options, Loader | Convert | Poisson):
        make_config(options.preset, options.set, batch_size=options.batch_size)
