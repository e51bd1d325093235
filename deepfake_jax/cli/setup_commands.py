"""The commands for a first look: what this machine lacks, and the whole way once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepfake_jax.cli.command import Command, Switch, keep_compiled


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check this installation: versions, devices, weights, codecs; say what to fix.

    Example:
        deepfake-jax doctor --fetch
    """

    fetch: Switch = False
    """Fetch the detector weights that are not there yet."""

    def execute(self) -> Any:
        """Looks at everything: a `Diagnosis`."""
        from deepfake_jax.cli.doctor import run_doctor

        return run_doctor(fetch=self.fetch)

    def text(self, result: Any) -> str:
        """A line a finding, and its fix."""
        from deepfake_jax.cli.doctor import format_checks

        return format_checks(result.checks)

    def failed(self, result: Any) -> bool:
        """Whether something is missing that the package cannot work without."""
        return any(check.required and not check.ok for check in result.checks)


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Show the whole way on sample footage of two people: extract, train, convert.

    Example:
        deepfake-jax demo --out demo --minutes 5

    Writes a_to_b.mp4 and b_to_a.mp4, each person with the other's face,
    comparison.png, preview.png, loss.png and report.json, which has the figures, and
    prints the folder last. The samples are fetched from your package index.
    """

    out: Path = Path("demo")
    """Folder for the results; an earlier demo there is replaced."""
    minutes: float = 10.0
    """Training time."""

    on_interrupt: ClassVar[str] = "the same command begins anew"

    def execute(self) -> Any:
        """Runs the demo: a `DemoResult`."""
        keep_compiled()
        from deepfake_jax.cli.demo import run_demo

        return run_demo(self.out, minutes=self.minutes)

    def text(self, result: Any) -> str:
        """The folder."""
        return result.out
