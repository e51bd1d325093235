"""Which face sets a run was trained on, as it remembers them itself.

``sets.json`` in the run's folder names both, each with its place seen from the run and
its absolute one: the first stays right where run and sets are moved together, the
second where the run alone is.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_jax.face_sets.face_set import (
    RECORD_NAME,
    FaceSet,
    FaceSetError,
    read_record,
)
from deepfake_jax.files import write_json

SETS_NAME = "sets.json"  # in a run's folder
_log = logging.getLogger("deepfake_jax")


def write_sets(run: Path, sets: Mapping[Any, FaceSet]) -> None:
    """Records in a run's folder on which face sets it is trained, "a" and "b"."""
    found: dict[str, dict[str, Any]] = {}
    for side, faces in sets.items():
        place = faces.folder.resolve()
        found[side] = {
            "name": place.name,
            "faces": len(faces.records),
            "relative": _find_relative(place, run.resolve()),
            "absolute": str(place),
        }
    write_json(run / SETS_NAME, found)


def find_set(run: Path, side: str) -> Path:
    """The face set of a side, "a" or "b", that a run was trained on.

    Says so where it does not have as many faces as it had then.

    Raises:
        FaceSetError: the run has no record of it, or a damaged one; or the set is at
            neither of its places any more.
    """
    flag = f"--{side} FACES"
    path = run / SETS_NAME
    if not path.exists():
        raise FaceSetError(
            f"{run} does not say which faces it was trained on (it has no "
            f"{SETS_NAME}, as runs of earlier versions); name them with {flag}"
        )
    try:
        known = json.loads(path.read_text(encoding="utf-8"))[side]
        name, count = str(known["name"]), int(known["faces"])
        places = [Path(known["absolute"])]
        if known["relative"]:
            places.insert(0, Path(os.path.normpath(run.resolve() / known["relative"])))
    except (ValueError, KeyError, TypeError) as error:
        raise FaceSetError(f"{path} is damaged ({error!r}); give {flag}") from None
    for place in places:
        if (place / RECORD_NAME).is_file():
            return _compare(place, count, flag)
    tried = " nor ".join(dict.fromkeys(map(str, places)))
    raise FaceSetError(
        f"{run} was trained on the face set {name} ({count} faces) as "
        f"{side.upper()}, which is no longer at {tried}; say where it is with {flag}"
    )


def _compare(place: Path, count: int, flag: str) -> Path:
    now = len(read_record(place)[1])
    if now != count:
        _log.warning(
            "%s has %d faces, and had %d when the run was trained; if it is another "
            "set by now, name the right one with %s",
            place,
            now,
            count,
            flag,
        )
    return place


def _find_relative(place: Path, run: Path) -> str:
    try:
        return Path(os.path.relpath(place, run)).as_posix()
    except ValueError:  # on another drive
        return ""
