"""A run's `metrics.jsonl`: read and cut; damaged lines are passed over and kept apart.

A line has a ``step``, and either both losses or the ``score`` and ``interval`` of a
judgement of held-out faces.
"""

import json
import logging
from pathlib import Path
from typing import Any

from deepfake_jax.files import format_json, write_whole

DAMAGED_NAME = "metrics.damaged.jsonl"  # beside the file
_log = logging.getLogger("deepfake_jax")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The good lines of a ``metrics.jsonl``; none where there is no file."""
    return list(filter(is_metric, read_lines(path)))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that are JSON objects with a ``step``."""
    return [line for line in map(_parse, _split(path)) if line is not None]


def is_metric(line: dict[str, Any]) -> bool:
    """Whether a line with a step is one of the module's two kinds."""
    if "score" in line:
        figures = [line.get(name) for name in ("score", "mae_a", "mae_b")]
        both = [f"identity_transfer_{way}" in line for way in ("a_to_b", "b_to_a")]
        whole = type(line.get("interval")) is int and both[0] == both[1]
        return whole and all(isinstance(figure, int | float) for figure in figures)
    # A loss that is no finite number is null.
    losses = (line.get(name, "none") for name in ("loss_a", "loss_b"))
    return all(isinstance(loss, int | float | None) for loss in losses)


def truncate_metrics(path: Path, step: int) -> None:
    """Drops the lines of a ``metrics.jsonl`` after a step.

    Damaged lines go to `DAMAGED_NAME`, and that is said; but for a last one that a
    crash cut off.
    """
    pieces = _split(path)
    parsed = map(_parse, pieces)
    good = [line is not None and is_metric(line) for line in parsed]
    damaged = [piece for piece, whole in zip(pieces, good, strict=True) if not whole]
    if damaged and damaged[-1] is pieces[-1] and not damaged[-1].endswith(b"\n"):
        damaged.pop()
    if damaged:
        aside = path.with_name(DAMAGED_NAME)
        with aside.open("ab") as file:
            file.writelines(piece.rstrip(b"\n") + b"\n" for piece in damaged)
        _log.warning(
            "%s: %d damaged lines are passed over and kept in %s",
            path,
            len(damaged),
            aside.name,
        )
    lines = [line for line in read_metrics(path) if line["step"] <= step]
    with write_whole(path, overwrite=True) as partial:
        text = "".join(format_json(line) + "\n" for line in lines)
        partial.write_text(text, encoding="utf-8")


def _split(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _parse(piece: bytes) -> dict[str, Any] | None:
    """A line's values; None if it is damaged."""
    try:
        line = json.loads(piece)
    except ValueError:  # no JSON, or no UTF-8
        return None
    return line if isinstance(line, dict) and type(line.get("step")) is int else None
