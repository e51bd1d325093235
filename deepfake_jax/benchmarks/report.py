"""Results as text: one aligned line a figure."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


def format_number(value: Any) -> str:
    """Three digits that count, or all of a whole part; a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def format_rows(rows: Sequence[tuple[str, str]]) -> str:
    """Label and value a line, the values aligned."""
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def format_result(result: Any) -> str:
    """Every figure of a result, then where it was measured."""
    fields: dict[str, Any] = dataclasses.asdict(result)
    machine = fields.pop("machine", None)
    rows = _flatten(fields)
    if machine:
        versions = machine.pop("versions")
        rows += _flatten(machine)
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return format_rows(rows)


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in fields.items():
        label = prefix + name.replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{label}: ")
        else:
            rows.append((label, format_number(value)))
    return rows


def to_json(result: Any) -> dict[str, Any]:
    """A result's fields for JSON; those of its machine, if it has one, at the top."""
    fields = dataclasses.asdict(result)
    if dataclasses.is_dataclass(getattr(result, "machine", None)):
        fields |= fields.pop("machine")
    return fields
