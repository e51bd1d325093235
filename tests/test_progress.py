import json

import pytest

from deepfake_jax.progress import VARIABLE, Progress


def test_a_program_that_started_a_command_gets_progress_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(VARIABLE, "json")
    monkeypatch.setattr("deepfake_jax.progress.JSON_SECONDS", 0.0)
    with Progress("search", total=4, unit="frame") as progress:
        progress.update_to(3, "2 faces")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["done"] for line in lines] == [0, 3]
    assert lines[0]["left"] is None and lines[0]["note"] == ""
    assert lines[1]["progress"] == "search" and lines[1]["total"] == 4
    assert lines[1]["unit"] == "frame" and lines[1]["note"] == "2 faces"
    assert lines[1]["rate"] > 0 and lines[1]["left"] >= 0


def test_progress_that_nobody_knows_the_end_of_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(VARIABLE, "json")
    with Progress("search", unit="frame") as progress:
        progress.update_to(7)
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last["done"] == 7 and last["total"] is None and last["left"] is None


def test_without_being_asked_lines_are_to_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv(VARIABLE, raising=False)
    with Progress("search", total=4, unit="frame") as progress:
        progress.update_to(4)
    assert capsys.readouterr().err.startswith("search: 4/4 frame, ")
