"""Which face sets a run was trained on, as it remembers them itself.

``sets.json`` in the run's folder names both, each with its place seen from the run and
its absolute one: the first stays right where run and sets are moved together, the
second where the run alone is.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import RECORD_NAME, FaceSet, read_record
from deepfake_jax.faces.identity import SAME_PERSON
from deepfake_jax.json_files import read_checked, write_checked
from deepfake_jax.progress import count
from deepfake_jax.runs.checkpoint import read_facts
from deepfake_jax.runs.run_folder import CHECKPOINTS, RunError
from deepfake_jax.types import DIRECTIONS, Side

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
    write_checked(run / SETS_NAME, found)


def check_people(run: Path, sets: Mapping[Side, FaceSet]) -> None:
    """Checks that two face sets show whom a run was trained on; warns of one person.

    Raises:
        RunError: A and B are exchanged.
    """
    headers = {side: own.header for side, own in sets.items()}
    faces = {s: own["identity"] for s, own in headers.items() if "identity" in own}
    one = sets["a"].folder.resolve() == sets["b"].folder.resolve()
    if one or (len(faces) == 2 and _compare_faces(*faces.values()) > SAME_PERSON):
        _log.warning(
            "A (%s) and B (%s) look like one person: nothing can be swapped then; "
            "check --a and --b",
            sets["a"].folder,
            sets["b"].folder,
        )
        return
    facts = read_facts(run / CHECKPOINTS)
    known = {} if facts is None else facts.identities
    alike = {
        (now, then): _compare_faces(faces[now], known[then])
        for now in faces
        for then in known
    }
    crossed = [alike[pair] for pair in DIRECTIONS if pair in alike]
    if crossed and min(crossed) > SAME_PERSON:
        raise RunError(
            f"{run} was trained with these two people the other way around; exchange "
            f"them: --a {sets['b'].folder} --b {sets['a'].folder}. To swap the other "
            "way, the same run converts `--to a`"
        )
    for side in sets:
        if alike.get((side, side), 1.0) < SAME_PERSON:
            _log.warning(
                "%s (%s) looks like another person than the one that %s was trained on "
                "as %s; the run goes on with both mixed",
                side.upper(),
                sets[side].folder,
                run,
                side.upper(),
            )


def _compare_faces(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine of two embeddings."""
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.dot(one, other) / max(lengths, 1e-12))


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
        known = read_checked(path)[side]
        name, number = str(known["name"]), int(known["faces"])
        places = [Path(known["absolute"])]
        if known["relative"]:
            places.insert(0, Path(os.path.normpath(run.resolve() / known["relative"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FaceSetError(f"{path} is damaged ({error!r}); give {flag}") from None
    for place in places:
        if (place / RECORD_NAME).is_file():
            return _compare(place, number, flag)
    tried = " nor ".join(dict.fromkeys(map(str, places)))
    raise FaceSetError(
        f"{run} was trained on the face set {name} ({count(number, 'face')}) as "
        f"{side.upper()}, which is no longer at {tried}; say where it is with {flag}"
    )


def _compare(place: Path, before: int, flag: str) -> Path:
    now = len(read_record(place)[1])
    if now != before:
        _log.warning(
            "%s has %s, and had %d when the run was trained; if it is another "
            "set by now, name the right one with %s",
            place,
            count(now, "face"),
            before,
            flag,
        )
    return place


def _find_relative(place: Path, run: Path) -> str:
    try:
        return Path(os.path.relpath(place, run)).as_posix()
    except ValueError:  # on another drive
        return ""
