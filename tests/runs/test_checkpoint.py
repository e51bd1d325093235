"""Checkpoints: whole or absent, verified, and the newest good one is found."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from networks import NO_FACTS

from deepfake_jax.json_files import line_check
from deepfake_jax.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    checkpoint_path,
    list_checkpoints,
    restore_checkpoint,
    save_best,
    save_checkpoint,
    verify_checkpoint,
)

FACTS = replace(NO_FACTS, seconds=1.5, losses={"a": 0.25, "b": 0.5})


def make_tree(value: float) -> dict:
    return {
        "step": jnp.asarray(3, jnp.int32),
        "params": {"kernel": jnp.full((300, 4), value), "bias": jnp.zeros(4)},
        "opt_state": {"count": jnp.asarray(7, jnp.int32)},
        "ema": None,
    }


def restore(folder: Path) -> Checkpoint:
    restored = restore_checkpoint(folder)
    assert restored is not None
    return restored


def largest_file(path: Path) -> Path:
    files = [file for file in (path / "state").rglob("*") if file.is_file()]
    return max(files, key=lambda file: file.stat().st_size)


def damage(path: Path) -> None:
    file = largest_file(path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))


def test_round_trip_is_exact(tmp_path):
    tree = make_tree(0.1)
    save_checkpoint(tmp_path, 3, tree, facts=FACTS)
    found = restore(tmp_path)
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(found.tree["params"][name], tree["params"][name])
    assert int(found.tree["opt_state"]["count"]) == 7
    assert found.tree["ema"] is None
    assert found.step == 3 and found.facts == FACTS


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 10, 9):
        save_checkpoint(tmp_path, step, make_tree(step), facts=FACTS, keep=2)
    assert list_checkpoints(tmp_path) == [9, 10]


def test_no_checkpoint_is_none(tmp_path):
    assert restore_checkpoint(tmp_path / "nothing") is None
    assert restore_checkpoint(tmp_path) is None


def test_damage_is_found_and_passed_over(tmp_path, caplog):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, make_tree(step), facts=FACTS)
    damage(checkpoint_path(tmp_path, 2))
    with pytest.raises(CheckpointError, match="damaged"):
        verify_checkpoint(checkpoint_path(tmp_path, 2))
    found = restore(tmp_path)
    assert found.step == 1
    assert float(found.tree["params"]["kernel"][0, 0]) == 1
    assert "falling back to the checkpoint of step 1" in caplog.text


@pytest.mark.parametrize("harm", ["manifest", "json", "file"])
def test_missing_parts_are_damage(tmp_path, harm):
    path = save_checkpoint(tmp_path, 1, make_tree(1), facts=FACTS)
    if harm == "manifest":
        (path / "manifest.json").unlink()
    elif harm == "json":
        (path / "manifest.json").write_text("{")
    else:
        largest_file(path).unlink()
    with pytest.raises(CheckpointError, match="Nothing was changed"):
        restore_checkpoint(tmp_path)
    assert path.exists()


def test_an_unfinished_save_is_not_a_checkpoint(tmp_path):
    save_checkpoint(tmp_path, 1, make_tree(1), facts=FACTS)
    leftover = tmp_path / ".00000002.partial"
    leftover.mkdir()
    (leftover / "manifest.json").write_text(json.dumps({"step": 2}))
    assert list_checkpoints(tmp_path) == [1]
    save_checkpoint(tmp_path, 2, make_tree(2), facts=FACTS)
    assert list_checkpoints(tmp_path) == [1, 2]
    assert not leftover.exists()


class Lost:
    """An array that cannot be had from its device."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise OSError("lost")


def test_a_failed_save_leaves_the_earlier_ones(tmp_path):
    save_checkpoint(tmp_path, 1, make_tree(1), facts=FACTS)
    with pytest.raises(OSError, match="lost"):
        save_checkpoint(tmp_path, 2, {"kernel": Lost()}, facts=FACTS)
    assert list_checkpoints(tmp_path) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_the_best_replaces_all_others(tmp_path):
    for step in (5, 9, 7):
        path = save_best(
            tmp_path, step, make_tree(step), facts=replace(FACTS, score=0.5)
        )
        assert list_checkpoints(tmp_path) == [step]
        assert path == checkpoint_path(tmp_path, step)
    assert restore(tmp_path).facts.score == 0.5


def test_a_better_state_is_not_replaced(tmp_path, caplog):
    save_best(tmp_path, 5, make_tree(5), facts=replace(FACTS, score=0.5))
    path = save_best(tmp_path, 9, make_tree(9), facts=replace(FACTS, score=0.4))
    assert path == checkpoint_path(tmp_path, 5) and list_checkpoints(tmp_path) == [5]
    assert "step 5 has a better score" in caplog.text
    damage(path)
    save_best(tmp_path, 9, make_tree(9), facts=replace(FACTS, score=0.4))
    assert list_checkpoints(tmp_path) == [9]


def test_damaged_checkpoints_push_no_good_one_out(tmp_path, caplog):
    for step in (300, 500, 1000, 1500):
        save_checkpoint(tmp_path, step, make_tree(step), facts=FACTS, keep=4)
    damage(checkpoint_path(tmp_path, 1000))
    (checkpoint_path(tmp_path, 1500) / "manifest.json").unlink()
    assert restore(tmp_path).step == 500
    save_checkpoint(tmp_path, 700, make_tree(700), facts=FACTS, keep=2)
    assert list_checkpoints(tmp_path) == [500, 700]
    assert {path.name for path in tmp_path.glob("*.damaged")} == {
        "00001000.damaged",
        "00001500.damaged",
    }
    assert "damaged checkpoint set aside" in caplog.text
    # Damaged once more, at the same step.
    damage(save_checkpoint(tmp_path, 1000, make_tree(1), facts=FACTS, keep=2))
    save_checkpoint(tmp_path, 1100, make_tree(2), facts=FACTS, keep=2)
    assert list_checkpoints(tmp_path) == [700, 1100]
    assert (tmp_path / "00001000.damaged1").is_dir()


@pytest.mark.parametrize(
    "change",
    [
        ('"seconds"', '"secnods"'),
        ('"seconds": 1.5', '"seconds": 1.25'),
        ('"step": 2', '"step": 3'),
        ('"check"', '"chekc"'),
    ],
)
@pytest.mark.parametrize("version", ["new", "old"])
def test_a_changed_manifest_falls_back(tmp_path, caplog, change, version):
    for step in (1, 2):
        path = save_checkpoint(tmp_path, step, make_tree(step), facts=FACTS)
        if version == "old":  # without a sum of its own, it still loads
            write_manifest(path, lambda text: text.replace(',\n "check"', ', "x"'))
            write_manifest(path, lambda text: text[: text.index(', "x"')] + "\n}\n")
    assert restore(tmp_path).step == 2
    write_manifest(path, lambda text: text.replace(*change))
    # An old one cannot tell that a value has changed, nor has it a sum.
    seen = version == "new" or change[0] in ('"seconds"', '"step": 2')
    assert restore(tmp_path).step == (1 if seen else 2)
    assert ("falling back to the checkpoint of step 1" in caplog.text) == seen


def write_manifest(path: Path, change: Callable[[str], str]) -> None:
    file = path / "manifest.json"
    file.write_text(change(file.read_text()))


def test_what_the_user_put_into_a_checkpoint_is_not_removed(tmp_path, caplog):
    for step in (1, 2, 3):
        path = save_checkpoint(tmp_path, step, make_tree(step), facts=FACTS, keep=1)
        (path / "notes.txt").write_text(f"of {step}")
    assert list_checkpoints(tmp_path) == [1, 2, 3] and "notes.txt" in caplog.text
    save_checkpoint(tmp_path, 3, make_tree(3), facts=FACTS, keep=3)
    assert restore(tmp_path).step == 3
    assert (tmp_path / "00000003.damaged" / "notes.txt").read_text() == "of 3"


@pytest.mark.parametrize("name", ["/dev/zero", "../../outside", "state/link"])
def test_a_manifest_leads_nowhere_else(tmp_path, name):
    """It may come from a stranger, sums and all."""
    save_checkpoint(tmp_path, 1, {"x": np.ones(3)}, facts=FACTS)
    path = checkpoint_path(tmp_path, 1)
    (tmp_path / "outside").write_bytes(b"")
    (path / "state" / "link").symlink_to("/dev/zero")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(b"").hexdigest()
    manifest["check"] = line_check(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="outside of it|no regular file"):
        restore_checkpoint(tmp_path)
