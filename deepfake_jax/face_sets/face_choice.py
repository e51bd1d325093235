"""Faces chosen one by one: left out, brought back, or given to another person's set.

As queries do, this edits the records; only what changes its person moves its picture.
"""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.face_sets.both_records import (
    QUERY_MARK,
    bring_back,
    read_both,
    write_both,
)
from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.face_sets.face_set import RECORD_NAME
from deepfake_jax.face_sets.set_files import PERSON_FOLDER, SHEETS, find_person
from deepfake_jax.faces.identity import (
    cut_embedding_crop,
    make_crop_embedder,
    mean_embedding,
)
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.files import remove_known
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.imaging.region import Region
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.output_lock import lock_output
from deepfake_jax.types import spread

BY_HAND = f"{QUERY_MARK}by hand"
_IN_SET = (RECORD_NAME, f"{SHEETS}*.png")
_SAMPLES = 32  # faces that tell who a new set's person is


def drop_files(folder: Path, files: Collection[str]) -> int:
    """Leaves faces out of a set, and says how many; `--restore` brings them back.

    Raises:
        FaceSetError: no face set, or a damaged record.
        OutputBusyError: another process writes the set.
    """
    with lock_output(folder):
        header, kept, left = read_both(folder)
        out = [replace(r, dropped=BY_HAND) for r in kept if r.file in set(files)]
        stay = [r for r in kept if r.file not in set(files)]
        write_both(folder, header, stay, [*left, *out])
    return len(out)


def restore_files(folder: Path, files: Collection[str]) -> int:
    """Brings back faces that were left out by hand or query, and says how many.

    Raises:
        FaceSetError: no face set, or a damaged record.
        OutputBusyError: another process writes the set.
    """
    with lock_output(folder):
        header, kept, left = read_both(folder)
        back, stay = bring_back(folder, kept, left, files=set(files))
        write_both(folder, header, back, stay)
    return len(left) - len(stay)


def move_files(folder: Path, files: Collection[str], person: int | None) -> Path:
    """Gives faces to another person of the same extraction; gives that one's folder.

    A set of one person alone becomes `person_1` of its folder first. A set that has no
    face left goes.

    Args:
        folder: the set that they are in.
        files: they.
        person: number of the other one, None for one who has no set yet.

    Raises:
        FaceSetError: none of them is there, or a set cannot be read.
        OutputBusyError: another process writes a set.
    """
    if not folder.name.startswith(PERSON_FOLDER):
        folder = _make_person(folder)
    others = folder.parent.glob(f"{PERSON_FOLDER}*/{RECORD_NAME}")
    number = person or 1 + max(find_person(path.parent) or 0 for path in others)
    target = folder.parent / f"{PERSON_FOLDER}{number}"
    if target == folder:
        raise FaceSetError(f"{folder.name} is where these faces are; choose another")
    with ExitStack() as stack:
        for place in sorted((folder, target)):
            stack.enter_context(lock_output(place))
        header, kept, left = read_both(folder)
        moved = [r for r in kept if r.file in set(files)]
        if not moved:
            raise FaceSetError(f"none of these faces is in {folder.name}; look again")
        there = target / RECORD_NAME
        new = not there.exists()
        if new:
            target.mkdir(exist_ok=True)
            other, old, others_left = _renumber(header, number), [], []
        else:
            other, old, others_left = read_both(target)
        faces = [*old, *(replace(r, person=number) for r in moved)]
        faces.sort(key=lambda r: r.order)
        # Pictures first: a record that names what is not there yet would be damaged,
        # and pictures without a line are found by `--repair`.
        for record in moved:
            (folder / record.file).replace(target / record.file)
        if new:
            other |= _measure_person(target, moved)
        write_both(target, other, faces, others_left)
        rest = [r for r in kept if r.file not in {m.file for m in moved}]
        if rest or left:
            write_both(folder, header, rest, left)
        else:
            remove_known(folder, _IN_SET)
    return target


def _renumber(header: dict[str, Any], number: int) -> dict[str, Any]:
    """A header for another person, of whom nothing else is known."""
    left_out = ("identity", "check")
    kept = {key: value for key, value in header.items() if key not in left_out}
    return {**kept, "person": number}


def _measure_person(folder: Path, records: list[FaceRecord]) -> dict[str, Any]:
    """Whose faces these are, for a header; nothing where the network is not to be had.

    Faces are aligned by their landmarks, so that where five of them lie in them is
    known well enough.
    """
    try:
        embed = make_crop_embedder()
    except AssetError:
        return {}
    five = template_landmarks(256, count=5)
    chosen = [records[index] for index in spread(len(records), _SAMPLES)]
    pictures = (read_picture(folder / record.file) for record in chosen)
    vectors = [embed(cut_embedding_crop(Region(p, 0, 0), five)) for p in pictures]
    mean = mean_embedding(np.stack(vectors)).astype(np.float64)
    return {"identity": np.round(mean, 6).tolist()}


def _make_person(folder: Path) -> Path:
    """Makes a folder that is a set one that holds it as its only person's."""
    aside = folder.with_name(f".{folder.name}.moved")
    with lock_output(folder):
        folder.rename(aside)
        folder.mkdir()
        person = folder / f"{PERSON_FOLDER}1"
        aside.rename(person)
    return person
