"""Checkpoints that a crash cannot spoil: orbax, plus a manifest of SHA-256 sums.

A checkpoint is a folder ``00001000`` named by its step, with orbax's ``state`` and a
``manifest.json`` that holds the step, the sums of every file and the run's facts. It is
written under a hidden name, flushed to disk and renamed, so that a folder with the
final name is whole. Reading verifies every sum and goes back to the newest checkpoint
that is good.
"""

import errno
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from deepfake_jax.files import hash_file, sync_path, write_json
from deepfake_jax.runs.run_facts import RunFacts

MANIFEST_NAME = "manifest.json"
_log = logging.getLogger("deepfake_jax")


class CheckpointError(RuntimeError):
    """No checkpoint that can be used; the text says what was found and the fix."""


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
    """Saves a tree of arrays, then deletes all but the `keep` newest checkpoints.

    Args:
        folder: where checkpoints lie; made if missing.
        step: names the checkpoint; one of the same step is replaced.
        tree: a pytree of arrays.
        facts: to remember with it.
        keep: how many to keep.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = checkpoint_path(folder, step)
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    # As NumPy arrays: orbax refuses a device's array that only one process has.
    arrays = jax.device_get(tree)
    # Beforehand: orbax's threads answer a full disk with hundreds of lines.
    if shutil.disk_usage(folder).free < sum(x.nbytes for x in jax.tree.leaves(arrays)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    try:
        partial.mkdir()
        with _open_orbax() as checkpointer:
            checkpointer.save(partial.absolute() / "state", arrays)
        manifest = {
            "step": step,
            "extra": facts.to_json(),
            "files": _hash_files(partial),
        }
        write_json(partial / MANIFEST_NAME, manifest)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        sync_path(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(checkpoint_path(folder, old), ignore_errors=True)
    return final


def save_best(folder: Path, step: int, tree: Any, *, facts: RunFacts) -> Path:
    """As `save_checkpoint`, but the new one replaces all others of the folder.

    Later ones, too: a run that was set back to an earlier state can leave such.
    """
    path = save_checkpoint(folder, step, tree, facts=facts, keep=sys.maxsize)
    for other in list_checkpoints(folder):
        if other != step:
            shutil.rmtree(checkpoint_path(folder, other), ignore_errors=True)
    return path


def verify_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint's manifest, not its arrays, and checks every file against it.

    Raises:
        CheckpointError: what is missing or differs.
    """
    try:
        manifest = json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        step, facts = int(manifest["step"]), RunFacts.from_json(manifest["extra"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no readable manifest ({error})") from None
    for name, expected in files.items():
        try:
            found = hash_file(path / name)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read {name} ({error})") from None
        if found != expected:
            raise CheckpointError(f"{path}: {name} is damaged (its SHA-256 differs)")
    return Checkpoint(step, facts, files)


def restore_checkpoint(
    folder: Path,
    like: Any | None = None,
    *,
    step: int | None = None,
    optional: Sequence[str] = (),
) -> Checkpoint | None:
    """Restores the newest good checkpoint.

    Args:
        folder: where checkpoints lie.
        like: a tree of arrays or shapes of the wanted structure; None restores what is
            there as NumPy arrays in nested dicts.
        step: only this checkpoint.
        optional: keys of `like`, a dict, that a checkpoint may lack or have beside.

    Returns:
        The checkpoint, or None if the folder has none at all. The tree has the optional
        keys that `like` and the checkpoint both have.

    Raises:
        CheckpointError: there are checkpoints, but none is good.
    """
    steps = [step] if step is not None else list_checkpoints(folder)[::-1]
    problems = []
    for candidate in steps:
        path = checkpoint_path(folder, candidate)
        try:
            found = verify_checkpoint(path)
            tree = _restore(path, like, optional)
        except CheckpointError as error:
            problems.append(str(error))
            _log.warning("damaged checkpoint passed over: %s", error)
            continue
        if problems:
            _log.warning("falling back to the checkpoint of step %d", candidate)
        return replace(found, tree=tree)
    if problems:
        raise CheckpointError(
            "no checkpoint of this run is good: "
            + "; ".join(problems)
            + ". Nothing was changed. Bring back a copy, or train into a new --run"
        )
    return None


def _restore(path: Path, like: Any | None, optional: Sequence[str]) -> Any:
    state = path.absolute() / "state"
    with _open_orbax() as checkpointer:
        if like is None:
            return checkpointer.restore(state)
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        if not optional:
            return checkpointer.restore(state, shapes)
        # Orbax wants to be told exactly what there is.
        saved = checkpointer.metadata(state).item_metadata.tree
        for name in optional:
            if jax.tree.leaves(saved.get(name)):
                known = jax.tree.map(_shape_of, saved[name])
                shapes[name] = shapes.get(name) or known
            else:
                shapes.pop(name, None)
                shapes |= {name: None} if name in saved else {}
        tree = checkpointer.restore(state, shapes)
    odd = [n for n in optional if tree.get(n) is None or like.get(n) is None]
    return {name: part for name, part in tree.items() if name not in odd}


def _shape_of(saved: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(saved.shape, saved.dtype)


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
