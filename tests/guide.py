"""README and the guide as tests see them: pages, code blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
PROGRAM = "deepfake-jax"


@dataclass(frozen=True)
class Page:
    """A page of README or the guide.

    Attributes:
        path: of the file.
        text: what it says.
    """

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path inside the repository."""
        return self.path.relative_to(ROOT).as_posix()

    def blocks(self, language: str) -> list[str]:
        """What stands in its fences of a language."""
        return [code for kind, code in _FENCE.findall(self.text) if kind == language]

    @property
    def prose(self) -> str:
        """The page without its fences."""
        return _FENCE.sub("", self.text)

    @property
    def inline(self) -> list[str]:
        """What stands in its single backticks."""
        return _INLINE.findall(self.prose)

    @property
    def links(self) -> list[tuple[bool, str]]:
        """Its links, and whether each is a picture."""
        return [(bool(mark), target) for mark, target in _LINK.findall(self.prose)]


def list_pages() -> list[Page]:
    """README and all pages of the guide."""
    paths = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [Page(path, path.read_text(encoding="utf-8")) for path in paths]


# The one Python block of README.
LIBRARY_EXAMPLE = list_pages()[0].blocks("python")[0]


def list_lines(page: Page) -> list[str]:
    """The command lines of a page, those that end in a backslash joined."""
    text = "\n".join(page.blocks("sh")).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_commands(line: str) -> Iterator[list[str]]:
    """What a line gives to this program: also behind a launcher, or quoted for one."""
    words = shlex.split(line, comments=True)
    if PROGRAM in words:
        yield words[words.index(PROGRAM) + 1 :]
    for word in words:
        if word.startswith(f"{PROGRAM} "):
            yield from find_commands(word)
