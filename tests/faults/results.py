"""What a command left, as values that are equal where nothing went wrong."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from deepfake_jax.media.sources import list_sources, read_source
from deepfake_jax.runs.checkpoint import restore_checkpoint

_TIMES = {"seconds", "images_per_second", "data_wait", "step_ms", "check"}
_SETS = ("faces", "person_1", "person_2")
_PICTURES = {"preview.png", "loss.png"}  # which show times, too
_BY_THE_CLOCK = "demo"  # a folder whose steps and figures the clock decides


def read_results(folder: Path, results: Sequence[str]) -> dict[str, str]:
    """What results hold, hidden files included, without times of the clock.

    A picture that shows such is only there or not.
    """
    found: dict[str, str] = {}
    for name in results:
        root = folder / name
        unsure = root.name == _BY_THE_CLOCK
        paths = sorted(root.glob("*" if unsure else "**/*")) or [root]
        for path in paths:
            # A repair keeps the record that it found: one more each time.
            spare = "state" in path.parts or ".before" in path.name
            if path.is_file() and not spare:
                known = "there" if unsure else _read(path)
                found[os.path.relpath(path, folder)] = known
    return found


def tell_difference(name: str, found: str | None, wanted: str | None) -> str:
    """How a result differs from the one that was wanted; of films, in which frames."""
    if found is None or wanted is None:
        return f"{name}: {'none' if found is None else 'one'} was found"
    ours, theirs = found.split(), wanted.split()
    if not name.endswith(".mp4") or len(ours) != len(theirs):
        return f"{name}: {found[:40]} for {wanted[:40]}"
    odd = [
        str(i)
        for i, pair in enumerate(zip(ours, theirs, strict=True))
        if len(set(pair)) > 1
    ]
    return f"{name}: frames {', '.join(odd)} of {len(ours)}"


def _read(path: Path) -> str:
    if path.name in _PICTURES:
        return "a picture"
    if path.name == ".lock":
        return "a lock"
    data = path.read_bytes()
    if path.name == "metrics.jsonl":
        lines = [json.loads(line) for line in data.splitlines()]
        return str(
            [{k: v for k, v in line.items() if k not in _TIMES} for line in lines]
        )
    if path.name == "manifest.json":
        values = json.loads(data)
        extra = {k: v for k, v in values["extra"].items() if k not in _TIMES}
        return str((values["step"], extra, _hash_state(path.parent)))
    if path.parent.name not in _SETS and path.suffix in (".mp4", ".jpg", ".png"):
        # Each output is signed with its own time and number.
        shown = [
            hashlib.sha256(timed.frame.tobytes() + str(timed.time).encode())
            for source in list_sources([path])
            for timed in read_source(source)
        ]
        return " ".join(total.hexdigest()[:16] for total in shown)
    if path.suffix == ".json":
        values = json.loads(data)
        for session in values.get("trained", ()):  # a run's card
            del session["time"]
        return str({k: v for k, v in values.items() if k != "credential"})
    if path.name == "signing.pem":
        return "a key" if data.count(b"-----END") == 3 else data.decode()
    return hashlib.sha256(data).hexdigest()


def _hash_state(path: Path) -> str:
    """Of a checkpoint's arrays: its files differ each time."""
    restored = restore_checkpoint(path.parent, step=int(path.name))
    assert restored is not None
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(restored.tree):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()


def list_hidden(folder: Path) -> list[str]:
    """Hidden files that a job left, beside and inside of its results."""
    return [
        os.path.relpath(path, folder)
        for path in folder.rglob(".*")
        if path.name != ".lock" or path.parent.name not in ("run", "small")
    ]
