"""The guide is built from what is here, and asks nothing of the network when read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from guide import DOCS, ROOT

pytest.importorskip("zensical", reason="no Zensical: pip install '.[docs]'")
pytest.importorskip("mkdocstrings_handlers.python", reason="no mkdocstrings-python")
# Tags whose address a browser loads without being asked.
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)[^>]*?\s(?:src|data)=[\"']?"
    r"(?!data:)(?:https?:)?//|<link[^>]*?rel=[\"']?(?:stylesheet|preload|icon|preconnect)"
    r"[^>]*?href=[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built guide, as `make docs` builds it, in a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("guide")
    for name in ("docs", "deepfake_jax"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("zensical.toml", "BENCHMARKS.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    program = Path(sys.executable).parent / "zensical"
    for command in (
        [sys.executable, "docs/options.py", "build/options"],
        [str(program), "build", "--strict"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "docs"


def test_every_page_is_built(site: Path):
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file()


def test_options_and_docstrings_are_in_it(site: Path):
    convert = (site / "commands" / "convert.html").read_text(encoding="utf-8")
    assert "--watermark" in convert and "--save-faces" in convert
    blending = (site / "library" / "blending.html").read_text(encoding="utf-8")
    assert "Clones a picture seamlessly where its mask is above a half." in blending


def test_nothing_is_loaded_from_elsewhere(site: Path):
    assert _LOADED.search('<script src="https://a.b/c.js">')
    assert _LOADED.search('<link rel="stylesheet" href="https://a.b/c.css">')
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        found = _LOADED.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.name}: {found and found[0]}"
