"""JSON that is read and written here: text, whole files, and lines with a checksum.

What is written, any reader takes. A sum, ``check``, tells values that were damaged or
cut off: of a line in a file that grows, or of a small file.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_jax.files import write_whole


def write_json(path: Path, values: Any, *, indent: int | None = 1) -> None:
    """Writes JSON in one piece over what is there; see `format_json`."""
    with write_whole(path, overwrite=True) as partial:
        partial.write_text(format_json(values, indent=indent) + "\n", encoding="utf-8")


def format_json(values: Any, *, indent: int | None = None) -> str:
    """Values as JSON text that any reader takes.

    A number that is not finite becomes null, wherever it stands. Characters stay as
    they are, but for the parts of a file's name that are no UTF-8: these are escaped.
    """
    options: dict[str, Any] = {"indent": indent, "ensure_ascii": False}
    try:
        text = json.dumps(values, allow_nan=False, **options)
    except (ValueError, TypeError):  # hardly ever, and the look takes 20 times as long
        text = json.dumps(_finite(values), allow_nan=False, **options)
    # Lone surrogates, as Python reads such names, come out as JSON's own escapes.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return (
        [_finite(part) for part in value] if isinstance(value, list | tuple) else value
    )


def parse_object(text: bytes | str) -> dict[str, Any] | None:
    """A JSON object; None where a text is anything else."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or one that is nested for ever
        return None
    return values if isinstance(values, dict) else None


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is no file, or it is anything else."""
    try:
        return parse_object(path.read_bytes()) or {}
    except OSError:
        return {}


def encode_line(values: dict[str, Any]) -> str:
    """Values as a line of JSON that ends with their checksum."""
    values = {key: value for key, value in values.items() if key != "check"}
    try:
        check = _check_values(values, allow_nan=False)
    except (ValueError, TypeError):
        values = _finite(values)
        check = _check_values(values)
    return format_json({**values, "check": check}) + "\n"


def line_check(values: dict[str, Any]) -> str:
    """CRC-32 of a line's values without ``check``, in hexadecimal."""
    return _check_values({k: value for k, value in values.items() if k != "check"})


def _check_values(values: dict[str, Any], *, allow_nan: bool = True) -> str:
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, allow_nan=allow_nan)
    return f"{zlib.crc32(text.encode('utf-8', 'backslashreplace')):08x}"


def parse_checked(line: bytes) -> dict[str, Any] | None:
    """A line's values; None if it is damaged or was cut off."""
    values = parse_object(line) if line.endswith(b"\n") else None
    whole = values is not None and values.get("check") == line_check(values)
    return values if whole else None


def write_checked(path: Path, values: Mapping[str, Any]) -> None:
    """Writes values in one piece, with a checksum of them as ``check``."""
    plain = json.loads(json.dumps(values))  # tuples as lists, as they are read
    write_json(path, {**plain, "check": line_check(plain)})


def read_checked(path: Path) -> dict[str, Any]:
    """What `write_checked` wrote, without the sum; files of earlier versions lack it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON object, or was changed.
    """
    values = parse_object(path.read_bytes())
    if values is None:
        raise ValueError("it is no JSON object")
    if values.pop("check", line_check(values)) != line_check(values):
        raise ValueError("its checksum is another's")
    return values
