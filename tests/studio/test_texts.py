"""Every text of the page is in one file, and every text of the file is used."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra studio is not installed")

from deepfake_jax.convert_config import ConvertConfig  # noqa: E402
from deepfake_jax.studio.commands import LOOKS, ORDERS, list_flags  # noqa: E402
from deepfake_jax.studio.projects import VIEWS  # noqa: E402
from deepfake_jax.studio.texts import PAGE, RequestError, load_texts  # noqa: E402
from deepfake_jax.train_config import list_presets  # noqa: E402

SCRIPTS = {path.name: path.read_text("utf-8") for path in PAGE.glob("*.js")}
OWN = {name: text for name, text in SCRIPTS.items() if name != "uplot.js"}
SERVER = "".join(path.read_text("utf-8") for path in PAGE.parent.glob("*.py"))


def list_paths(values: Any, path: str = "") -> list[str]:
    if isinstance(values, str) or set(values) <= {"one", "other"}:
        return [path]
    return [
        found
        for name, inner in values.items()
        for found in list_paths(inner, f"{path}.{name}".strip("."))
    ]


def find_used() -> tuple[set[str], set[str]]:
    """Paths that are used as they are, and patterns of those that are put together."""
    script = "".join(OWN.values())
    plain = set(re.findall(r'\bt\("([^"]+)"', script))
    plain |= set(re.findall(r'empty\(t\("([^"]+)"', script))
    for first, second in re.findall(r't\([^"`]*\? "([^"]+)" : "([^"]+)"', script):
        plain |= {first, second}
    made = {
        re.escape(re.sub(r"\$\{[^}]*(?:\}[^}`]*\")?[^}]*\}", "\0", path)).replace(
            "\0", ".+"
        )
        for path in re.findall(r"\bt\(`([^`]+)`", script)
    }
    return plain, made


def test_every_text_that_is_used_is_there_and_the_other_way_round():
    paths = set(list_paths(load_texts())) - {"language"}
    plain, made = find_used()
    assert not plain - paths
    errors = set(re.findall(r'RequestError\(\s*"(\w+)"', SERVER))
    errors |= set(re.findall(r'\d{3}, "(\w+)"', SERVER))
    errors |= set(re.findall(r'find_text\("errors", "(\w+)"\)', SERVER))
    assert not {f"errors.{code}" for code in errors} - paths
    used = plain | {f"errors.{code}" for code in errors} | {"consent.statement"}
    indirect = "train.losses train.judged train.presets.other errors.faces_exist"
    left = {
        path
        for path in paths - used - set(indirect.split())
        if not any(re.fullmatch(pattern, path) for pattern in made)
        and f'"{path}"' not in "".join(OWN.values())
    }
    assert not left


def test_no_other_words_are_in_the_scripts():
    """Text that a person reads comes from the file: none stands between elements."""
    for name, text in OWN.items():
        code = re.sub(r"//.*|/\*.*?\*/", "", text)
        for found in re.findall(r'h\("\w+", \{[^{}]*\}, "([^"]{3,})"', code):
            raise AssertionError(f"{name} says {found!r}")


@pytest.mark.parametrize(
    "section, names",
    [
        ("jobs.kind", [*ORDERS, "proxy"]),
        ("jobs.after", [*ORDERS, "proxy"]),
        ("train.presets", list_presets()),
        ("convert.look", LOOKS),
    ],
)
def test_what_the_server_can_name_has_a_text(section: str, names: list[str]):
    texts = load_texts()
    for part in section.split("."):
        texts = texts[part]
    assert not set(names) - set(texts)


def test_all_views_have_a_module_a_title_and_a_lead():
    for view in VIEWS:
        assert f"{view}.js" in SCRIPTS
        assert {"title", "lead"} <= set(load_texts()[view])


def test_errors_are_filled_in_and_say_what_to_do():
    error = RequestError("no_number", field="minutes", low="1", high="5")
    assert "1 to 5" in str(error) and error.field == "minutes"
    for code, text in load_texts()["errors"].items():
        assert len(text) > 15 or code == "worker_said", code


def test_page_is_small_and_asks_for_nothing_from_elsewhere():
    sizes = {path.name: path.stat().st_size for path in PAGE.iterdir()}
    views = [f"{view}.js" for view in VIEWS]
    always = sum(size for name, size in sizes.items() if name not in views)
    assert always - sizes["uplot.LICENSE.txt"] < 150_000
    for name, text in OWN.items():
        assert "http://" not in text and "https://" not in text, name
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"https?://|style=|<script>|onclick", html)
    assert json.loads((PAGE / "texts.json").read_text("utf-8"))["language"] == "en"


def test_choices_become_flags_that_the_command_takes():
    looks = {"mask": "hull", "erode": -0.1, "cover": False, "guard": True}
    flags = list_flags(looks)
    assert flags == ["--mask=hull", "--erode=-0.1", "--no-cover", "--guard"]
    from deepfake_jax.cli.main import parse_command

    args = ["convert", "a.mp4", "--run", "run", "--out", "b.mp4", *flags]
    options: ConvertConfig = vars(parse_command(args))["options"]
    assert {name: getattr(options, name) for name in looks} == looks


def test_licence_of_what_is_not_ours_is_beside_it():
    assert "MIT" in (PAGE / "uplot.LICENSE.txt").read_text("utf-8")
    assert Path(PAGE / "uplot.js").stat().st_size > 50_000
