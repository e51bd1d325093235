"""The command that opens the local page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from deepfake_jax.cli.command import Command
from deepfake_jax.progress import count
from deepfake_jax.train_config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Studio(Command):
    """Do all of it in a browser: footage, faces, training, swapping, results.

    Example:
        deepfake-jax studio --root ~/Videos

    Prints an address and opens it. The page is served to this machine alone, and only
    to who has the address; it loads nothing from elsewhere and works offline. It sees
    videos and pictures in the folders of --root, and keeps projects there. What it
    starts is this command, in processes of their own: they go on when the page, or
    this command, ends, and are shown and can be stopped when it is started again.
    Needs the extra studio: pip install 'deepfake-jax[studio]'.
    """

    root: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...")] = (Path("."),)
    """Folders that the page may see and write projects into; links that lead out of
    them are not followed."""
    port: int = 0
    """Port to listen at; 0 takes one that is free."""
    host: str = "127.0.0.1"
    """Address to listen at. Any other than this machine's own opens your footage to
    the network, without encryption."""
    browser: bool = True
    """Open the browser."""

    on_interrupt: ClassVar[str] = "what was started goes on"

    def verify(self) -> None:
        """Raises ConfigError for a port that cannot be, or no folder at all."""
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: give one from 1 to 65535, or 0")
        if not self.root:
            raise ConfigError("--root needs a folder with your footage")

    def execute(self) -> Any:
        """Serves the page until Ctrl-C: how many jobs go on."""
        try:
            from deepfake_jax.studio.server import serve
        except ModuleNotFoundError as error:
            if error.name not in ("starlette", "uvicorn"):
                raise
            raise ImportError(
                f"studio needs {error.name}, which is not installed; install the "
                "extra: pip install 'deepfake-jax[studio]'"
            ) from None
        return serve(self.root, host=self.host, port=self.port, browser=self.browser)

    def text(self, result: Any) -> str:
        """What still works, and how to stop it."""
        if not result:
            return "the page is closed; nothing is running"
        return (
            f"the page is closed; {count(result, 'job')} that it started "
            f"{'goes' if result == 1 else 'go'} on. Start `deepfake-jax studio` again "
            "to see and stop them"
        )
