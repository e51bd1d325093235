"""The scripts of scripts/examples run to their end, with what they assert."""

import runpy
from pathlib import Path

import pytest
from guide import ROOT

FOLDER = ROOT / "scripts" / "examples"
HELPER = "drawn_face"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != HELPER)


def test_all_steps_have_a_script():
    names = {path.stem for path in SCRIPTS}
    assert names == {"align", "warp", "train_ten_steps", "swap", "blend"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.syspath_prepend(FOLDER)  # as Python does for a script that it starts
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out
