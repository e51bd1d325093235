"""The benchmark of marks."""

from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic.dataclasses import dataclass

from deepfake_jax.cli.benchmark_flags import STRICT, Benchmark, Positive
from deepfake_jax.cli.command import keep_compiled


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Provenance(Benchmark):
    """Measure watermark and credentials: copies, changed files, false alarms, cost.

    Example:
        deepfake-jax benchmark provenance a.mp4 b.mp4 --run run --json

    CLIP is real footage without a mark. Its frames are marked and copied in the ways
    that copies are made; pieces of unmarked ones are looked at for false alarms; signed
    outputs are changed, cut off and remuxed. `cost` is of converting the first one.
    """

    clips: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CLIP...")
    ]
    """Videos; 640 x 360 is what the watermark is made for."""
    looks: Positive = 400
    """Looks at unmarked pieces of frames."""
    copies: Positive = 200
    """Copies of each kind of file and change."""
    run: Path | None = None
    """Folder of a training run, to see what marks cost a conversion."""
    rounds: Positive = 3
    """Conversions of each form, in turns."""

    def execute(self) -> Any:
        """Measures all: a `ProvenanceResult`."""
        keep_compiled()
        from deepfake_jax.benchmarks.provenance import measure_provenance

        return measure_provenance(
            self.clips,
            looks=self.looks,
            copies=self.copies,
            run=self.run,
            rounds=self.rounds,
        )

    def text(self, result: Any) -> str:
        """A line a figure."""
        from deepfake_jax.benchmarks.provenance import describe_provenance

        return describe_provenance(result)
