"""A run as the page shows it: curves, figures, its preview and whether to stop.

Curves have at most `_MOST` points, evenly chosen, so that a day's training is as quick
to draw as a minute's.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_jax.imaging.picture_grid import preview_layout
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.train_config import ConfigError, load_config
from deepfake_jax.types import spread

_MOST = 1200
_ROWS = 6  # of a preview: each side real, by its own decoder, by the other's
_PATIENCE = 4  # judgements without a better one until it is said that it may end
_LOSSES = ("loss_a", "loss_b", "loss_swap")
_FIGURES = (
    *("score", "mae_a", "mae_b", "identity_transfer_a_to_b"),
    *("identity_transfer_b_to_a", "following_a_to_b", "following_b_to_a"),
)


def describe_run(run: Path) -> dict[str, Any]:
    """What is known of a run, for its page."""
    lines = read_metrics(run / "metrics.jsonl")
    steps = [line for line in lines if "score" not in line]
    judged = [line for line in lines if "score" in line]
    steps = [steps[index] for index in spread(len(steps), _MOST)]
    last = steps[-1] if steps else {}
    return {
        "name": run.name,
        **_describe_config(run),
        "step": last.get("step", 0),
        "seconds": last.get("seconds", 0.0),
        "rate": last.get("images_per_second"),
        "losses": _columns(steps, _LOSSES),
        "judged": _columns(judged, _FIGURES),
        "verdict": judge_progress(judged),
        "preview": _describe_preview(run / "preview.png"),
    }


def list_brief(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """The runs of a project in a line each."""
    return [{"name": run.name, **_describe_config(run)} for run in runs]


def judge_progress(judged: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether going on still makes swaps better, by the faces that were held out.

    Returns:
        state: new (too few judgements), better (one of the last `_PATIENCE` was the
        best) or level (none was); the best one's step; how many came after it.
    """
    if not judged:
        return {"state": "new", "best": None, "since": 0}
    best = max(range(len(judged)), key=lambda number: judged[number]["score"])
    since = len(judged) - 1 - best
    state = "new" if len(judged) <= _PATIENCE else "better"
    state = "level" if since >= _PATIENCE else state
    return {"state": state, "best": judged[best]["step"], "since": since}


def _describe_config(run: Path) -> dict[str, Any]:
    try:
        config = load_config(run / "config.yaml")
    except ConfigError as error:
        return {"problem": str(error)}
    limit = {"minutes": config.minutes, "steps": config.steps}
    return {"model": config.model.name, **limit}


def _columns(lines: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Lines as columns; a name that no line has is left out."""
    found = {name: [line.get(name) for line in lines] for name in names}
    known = {name: c for name, c in found.items() if any(v is not None for v in c)}
    return {
        "step": [line["step"] for line in lines],
        "seconds": [line.get("seconds") for line in lines],
        **known,
    }


def _describe_preview(path: Path) -> dict[str, Any] | None:
    """Size of the run's preview and where its faces lie, None before there is one."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
        changed = path.stat().st_mtime_ns
    except OSError:
        return None
    if len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    layout = preview_layout(height, width, rows=_ROWS)
    return {"width": width, "height": height, "changed": str(changed), **layout}
