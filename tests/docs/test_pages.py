"""What the guide links to is there, and what there is stands in the guide."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from guide import DOCS, ROOT, Page, list_pages

from deepfake_jax.cli.main import BENCHMARKS, COMMANDS

PAGES = list_pages()
MOST_BYTES = 150_000  # of a picture
SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def anchor(heading: str) -> str:
    """The name that a heading gets in the built page."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page):
    for _, target in page.links:
        assert not target.startswith("/"), target
        if "://" in target:
            continue
        path, _, part = target.partition("#")
        found = page.path.parent / path if path else page.path
        assert found.is_file(), f"{page.name}: {target}"
        if page.path.is_relative_to(DOCS):
            assert found.resolve().is_relative_to(DOCS), "not a part of the built guide"
        if part:
            text = found.read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            assert part in map(anchor, headings), f"{page.name}: {target}"


def test_no_picture_is_loaded_from_elsewhere_or_is_unused_or_large():
    shown = set()
    for page in PAGES:
        for picture, target in page.links:
            if picture:
                assert "://" not in target
                shown.add((page.path.parent / target).resolve())
    there = set((DOCS / "assets").iterdir())
    assert there == shown
    assert max(path.stat().st_size for path in there) < MOST_BYTES


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert sum(picture for picture, _ in Page(ROOT / "README.md", text).links) == 1


def test_every_page_is_in_the_navigation():
    def walk(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [path for value in values for path in walk(value)]

    listed = walk(SITE["nav"])
    there = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(listed) == sorted(there)


def test_every_command_has_a_page_with_its_options():
    for name in (*(kind.__name__.lower() for kind in COMMANDS), "benchmark"):
        text = (DOCS / "commands" / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        assert f"({name}.md)" in (DOCS / "commands/index.md").read_text("utf-8")
        if name != "benchmark":
            assert f'--8<-- "{name}.txt"' in text
    benchmarks = (DOCS / "commands" / "benchmark.md").read_text(encoding="utf-8")
    for kind in BENCHMARKS:
        assert f'--8<-- "benchmark-{kind.__name__.lower()}.txt"' in benchmarks


def test_every_public_name_is_in_the_reference():
    exports = (ROOT / "deepfake_jax" / "__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r"^from \S+ import (\w+) as", exports, re.MULTILINE)
    assert len(names) > 60
    told: list[str] = []
    for path in (DOCS / "library").glob("*.md"):
        told += re.findall(r"^::: \S+\.(\w+)$", path.read_text("utf-8"), re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(names) <= set(told)


def test_functions_on_pictures_have_one_in_the_reference():
    for page in ("alignment", "augmentation", "masks", "color", "blending"):
        text = (DOCS / "library" / f"{page}.md").read_text(encoding="utf-8")
        names = re.findall(r"^::: \S+\.(\w+)$", text, re.MULTILINE)
        functions = [name for name in names if name[0].islower()]
        without = {"umeyama", "invert_affine"} if page == "alignment" else set()
        shown = re.findall(r"What (\w+) does\]", text)
        assert set(functions) - without <= set(shown)


def test_nothing_names_a_folder_of_somebodys_machine():
    for path in (*(page.path for page in PAGES), *Path(ROOT).glob("*.md")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work)/", text), path


def test_every_picture_has_its_drawing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DOCS)
    chapters = importlib.import_module("chapter_drawings").CHAPTERS
    functions = importlib.import_module("function_drawings").FUNCTIONS
    drawn = {draw.__name__ for draw in chapters} | set(functions)
    assert {path.name for path in (DOCS / "assets").iterdir()} == {
        f"{name}.webp" for name in drawn
    }


@pytest.mark.usefixtures("detector_weights", "portrait")
def test_pictures_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DOCS)
    figures = importlib.import_module("figures")
    functions = importlib.import_module("function_drawings").FUNCTIONS
    monkeypatch.setattr(figures, "ASSETS", tmp_path)
    samples = importlib.import_module("sample_people").Samples(tmp_path)
    # Those of the portrait alone, which take no search of a video.
    for name in ("frame_to_face_matrix", "random_warp", "skin_mask", "dssim"):
        path = figures.save(name, functions[name](samples))
        there = (DOCS / "assets" / path.name).stat().st_size
        assert 0.5 < path.stat().st_size / there < 2
