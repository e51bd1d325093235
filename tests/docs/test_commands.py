"""Every command line of README and the guide means something to the real parser."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from guide import PROGRAM, ROOT, Page, find_commands, list_lines, list_pages

from deepfake_jax.cli.main import BENCHMARKS, COMMANDS, parse_command, run_command

PAGES = list_pages()
# What a page may mention that is another program's.
OTHERS = {
    *("--array", "--wrap", "--nodes", "--ntasks-per-node", "--gpus-per-node"),
    *("--worker", "--command"),
}


def parse(words: list[str]) -> None:
    """Fails where the words are no command."""
    if words == ["--version"]:
        return
    try:
        parse_command(words)
    except SystemExit as error:
        assert error.code == 0 and words[-1] == "--help", words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_parsed(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # a folder `run` here would bring its own settings
    for line in list_lines(page):
        commands = list(find_commands(line))
        assert commands or is_known(line), f"{page.name}: {line}"
        for words in commands:
            parse(words)
    for code in page.inline:
        if code.startswith(f"{PROGRAM} ") and "..." not in code:
            for words in find_commands(code):
                parse(words)


def is_known(line: str) -> bool:
    """Whether a line of a page is one of the few that are not this program's."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["make"]:
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        return f"\n{words[1]}:" in targets
    if words[:4] == ["python", "-m", "pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        *flags, what = words[4:]
        if flags == ["-r"]:
            return (ROOT / what).is_file()
        assert flags in ([], ["--no-deps"])
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", what)
        assert extra
        return (
            extra[1] is None or extra[1] in project["project"]["optional-dependencies"]
        )
    if words[0] == "python" and words[1].startswith("scripts/"):
        return (ROOT / words[1]).is_file()
    return words in (["python", "-m", "venv", ".venv"], [".", ".venv/bin/activate"])


def test_options_that_pages_mention_exist(capsys: pytest.CaptureFixture[str]):
    kinds = [(kind.__name__.lower(),) for kind in COMMANDS]
    kinds += [("benchmark", kind.__name__.lower()) for kind in BENCHMARKS]
    for words in kinds:
        with pytest.raises(SystemExit):
            parse_command([*words, "--help"])
    known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out)) | OTHERS
    for page in PAGES:
        for code in page.inline:
            for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                assert option in known, f"{page.name}: {option}"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert run_command(["--version"]) == 0
    assert re.fullmatch(rf"{PROGRAM} \d\S*\n", capsys.readouterr().out)
