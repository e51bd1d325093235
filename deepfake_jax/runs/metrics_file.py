"""A run's `metrics.jsonl`: read and cut; damaged lines are passed over and kept apart.

A line has a ``step``, either both losses or the ``score`` and ``interval`` of a
judgement of held-out faces, its number in the file as ``line``, so that one that was
taken out whole is missed, and its checksum as ``check``; those of earlier versions have
neither.
"""

import logging
from pathlib import Path
from typing import Any

from deepfake_jax.files import write_whole
from deepfake_jax.json_files import encode_line, line_check, parse_object

_NUMBER = "line"
DAMAGED_NAME = "metrics.damaged.jsonl"  # beside the file
_log = logging.getLogger("deepfake_jax")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The good lines of a ``metrics.jsonl``; none where there is no file."""
    return list(filter(is_metric, read_lines(path)))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that are JSON objects with a ``step``, without numbers."""
    lines = [line for line in map(_parse, _split(path)) if line is not None]
    for line in lines:
        line.pop(_NUMBER, None)
    return lines


def encode_metric(line: dict[str, Any], number: int) -> str:
    """A line of the file, with its number from 1."""
    return encode_line({**line, _NUMBER: number})


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


def truncate_metrics(path: Path, step: int, *, every: int = 0) -> None:
    """Drops the lines of a ``metrics.jsonl`` after a step.

    Damaged lines go to `DAMAGED_NAME`, and that is said; but for a last one that a
    crash cut off. Lines that are missing are said, too, and the rest counted anew.

    Args:
        path: the file.
        step: of the state that the run goes on from.
        every: how many steps there are from one line to the next; lines that are
            missing at the end are told then.
    """
    pieces = _split(path)
    parsed = list(map(_parse, pieces))
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
    whole = [line for line, fine in zip(parsed, good, strict=True) if fine and line]
    numbers = [n for line in whole if type(n := line.get(_NUMBER)) is int]
    if (missing := max(numbers, default=0) - len(whole) - len(damaged)) > 0:
        _log.warning("%s: %d lines between others are missing", path, missing)
    lines = [line for line in read_metrics(path) if line["step"] <= step]
    with write_whole(path, overwrite=True) as partial:
        text = "".join(map(encode_metric, lines, range(1, len(lines) + 1)))
        partial.write_text(text, encoding="utf-8")
    if every:
        _tell_missing(path, [line["step"] for line in lines], step, every)


def _tell_missing(path: Path, known: list[int], step: int, every: int) -> None:
    last = max(known, default=0)
    # Lines may have been further apart than they are now.
    apart = max([every, *(b - a for a, b in zip(known, known[1:], strict=False))])
    if step - last >= apart:
        _log.warning(
            "%s ends at step %d and the run is at %d: what it was like in between is "
            "lost; the run itself is whole",
            path,
            last,
            step,
        )


def _split(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _parse(piece: bytes) -> dict[str, Any] | None:
    """A line's values; None if it is damaged."""
    line = parse_object(piece)
    if line is None or type(line.get("step")) is not int:
        return None
    return line if line.pop("check", check := line_check(line)) == check else None
