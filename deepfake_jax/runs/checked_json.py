"""Small files of a run that a changed byte must not change: JSON with its own sum."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_jax.files import line_check, parse_object, write_json


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
