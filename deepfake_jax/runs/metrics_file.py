"""A run's `metrics.jsonl`: read, cut, and made fit for JSON."""

import json
from pathlib import Path
from typing import Any

from deepfake_jax.files import write_whole


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line cut off by a crash is left out."""
    lines = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return lines


def truncate_metrics(path: Path, step: int) -> None:
    """Drops the lines of a ``metrics.jsonl`` after a step."""
    lines = [line for line in read_metrics(path) if line["step"] <= step]
    with write_whole(path, overwrite=True) as partial:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        partial.write_text(text, encoding="utf-8")
