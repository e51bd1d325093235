"""Conditions on faces, such as ``yaw>60`` or ``person==2 and sharpness<0.2``.

They are parsed, never evaluated as code. A condition compares one of `KEYS` with a
number or a word by ``== != < <= > >=``; conditions are joined by ``and`` and ``or``,
where ``and`` binds tighter. Angles are compared without their sign, and of landmarks it
is their count: 68, 5, or 0 where a line was made anew.
"""

import re
from collections.abc import Callable
from typing import Any

from deepfake_jax.face_sets.face_record import FaceRecord

Query = Callable[[FaceRecord], bool]

# Of both signs alike: a face turned left is as far turned as one turned right.
_ANGLES = ("yaw", "pitch", "roll")
_NUMBERS = (
    *("frame", "time", "person", "track", "width", "size", "score", "alignment"),
    *("sharpness", "occlusion", *_ANGLES, "filled"),
    "landmarks",
)
_WORDS = ("file", "source")
KEYS = (*_NUMBERS, *_WORDS)

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_CONDITION = re.compile(r"\s*([A-Za-z_]+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")


class QueryError(ValueError):
    """A condition that cannot be understood; the text shows one that can."""


def parse_query(text: str) -> Query:
    """A function that tells whether a face meets some conditions.

    Raises:
        QueryError: no condition, an unknown key, or a number that is none.
    """
    options = [
        [_parse_condition(part, text) for part in re.split(r"\band\b|&&?", option)]
        for option in re.split(r"\bor\b|\|\|?", text)
    ]
    return lambda record: any(all(part(record) for part in o) for o in options)


def check_key(name: str) -> None:
    """Raises QueryError if a name is none of `KEYS`."""
    if name not in KEYS:
        raise QueryError(f"{name!r} is none of {', '.join(KEYS)}")


def read_key(record: FaceRecord, name: str) -> float | str:
    """A face's value of one of `KEYS`; angles without their sign.

    Raises:
        QueryError: there is no such key.
    """
    check_key(name)
    value = getattr(record, name)
    if name == "landmarks":
        return float(len(value))
    if name in _WORDS:
        return value
    return abs(float(value)) if name in _ANGLES else float(value)


def _parse_condition(part: str, whole: str) -> Query:
    match = _CONDITION.fullmatch(part)
    example = "such as yaw>60 or person==2"
    if match is None:
        raise QueryError(f"cannot understand {part!r} in {whole!r}; write it {example}")
    key, compare, value = match.group(1), _COMPARE[match.group(2)], match.group(3)
    if key not in KEYS:
        raise QueryError(f"{key!r} in {whole!r} is none of {', '.join(KEYS)}")
    if key in _WORDS:
        word = value.strip("'\"")
        return lambda record: compare(read_key(record, key), word)
    try:
        number = float({"true": "1", "false": "0"}.get(value.lower(), value))
    except ValueError:
        raise QueryError(
            f"{value!r} in {whole!r} is no number; write it {example}"
        ) from None
    return lambda record: compare(read_key(record, key), number)
