"""The benchmarks of speed: the step, the loader, the loop, and all of them."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from deepfake_jax.benchmarks.gpu import PART_NAMES, Part, format_gpu, measure_gpu
from deepfake_jax.cli.benchmark_flags import (
    STRICT,
    Benchmark,
    Positive,
    PreciseBenchmark,
    SizedBenchmark,
)
from deepfake_jax.cli.command import Settings, keep_compiled
from deepfake_jax.train_config import ConfigError, load_preset, override_config


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Step(PreciseBenchmark):
    """Time the training step on random faces that lie on the device.

    Example:
        deepfake-jax benchmark step --precision bfloat16 --json

    Prints images a second (A and B counted: 128 a step at batch size 64), the step's
    median time and spread, compile time apart, the network's operations a second (of
    the plain network, whatever form computes it), their share of the device's peak and
    of the matrix product's rate measured in the same run, and peak memory.
    """

    steps: Positive = 10
    """Steps timed."""
    warmup: Positive = 2
    """Steps before them that are not."""
    devices: Positive = 1
    """Devices used: jit on one, pmap on more."""

    def execute(self) -> Any:
        """Times the step: a `StepResult`."""
        from deepfake_jax.benchmarks.step import measure_step

        return measure_step(
            self.settings(), steps=self.steps, warmup=self.warmup, devices=self.devices
        )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Loader(Benchmark):
    """Time the loader, and the classic two-step augmentation beside it.

    Example:
        deepfake-jax benchmark loader --workers 4

    Random faces of 256 pixels become training pairs. A face counts once for its pair;
    the rate per core is by processor time. `ratio` is ours to the classic form's, per
    core, the median of rounds that alternate.
    """

    batch_size: Positive = 64
    """Faces a step of each side."""
    workers: Positive | None = None
    """Threads that prepare batches; by default one a core."""
    rounds: Positive = 7
    """Alternations of ours and the classic form."""
    seconds: Annotated[float, Field(gt=0)] = 1.0
    """How long each is measured in a round."""

    def execute(self) -> Any:
        """Times the loader: a `LoaderResult`."""
        from deepfake_jax.benchmarks.loader import measure_loader

        return measure_loader(
            batch_size=self.batch_size,
            workers=self.workers,
            rounds=self.rounds,
            seconds=self.seconds,
        )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Poisson(Benchmark):
    """Time seamless cloning against cv2.seamlessClone, alternating, on one core.

    Example:
        deepfake-jax benchmark poisson --size 300

    Clones an oval in a square region. `ratio` is OpenCV's time to ours, the median of
    rounds. OpenCV asks another question (its change does not end at the mask), so our
    solver is timed on that one, too, and the root mean square difference is given.
    """

    size: Annotated[int, Field(ge=16)] = 300
    """Side of the region, pixels."""
    rounds: Positive = 15
    """Alternations of ours and OpenCV's."""

    def execute(self) -> Any:
        """Times both solvers: a `PoissonResult`."""
        # Read when NumPy is first imported: the claim is of one core.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from deepfake_jax.benchmarks.poisson import measure_poisson

        return measure_poisson(size=self.size, rounds=self.rounds)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Train(PreciseBenchmark):
    """Time the real loop with the real loader against the step alone.

    Example:
        deepfake-jax benchmark train --preset lite --rounds 5

    `train` runs on a drawn face set in a temporary folder, alternating with the same
    step on a batch that lies on the device. `ratio` is the end-to-end rate to the
    step-only rate, the median over rounds.
    """

    steps: Positive = 10
    """Steps of each in a round."""
    rounds: Positive = 3
    """Alternations of the loop and the step alone."""
    faces: Positive = 200
    """Faces drawn for each side."""

    def execute(self) -> Any:
        """Times the loop and the step in turns: a `TrainBenchmark`."""
        keep_compiled()  # as `train`: each round of the loop would compile anew
        from deepfake_jax.benchmarks.train import measure_train

        return measure_train(
            self.settings(), steps=self.steps, rounds=self.rounds, faces=self.faces
        )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Layers(PreciseBenchmark):
    """Time every convolution of the network in every form that can compute it.

    Example:
        deepfake-jax benchmark layers --preset lite

    Milliseconds for the value and for both gradients; a star marks the form that the
    network uses on this device. Needs a few minutes for `original` on a CPU.
    """

    repeats: Positive = 5
    """Times each is measured; the best counts."""

    def execute(self) -> Any:
        """Times every form: a `LayersResult`."""
        from deepfake_jax.benchmarks.layers import measure_layers

        return measure_layers(self.settings(), repeats=self.repeats)

    def text(self, result: Any) -> str:
        """A line a layer."""
        from deepfake_jax.benchmarks.layers import format_layers

        return format_layers(result)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Ratio(SizedBenchmark):
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
    steps: Positive = 3
    """Steps of each form in a round."""
    rounds: Positive = 5
    """Alternations, after the one that screens the peer's forms."""
    peer_forms: tuple[str, ...] = ()
    """Forms of the peer to try, PRECISION-MODE-LAYOUT; all by default, which takes a
    quarter of an hour on a small CPU."""

    def execute(self) -> Any:
        """Measures in turns with the peer: a `RatioResult`."""
        # The peer needs a part of the GPU's memory, of which XLA would reserve most.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        from deepfake_jax.benchmarks.against_pytorch import measure_ratio

        return measure_ratio(
            self.settings(),
            python=self.peer_python,
            script=self.peer_script,
            steps=self.steps,
            rounds=self.rounds,
            forms=self.peer_forms,
        )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Gpu(Benchmark):
    """Measure a GPU in one go, unattended, the most important figures first.

    Example:
        deepfake-jax benchmark gpu --out gpu --minutes 8 --a faces_a --b faces_b

    Device and versions; ten steps against the CPU's losses; the step against
    PyTorch's; the step of each preset by precision and batch size, with its share of
    the device's peak; the real loop with the loader; several steps a dispatch; memory
    with and without --remat; a training on real faces with the figures of `evaluate`;
    swaps; the loader; every convolution. OUT/gpu.jsonl and OUT/gpu.md have each row as
    soon as it is there. What has no time is left out. scripts/pack_gpu.py packs what a
    bare machine lacks.
    """

    out: Path
    """Folder for the figures and the run."""
    minutes: Annotated[float, Field(gt=0)] = 8.0
    """Time for all of it; up to 3 minutes of it are training."""
    a: Path | None = None
    """Face set of A, to train on; without both nothing is trained."""
    b: Path | None = None
    """Face set of B."""
    parts: tuple[Part, ...] = PART_NAMES
    """Only these parts, in this order."""
    batch_sizes: tuple[Positive, ...] = (64, 256)
    """Faces a step of each side."""
    set: Settings = ()
    """Override one setting of every config, as key.sub=value; may be given again."""
    peer_python: Path | None = None
    """A Python that has torch; this one, if it has, by default."""

    def verify(self) -> None:
        """Raises ConfigError for settings that no preset can have, or half a pair."""
        override_config(load_preset("original"), self.set)
        if (self.a is None) != (self.b is None):
            raise ConfigError("give both --a and --b, or neither")

    def execute(self) -> Any:
        """Measures until the time is up: a `GpuResult`."""
        return measure_gpu(
            self.out,
            minutes=self.minutes,
            parts=self.parts,
            settings=self.set,
            batch_sizes=self.batch_sizes,
            faces={"a": self.a, "b": self.b} if self.a and self.b else None,
            peer_python=self.peer_python,
        )

    def text(self, result: Any) -> str:
        """All rows, and what failed."""
        return format_gpu(result.rows, result.failed)

    def failed(self, result: Any) -> bool:
        """Whether nothing could be measured."""
        return not result.rows


@dataclass(frozen=True, config=STRICT, kw_only=True)
class All(Gpu):
    """Measure any device's whole table, however long it takes.

    Example:
        deepfake-jax benchmark all --out device --peer-python ../torch/bin/python

    Parts of `gpu` without its hurry: the step of each preset, the real loop, the
    loader, every convolution, and PyTorch where a Python has it. OUT/gpu.jsonl and
    OUT/gpu.md have each row as soon as it is there.
    """

    minutes: Annotated[float, Field(gt=0)] = 1440.0
    """Time for all of it, at most."""
    parts: tuple[Part, ...] = ("device", "step", "loop", "loader", "layers", "peer")
    """Only these parts, in this order."""
