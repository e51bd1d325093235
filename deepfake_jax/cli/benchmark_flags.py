"""What the commands of ``deepfake-jax benchmark`` have in common."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from deepfake_jax.benchmarks.report import format_result
from deepfake_jax.cli.command import Command, Settings
from deepfake_jax.train_config import TrainConfig, load_preset, override_config

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Benchmark(Command):
    """One that prints every figure of its result."""

    def text(self, result: Any) -> str:
        """A line a figure, then where it was measured."""
        return format_result(result)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class PresetBenchmark(Benchmark):
    """One that trains, or takes steps, as a preset does."""

    preset: str = "original"
    """Network, loss and optimizer: a preset's name."""
    set: Settings = ()
    """Override one setting, as key.sub=value; may be given again. Flags beat it."""

    def verify(self) -> None:
        """Raises ConfigError for a preset or setting that cannot be used."""
        self.settings()

    def settings(self) -> TrainConfig:
        """The config that the flags describe; raises ConfigError."""
        config = override_config(load_preset(self.preset), self.set)
        if config.model.precision != "auto":
            return config
        # Figures of different machines must not differ in what was measured.
        return replace(config, model=replace(config.model, precision="float32"))


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SizedBenchmark(PresetBenchmark):
    """One whose batches may have another size."""

    batch_size: Positive | None = None
    """Faces a step of each side, over all devices; the preset's by default."""

    def settings(self) -> TrainConfig:
        """The config that the flags describe; raises ConfigError."""
        config = super().settings()
        return replace(config, batch_size=self.batch_size or config.batch_size)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class PreciseBenchmark(SizedBenchmark):
    """One that may run in another precision."""

    precision: Literal["float32", "bfloat16"] | None = None
    """Type of the network's arithmetic; the preset's by default, float32 for auto."""

    def settings(self) -> TrainConfig:
        """The config that the flags describe; raises ConfigError."""
        config = super().settings()
        precision = self.precision or config.model.precision
        return replace(config, model=replace(config.model, precision=precision))
