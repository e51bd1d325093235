"""Checkpoints that a crash cannot spoil: orbax, plus a manifest of SHA-256 sums.

A checkpoint is a folder ``00001000`` named by its step, with orbax's ``state`` and a
``manifest.json`` that holds the step, the sums of every file, the run's facts and its
own sum. It is written under a hidden name, flushed to disk and renamed, so that a
folder with the final name is whole. Reading verifies every sum and goes back to the
newest checkpoint that is good.
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePath
from typing import Any, NotRequired

import jax
import orbax.checkpoint as ocp
from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from deepfake_jax.files import (
    ForeignFilesError,
    check_known,
    finish_replacing,
    hash_file,
    remove_known,
    sync_path,
    write_whole_folder,
)
from deepfake_jax.json_files import line_check, write_json
from deepfake_jax.runs.run_facts import RunFacts

MANIFEST_NAME = "manifest.json"
# All that a checkpoint's folder may hold; orbax's is a few folders deep.
KNOWN = (MANIFEST_NAME, *("state" + depth * "/*" for depth in range(1, 6)))
# As tensorstore tells of a file that cannot be written.
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")
_log = logging.getLogger("deepfake_jax")


class CheckpointError(RuntimeError):
    """No checkpoint that can be used; the text says what was found and the fix."""


@with_config(ConfigDict(extra="forbid"))
class _Manifest(TypedDict):
    """What says that a checkpoint is whole; see the module's docstring."""

    step: int
    extra: dict[str, Any]
    files: dict[str, str]
    check: NotRequired[str]


_MANIFEST = TypeAdapter(_Manifest)


@dataclass(frozen=True)
class Checkpoint:
    """One that was found whole.

    Attributes:
        step: updates that it has had.
        facts: what the run knew then.
        files: SHA-256 of each of its files, by path inside it.
        tree: the arrays; None before they are read.
    """

    step: int
    facts: RunFacts
    files: Mapping[str, str]
    tree: Any = None


def list_checkpoints(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, oldest first; damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if path.is_dir() and path.name.isdigit()
    )


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"{step:08d}"


def save_checkpoint(
    folder: Path, step: int, tree: Any, *, facts: RunFacts, keep: int = 2
) -> Path:
    """Saves a tree of arrays, then deletes all but the `keep` newest good checkpoints.

    Damaged ones do not count: what is newer than the oldest that is kept is set aside,
    and said.

    Args:
        folder: where checkpoints lie; made if missing. Only one process saves there.
        step: names the checkpoint; one of the same step is replaced.
        tree: a pytree of arrays.
        facts: to remember with it.
        keep: how many to keep, this one among them.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.partial"):  # of a save that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    final = checkpoint_path(folder, step)
    finish_replacing(final)
    # As NumPy arrays: orbax refuses a device's array that only one process has.
    arrays = jax.device_get(tree)
    # Beforehand: orbax's threads answer a full disk with hundreds of lines.
    if shutil.disk_usage(folder).free < sum(x.nbytes for x in jax.tree.leaves(arrays)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    try:
        check_known(final, KNOWN)
    except ForeignFilesError:
        _set_aside(final)
    with write_whole_folder(final, known=KNOWN) as partial:
        _write_state(partial.absolute() / "state", arrays)
        manifest = {
            "step": step,
            "extra": facts.to_json(),
            "files": _hash_files(partial),
        }
        manifest["check"] = line_check(manifest)
        write_json(partial / MANIFEST_NAME, manifest)
    _rotate(folder, step, keep)
    return final


def _write_state(path: Path, arrays: Any) -> None:
    """Has orbax write a tree of arrays.

    Raises:
        OSError: it cannot, as on a full disk.
    """
    try:
        with _open_orbax() as checkpointer:
            checkpointer.save(path, arrays)
    except ValueError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path.parent.parent)) from error


def _rotate(folder: Path, saved: int, keep: int) -> None:
    """Deletes all but `keep` good checkpoints: the one just saved, and the newest."""
    others = [step for step in list_checkpoints(folder)[::-1] if step != saved]
    kept = 1
    for step in others if len(others) >= keep else ():
        path = checkpoint_path(folder, step)
        if kept == keep:
            try:
                remove_known(path, KNOWN)
            except (ForeignFilesError, OSError) as error:
                _log.warning("old checkpoint not removed: %s", error)
            continue
        try:
            verify_checkpoint(path)
            kept += 1
        except CheckpointError as error:
            aside = _set_aside(path)
            _log.warning("damaged checkpoint set aside as %s: %s", aside, error)


def _set_aside(path: Path) -> Path:
    """Gives a checkpoint a name that is nobody's step."""
    places = (path.with_name(f"{path.name}.damaged{n or ''}") for n in count())
    return path.rename(next(place for place in places if not place.exists()))


def save_best(folder: Path, step: int, tree: Any, *, facts: RunFacts) -> Path:
    """As `save_checkpoint`, but the new one replaces all others of the folder.

    Later ones, too: a run that was set back to an earlier state can leave such. But
    none of a better score, whatever the caller remembers of the run's scores.

    Returns:
        The best state's path.
    """
    for known in list_checkpoints(folder)[::-1]:
        path = checkpoint_path(folder, known)
        try:
            best = verify_checkpoint(path).facts
        except CheckpointError:
            continue
        if best.is_better_than(facts):
            _log.warning("the state of step %d has a better score and stays", known)
            return path
    return save_checkpoint(folder, step, tree, facts=facts, keep=1)


def verify_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint's manifest, not its arrays, and checks every file against it.

    Raises:
        CheckpointError: what is missing or differs.
    """
    checkpoint = _read_manifest(path)
    for name, expected in checkpoint.files.items():
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise CheckpointError(
                f"{path}: {MANIFEST_NAME} names {name}, outside of it"
            )
        try:
            found = hash_file(path / name)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read {name} ({error})") from None
        if found != expected:
            raise CheckpointError(f"{path}: {name} is damaged (its SHA-256 differs)")
    return checkpoint


def read_facts(folder: Path) -> RunFacts | None:
    """What the newest checkpoint of a folder remembers; its arrays are not looked at.

    None where no checkpoint has a good manifest.
    """
    for step in list_checkpoints(folder)[::-1]:
        try:
            return _read_manifest(checkpoint_path(folder, step)).facts
        except CheckpointError:
            continue
    return None


def _read_manifest(path: Path) -> Checkpoint:
    try:
        manifest = _MANIFEST.validate_json((path / MANIFEST_NAME).read_bytes())
        facts = RunFacts.from_json(manifest["extra"])
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: no readable manifest ({error})") from None
    # Those of earlier versions have no sum of their own.
    found = line_check(dict(manifest))
    if manifest.get("check", found) != found or f"{manifest['step']:08d}" != path.name:
        raise CheckpointError(f"{path}: {MANIFEST_NAME} was changed")
    return Checkpoint(manifest["step"], facts, manifest["files"])


def restore_checkpoint(folder: Path, *, step: int | None = None) -> Checkpoint | None:
    """Restores the newest good checkpoint.

    Args:
        folder: where checkpoints lie.
        step: only this checkpoint.

    Returns:
        The checkpoint with its tree, nested dicts of NumPy arrays; None if the folder
        has none at all.

    Raises:
        CheckpointError: there are checkpoints, but none is good.
    """
    steps = [step] if step is not None else list_checkpoints(folder)[::-1]
    problems = []
    for candidate in steps:
        path = checkpoint_path(folder, candidate)
        try:
            found = verify_checkpoint(path)
        except CheckpointError as error:
            problems.append(str(error))
            _log.warning("damaged checkpoint passed over: %s", error)
            continue
        if problems:
            _log.warning("falling back to the checkpoint of step %d", candidate)
        with _open_orbax() as checkpointer:
            tree = checkpointer.restore(path.absolute() / "state")
        return replace(found, tree=tree)
    if problems:
        raise CheckpointError(
            "no checkpoint of this run is good: "
            + "; ".join(problems)
            + ". Nothing was changed. Bring back a copy, or train into a new --run"
        )
    return None


def _open_orbax() -> ocp.StandardCheckpointer:
    """Orbax for this process alone: without waiting for those it trains with."""
    if jax.process_count() == 1:
        return ocp.StandardCheckpointer()
    index = jax.process_index()
    return ocp.StandardCheckpointer(
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=index,
            active_processes={index},
            barrier_sync_key_prefix=f"process{index}",
        )
    )


def _hash_files(folder: Path) -> dict[str, str]:
    """Sums of all files below a folder, each flushed to disk on the way."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync_path(path)
            sums[path.relative_to(folder).as_posix()] = hash_file(path)
    return sums
