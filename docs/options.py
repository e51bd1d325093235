"""Writes each command's options as its --help shows them, for the guide's pages.

    python docs/options.py FOLDER

`make docs` runs this before every build, so that no page can tell of an option that is
not there, or lack one that is.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

COLUMNS = 88


def list_commands() -> list[tuple[str, ...]]:
    """Every command, and `benchmark` with each of its own."""
    from deepfake_jax.cli.main import BENCHMARKS, COMMANDS

    commands = [(kind.__name__.lower(),) for kind in COMMANDS]
    return [*commands, *(("benchmark", kind.__name__.lower()) for kind in BENCHMARKS)]


class _Printed(io.StringIO):
    """A stream that help can draw boxes into."""

    encoding = "utf-8"


def read_help(command: tuple[str, ...]) -> str:
    """What a command's --help says of its options, without the boxes around them.

    The text before them is the command's docstring, which a page says in its own words.
    """
    from deepfake_jax.cli.main import parse_command

    printed = _Printed()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parse_command([*command, "--help"])
    found = []
    for line in printed.getvalue().splitlines():
        if line.startswith("╭"):
            found += [line.strip("╭─╮ ").upper(), ""]
        elif line.startswith("│"):
            found.append(line.strip("│").rstrip())
        elif line.startswith("╰"):
            found.append("")
    return "\n".join(found).rstrip() + "\n"


def main() -> None:
    """Writes a text file a command into the folder that is named."""
    os.environ["COLUMNS"] = str(COLUMNS)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for command in list_commands():
        text = read_help(command)
        (folder / f"{'-'.join(command)}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
