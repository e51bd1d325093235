"""What all commands share: a flag for JSON, the work, its text and the exit status.

A command is a dataclass: its docstring and the comments of its fields are its help,
`execute` does the work and `text` says what came of it. Modules of commands are free of
JAX and OpenCV, so that ``--help`` is instant: `execute` imports what does the work.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import tyro

from deepfake_jax.files import get_cache_dir

Flat = tyro.conf.arg(name="")  # flags of a nested config, without a prefix
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Settings = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with its flags.

    Attributes:
        on_interrupt: what a signal leaves, for the message.
    """

    json: Switch = False
    """Print the result as one line of JSON."""

    on_interrupt: ClassVar[str] = "nothing half-written was left"

    @classmethod
    def begin(cls, args: Sequence[str]) -> dict[str, Any]:
        """Defaults, by field, that depend on other flags, such as those of a preset.

        Raises:
            ConfigError: no such preset, or a setting that cannot be used.
        """
        return {}

    def verify(self) -> None:
        """Raises ConfigError for flags that make no sense together."""

    def execute(self) -> Any:
        """Does the work; None where another process speaks for this one."""
        raise NotImplementedError

    def text(self, result: Any) -> str:
        """What came of it, to read."""
        raise NotImplementedError

    def problems(self, result: Any) -> Sequence[str]:
        """What went wrong beside, for stderr; exit status 1 follows."""
        found = getattr(result, "problems", ())
        return [f"error: read in part only: {each}" for each in found]

    def failed(self, result: Any) -> bool:
        """Whether the exit status is 1."""
        return bool(self.problems(result))


def read_early(args: Sequence[str], *names: str) -> argparse.Namespace:
    """Some flags of a command line that decide the defaults of all others.

    Each is None, or a list of the values given.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name, action="append")
    return parser.parse_known_args(args)[0]


def keep_compiled() -> None:
    """Lets JAX keep compiled programs in the user's cache folder.

    To be called before JAX is imported. Compiling a training step takes half a minute
    on a CPU, and the next run reuses it. A folder that ``JAX_COMPILATION_CACHE_DIR``
    names already is used instead.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(get_cache_dir() / "xla"))
