"""The benchmarks of quality: conversions, and runs judged on their way."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field
from pydantic.dataclasses import dataclass

from deepfake_jax.cli.benchmark_flags import (
    STRICT,
    Benchmark,
    Positive,
    PresetBenchmark,
)
from deepfake_jax.cli.command import Flat, keep_compiled
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.train_config import ConfigError, TrainConfig


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Convert(Benchmark):
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
    rounds: Positive = 1
    """Conversions timed; the median counts."""
    options: Annotated[ConvertConfig, Flat] = ConvertConfig()

    def execute(self) -> Any:
        """Converts and judges: a `ConvertFigures`."""
        keep_compiled()
        from deepfake_jax.benchmarks.convert import measure_convert

        return measure_convert(self.source, self.run, self.options, rounds=self.rounds)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Quality(PresetBenchmark):
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
    judgements: Positive = 10
    """Evaluations of each run, evenly over its time."""
    holdout: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of each side's faces to judge by and not train on."""
    seeds: str = "0"
    """Seeds of the runs, as 0,1,2: one run a seed, one after another, and medians."""
    init: Path | None = None
    """Each run starts with the encoder of this run: a warm start, to compare with
    another measurement without."""
    devices: Positive = 1
    """Devices that train."""
    a_person: str = "main"
    """Whom to extract from footage of A: main (the person seen most), a number as
    `extract` counts people, or the path of a picture of the person."""
    b_person: str = "main"
    """Likewise of B."""

    def verify(self) -> None:
        """Raises ConfigError for settings or seeds that cannot be used."""
        self.settings()
        parse_seeds(self.seeds)

    def settings(self) -> TrainConfig:
        """The config of a run that is judged on its way; raises ConfigError."""
        return replace(
            super().settings(),
            steps=None,
            minutes=self.minutes,
            holdout=self.holdout,
            until="",
        )

    def execute(self) -> Any:
        """Trains and judges: a `QualityFigures`."""
        # Without the cache of compiled programs: each run counts its whole compilation.
        from deepfake_jax.benchmarks.quality import measure_quality

        return measure_quality(
            {"a": self.a, "b": self.b},
            self.out,
            self.settings(),
            judgements=self.judgements,
            seeds=parse_seeds(self.seeds),
            persons={"a": self.a_person, "b": self.b_person},
            devices=self.devices,
            init=self.init,
        )

    def text(self, result: Any) -> str:
        """The table of judgements, and the end."""
        from deepfake_jax.benchmarks.quality import format_quality

        return format_quality(result)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Distill(PresetBenchmark):
    """Compare a distilled student with its teacher, and with itself untaught.

    Example:
        deepfake-jax benchmark distill --teacher run --minutes 8 --out small

    Trains OUT/student as `distill` does, then OUT/alone: the same network, as many
    steps, without a teacher. All three are judged as `evaluate` does on the faces that
    the teacher held out. Prints for each its identity transfer and the other figures of
    swaps, its size in MB (what a swap reads, in float32) and the faces a second that it
    swaps. The same command goes on with an interrupted measurement.
    """

    teacher: Path
    """Folder of the trained run to learn from; it stays as it is."""
    out: Path
    """Folder for the two runs."""
    minutes: Annotated[float, Field(gt=0)]
    """Training time of the student."""
    preset: str = "lite"
    """Network, loss and optimizer: a preset's name."""
    width: Positive | None = None
    """Width of the network; by default the widest that has a tenth of the teacher's
    parameters."""
    rounds: Positive = 5
    """Timings of the swaps; the median counts."""
    devices: Positive = 1
    """Devices that train."""

    def execute(self) -> Any:
        """Trains both and judges all three: a `DistillFigures`."""
        # Without the cache of compiled programs, as `Quality`.
        from deepfake_jax.benchmarks.distill import measure_distill

        return measure_distill(
            self.teacher,
            self.out,
            self.settings(),
            minutes=self.minutes,
            width=self.width,
            rounds=self.rounds,
            devices=self.devices,
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
