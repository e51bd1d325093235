"""What the demo's report judges: the faces that are seen in its videos, and others."""

from pathlib import Path

import pytest

from deepfake_jax.cli import demo
from deepfake_jax.evaluation.evaluate import Evaluation
from deepfake_jax.evaluation.judge import SideFigures, SwapFigures


@pytest.mark.parametrize("held_out", [True, False])
def test_trained_faces_are_judged_and_others_where_there_are_some(
    held_out: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked = []

    def judge(run: Path, faces: str = "held-out") -> Evaluation:
        asked.append((run, faces))
        unseen = held_out and faces == "held-out"
        side = SideFigures(8, unseen, mae=0.1, psnr=20.0, ssim=0.9)
        return Evaluation(7, side, side, SwapFigures(), SwapFigures())

    monkeypatch.setattr(demo, "evaluate", judge)
    seen, unseen = demo._judge(tmp_path)
    assert asked == [(tmp_path, "trained"), (tmp_path, "held-out")]
    assert not seen.a.held_out
    assert (unseen is not None) == held_out
