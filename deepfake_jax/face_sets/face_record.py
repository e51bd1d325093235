"""One line of a face set's record: a face, where it came from, how it was aligned.

Of a line's fields:

- ``file``: the face picture; ``picture``: the CRC-32 of its bytes;
- ``source``, ``source_number``, ``frame``, ``time``: file name, frame index and time
  stamp (s) of its frame; the number is that of the header's ``sources``, which have
  each one's hash, so that sources of one name are told apart;
- ``person``, ``track``: whose face it is, and the run of frames that it belongs to;
- ``box`` (x, y, width, height), ``width``, ``score``: as detected, in the frame's
  pixels;
- ``landmarks`` (68 or 5 of (x, y)): steadied over the track;
- ``hands``: those near the face, if there are any, 21 of (x, y) each, see
  `imaging.hand_mask`;
- ``frame_to_face``: the 2x3 matrix of the alignment;
- ``size``: side of the whole face picture in the frame, pixels; where it is below the
  side of the face picture itself, the face was enlarged;
- ``filled``: the face was not found in this frame, but shortly before and after;
- ``alignment``, ``sharpness``, ``occlusion``, ``yaw``, ``pitch``, ``roll``: see
  `face_quality`;
- ``check``: the CRC-32 of the line without it. A line edited by hand is still read.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.json_files import encode_line, line_check

FACE_NAME = re.compile(r"(\d+)_(\d+)_(\d+)\.png")


class FaceSetError(ValueError):
    """A face set that cannot be used; the text says what is wrong and the fix."""


@dataclass(frozen=True)
class FaceRecord:
    """One line of the record; the module docstring says what each field means."""

    file: str
    source: str
    frame: int
    time: float
    box: tuple[float, ...]
    score: float
    landmarks: tuple[tuple[float, ...], ...]
    frame_to_face: tuple[tuple[float, ...], ...]
    size: float
    person: int = 1
    track: int = 0
    width: float = 0.0
    filled: bool = False
    alignment: float = 1.0
    sharpness: float = 1.0
    occlusion: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    picture: str = ""
    dropped: str = ""
    source_number: int = -1
    hands: tuple[tuple[tuple[float, ...], ...], ...] = ()

    @property
    def source_key(self) -> tuple[str, int]:
        """Tells the source from all others of its set.

        Earlier versions noted its number in the face's file name alone; it is -1 where
        that does not tell either.
        """
        number = self.source_number
        if number < 0 and (name := FACE_NAME.fullmatch(self.file)):
            number = int(name[1])
        return self.source, number

    @property
    def order(self) -> tuple[int, int, int, str]:
        """By source, frame and track: by its file, counting as people do."""
        name = FACE_NAME.fullmatch(self.file)
        if name is None:
            return 0, 0, 0, self.file
        return int(name[1]), int(name[2]), int(name[3]), self.file


_WORDS = {
    str: (str, "a text"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}
_KINDS: dict[str, Any] = {
    field.name: _WORDS[field.type]  # type: ignore[index]
    for field in fields(FaceRecord)
    if field.type in _WORDS
}


def encode_record(record: FaceRecord) -> str:
    """A face's line, its ``check`` last."""
    line = dict(vars(record))  # `asdict` copies each number: a millisecond a face
    for name in ("dropped", "hands"):
        if not line[name]:
            del line[name]
    return encode_line(line)


def make_record(values: dict[str, Any]) -> FaceRecord:
    """A face's line as a record.

    Raises:
        TypeError: a field that lacks, is unknown or of a wrong kind, named.
    """
    for name in _KINDS.keys() & values.keys():
        (kind, words), value = _KINDS[name], values[name]
        # JSON's true is no number, and its NaN and infinity none to reckon with.
        odd = isinstance(value, bool) != (kind is bool)
        odd |= isinstance(value, float) and not math.isfinite(value)
        if odd or not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}, expected {words}")
    file = values.get("file", "")
    if "/" in file or os.sep in file or file in (".", ".."):
        raise TypeError(f"file is {file!r}, expected a name without a folder")
    shapes = {"box": (4,), "frame_to_face": (2, 3)}
    if not all(_has_shape(values[k], v) for k, v in shapes.items() if k in values):
        raise TypeError("box must be 4 numbers and frame_to_face 2 x 3")
    hands = values.get("hands", [])
    count = len(hands) if isinstance(hands, list | tuple) else -1
    if count and not _has_shape(hands, (count, 21, 2)):
        raise TypeError("hands must be of 21 pairs of numbers each")
    landmarks = values.get("landmarks", [])
    count = len(landmarks) if isinstance(landmarks, list | tuple) else -1
    if count and not _has_shape(landmarks, (count, 2)):
        raise TypeError("landmarks must be pairs of numbers, such as [[94.0, 80.5]]")
    return FaceRecord(**{k: _freeze(v) for k, v in values.items() if k != "check"})


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return False
    fits = array.shape == shape and array.dtype.kind in "if"
    return fits and bool(np.isfinite(array).all())


def _freeze(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def was_edited(values: dict[str, Any]) -> bool:
    """Whether a line has a ``check`` that is not its own: it was changed by hand."""
    return "check" in values and values["check"] != line_check(values)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a record one by one, with their numbers; memory stays bounded.

    Raises:
        FaceSetError: a line that is no JSON object, named.
    """
    try:
        # Not splitlines: JSON leaves U+2028 and its like as they are in a file's name.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                # Editors add an empty line at the end, and a mark at the beginning.
                if line.strip():
                    yield number, _parse_line(path, number, line.removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise FaceSetError(f"{path} is damaged: {error}") from None


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FaceSetError(
            f"{path}, line {number} is damaged ({error}); `deepfake-jax faces "
            f"{path.parent} --repair` mends the record"
        ) from None
    if not isinstance(value, dict):
        raise FaceSetError(f"{path}, line {number}: expected an object, got {value!r}")
    return value
