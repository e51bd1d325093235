"""The command that says whether files are marked as synthetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from deepfake_jax.cli.command import Command
from deepfake_jax.train_config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Verify(Command):
    """Say whether files are marked as synthetic: credential, watermark, metadata.

    Example:
        deepfake-jax verify swapped.mp4 frames/

    FILE is a video, a picture or a folder of pictures, of any program. Exit status 0:
    every FILE is marked and nothing was changed since. 1: one is not marked, or its
    credential does not fit it. Nothing is fetched and nothing is sent.
    """

    files: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE...")
    ]
    """Videos, pictures or folders of pictures."""
    trust: Path | None = None
    """PEM file of certificates whose signers you trust."""

    on_interrupt: ClassVar[str] = "nothing was changed"

    def verify(self) -> None:
        """Raises ConfigError where nothing is to be looked at."""
        if not self.files:
            raise ConfigError("verify needs a FILE: a video, a picture or a folder")

    def execute(self) -> Any:
        """Looks at the files: a `VerifyResult`."""
        from deepfake_jax.provenance.verify import verify_files

        return verify_files(self.files, trust=self.trust)

    def text(self, result: Any) -> str:
        """A verdict a file, and what it rests on."""
        return "\n".join(found.describe() for found in result.files)

    def problems(self, result: Any) -> Sequence[str]:
        """None: the verdict is the result."""
        return ()

    def failed(self, result: Any) -> bool:
        """Whether a file is not marked, or broken."""
        return not result.marked
