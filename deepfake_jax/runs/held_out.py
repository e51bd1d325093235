"""Faces held out from training: stretches of footage, apart from what is trained on.

Neighbouring frames of a video show nearly the same picture, so a random share of the
frames would measure memory. Whole stretches are held out instead, and the frames around
them are neither trained on nor judged.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.json_files import read_checked, write_checked
from deepfake_jax.progress import count
from deepfake_jax.runs.run_folder import BEST

HELD_NAME = "holdout.json"  # in a run's folder

GAP_SECONDS = 0.25  # of footage that is left out on both sides of a held-out stretch
# Faces; longer stretches leave more of the footage's variety unjudged, shorter ones
# cost more of it for the gaps.
_SHORTEST, _LONGEST = 8, 48
# Fewer faces say too little of a run to be worth keeping from it.
FEWEST_HELD = 4
_log = logging.getLogger("deepfake_jax")


@dataclass(frozen=True, eq=False)
class Split:
    """Numbers of a face set's faces, each ascending; none is in both.

    Attributes:
        train: to train on.
        held: to judge by.
    """

    train: Int64[np.ndarray, "n"]
    held: Int64[np.ndarray, "m"]


def hold_out(records: Sequence[FaceRecord], share: float, seed: int) -> Split:
    """Chooses faces to hold out, as stretches of tracks; the same for the same input.

    Faces of the same source that are nearer than `GAP_SECONDS` to a held-out one, in
    either direction, are left out of both parts. Pictures have no neighbours and are
    held out one by one. Depends on the records, not on their order.

    Args:
        records: of one face set.
        share: of the faces to hold out, in [0, 0.5]; rounded, so that a set may be too
            small to hold out any. At least one face is left for training.
        seed: of the choice.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"share must be in [0, 0.5], got {share}")
    everyone = np.arange(len(records))
    wanted = round(share * len(records))
    if not wanted:
        return Split(everyone, everyone[:0])
    length = int(np.clip(wanted // 4, min(_SHORTEST, wanted), _LONGEST))
    stretches = _cut_stretches(records, length)
    rng = np.random.default_rng((seed, len(records)))
    order = rng.permutation(len(stretches))
    held = [face for index in order for face in stretches[index]][:wanted]
    train = _find_far(records, held)
    while not len(train):  # a short clip must not be lost to the gaps
        held = held[: len(held) // 2]
        train = _find_far(records, held)
    return Split(train, np.sort(np.array(held, np.int64)))


def write_held(run: Path, held: Mapping[str, Sequence[FaceRecord]]) -> None:
    """Records in a run's folder which faces of each side were held out of training."""
    names = {s: [[r.file, r.picture] for r in records] for s, records in held.items()}
    write_checked(run / HELD_NAME, names)


def find_held(run: Path, side: str, records: Sequence[FaceRecord]) -> Split:
    """Which of a set's faces a run held out; none where it held none of these.

    Faces are known by their file's name and the check sum of its bytes, so those of
    another set, or of one that was extracted anew, are not taken for held out. (Nor
    does the split's other part say that they were trained on.)

    Raises:
        FaceSetError: the run's record cannot be read.
    """
    names = _read_names(run, side)
    is_held = np.array([(r.file, r.picture) in names for r in records], bool)
    return Split(np.flatnonzero(~is_held), np.flatnonzero(is_held))


def begin_split(
    side: str, records: Sequence[FaceRecord], share: float, seed: int
) -> Split:
    """As `hold_out`, for a run that begins; says what it does.

    A set that would give fewer than `FEWEST_HELD` faces to judge by gives none.
    """
    split, name = hold_out(records, share, seed), side.upper()
    if share and len(split.held) < FEWEST_HELD:
        _log.info(
            "%s has %s, too few to hold %g of them out of training: the run is "
            "not judged on its way",
            name,
            count(len(records), "face"),
            share,
        )
        return hold_out(records, 0.0, seed)
    if share:
        held = len(split.held)
        beside, told = len(records) - held - len(split.train), count(held, "face")
        _log.info("%s: %s held out to judge by, and %d beside", name, told, beside)
    return split


def resume_split(run: Path, side: str, records: Sequence[FaceRecord]) -> Split:
    """The split of a run that goes on: what it held out as far as it is still there.

    With the same faces it is the one that `begin_split` gave. Of other faces, those
    near to held-out ones are not trained on either. A run without a record holds out
    none.

    Raises:
        FaceSetError: the run's record cannot be read.
    """
    if not (run / HELD_NAME).exists() and (run / BEST).is_dir():
        _log.warning(
            "%s has no %s: all faces are trained on, those that it held out, too",
            run,
            HELD_NAME,
        )
    recorded, held = len(_read_names(run, side)), find_held(run, side, records).held
    if len(held) < recorded:
        _log.warning(
            "%s's faces have changed: of the %d held out, %d are still there",
            side.upper(),
            recorded,
            len(held),
        )
    train = _find_far(records, held.tolist())
    if not len(train):
        _log.warning(
            "%s has no faces left but held-out ones; all are trained on",
            side.upper(),
        )
        return hold_out(records, 0.0, 0)
    return Split(train, held)


def _read_names(run: Path, side: str) -> set[tuple[str, str]]:
    """File names and check sums that a run recorded; none without a record."""
    path = run / HELD_NAME
    if not path.exists():
        return set()
    try:
        found = read_checked(path)
        return {(file, picture) for file, picture in found.get(side, [])}
    except (OSError, ValueError, TypeError) as error:
        raise FaceSetError(
            f"{path} is damaged ({error}); bring a copy back. Without the file all "
            "faces are trained on and judged, those that it held out, too"
        ) from None


def _cut_stretches(records: Sequence[FaceRecord], length: int) -> list[list[int]]:
    """Faces of consecutive frames of one track, `length` of them or fewer."""
    order = sorted(
        range(len(records)),
        key=lambda i: (
            records[i].source_key,
            records[i].track,
            records[i].frame,
            records[i].file,
        ),
    )
    stretches: list[list[int]] = []
    before: tuple[tuple[str, int], int] | None = None
    for index in order:
        track = records[index].source_key, records[index].track
        if track != before or len(stretches[-1]) == length:
            stretches.append([])
        stretches[-1].append(index)
        before = track
    return stretches


def _find_far(
    records: Sequence[FaceRecord], held: Sequence[int]
) -> Int64[np.ndarray, "n"]:
    """The faces that are neither held out nor close to one that is."""
    times: dict[tuple[str, int], list[float]] = {}
    for index in held:
        times.setdefault(records[index].source_key, []).append(records[index].time)
    taken = set(held)
    ordered = {source: np.sort(values) for source, values in times.items()}
    far = []
    for index, record in enumerate(records):
        if index in taken:
            continue
        near = ordered.get(record.source_key)
        if near is not None:
            place = int(np.searchsorted(near, record.time))
            beside = near[max(0, place - 1) : place + 1]
            if np.abs(beside - record.time).min() < GAP_SECONDS:
                continue
        far.append(index)
    return np.array(far, np.int64)
