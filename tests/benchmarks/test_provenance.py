"""The benchmark of marks: a few of each, on a clip that is drawn from a photograph."""

import json
from pathlib import Path

import numpy as np
import pytest
from footage import write_pan

from deepfake_jax.benchmarks import watermark_copies
from deepfake_jax.benchmarks.changed_files import _list_boxes
from deepfake_jax.cli.main import run_command


@pytest.fixture
def clip(portrait: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    return write_pan(path, portrait, frames=60, width=360, height=360, start=(20, 40))


def test_marks_are_measured(clip: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    few = {name: watermark_copies.PICTURES[name] for name in ("as it is", "mirrored")}
    monkeypatch.setattr(watermark_copies, "PICTURES", few)
    films = {"x264": ("libx264", {"crf": "20"}, 1.0)}
    monkeypatch.setattr(watermark_copies, "FILMS", films)
    words = ["benchmark", "provenance", str(clip), "--looks", "3", "--copies", "3"]
    assert run_command([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["psnr"] > 48 and found["ms_360"] > 0 and found["cost"] is None
    assert [each["copy"] for each in found["copies"]] == [*few, *films]
    assert all(each["read"] == each["found"] == 1 for each in found["copies"])
    unmarked = found["unmarked"]
    assert (unmarked["looks"], unmarked["found"]) == (3, 0)
    assert unmarked["least"] > 1e-6
    changes = {(each["kind"], each["change"]) for each in found["changes"]}
    assert len(changes) == 10
    assert all(each["told"] == 1 for each in found["changes"])
    assert found["clips"] == ["clip.mp4"]


def test_boxes_are_listed_to_the_end():
    data = b"\0\0\0\x08ftyp" + b"\0\0\0\x0cmoovabcd" + b"\0\0\0\0mdatxy"
    assert list(_list_boxes(data, 0, len(data))) == [(0, 8), (8, 20), (20, 30)]
