"""Damaged lines of metrics.jsonl are passed over and kept apart; all others stay."""

import json
from pathlib import Path

import pytest

from deepfake_jax.runs.metrics_file import (
    DAMAGED_NAME,
    read_lines,
    read_metrics,
    truncate_metrics,
)

LINES = [
    {"step": 1, "loss_a": 0.5, "loss_b": None},
    {"step": 1, "score": -0.5, "interval": 1, "mae_a": 0.1, "mae_b": 0.1},
    {"step": 2, "loss_a": 0.25, "loss_b": 0.5},
]
DAMAGE = {
    "torn": b'{"step": 1, "lo\n',
    "no UTF-8": b'{"step": 1, "loss_a": 0.5, "loss_b": 0.5, "x": "\xff"}\n',
    "a number": b"7\n",
    "nothing": b"\n",
    "a changed step": b'{"stpe": 1, "loss_a": 0.5, "loss_b": 0.5}\n',
    "a changed loss": b'{"step": 1, "loss_a": 0.5, "olss_b": 0.5}\n',
    "a changed score": json.dumps(LINES[1]).replace("score", "csore").encode() + b"\n",
    "a changed interval": json.dumps(LINES[1]).replace("rval", "rvla").encode() + b"\n",
    "a changed identity": json.dumps(
        LINES[1] | {"identity_transfer_a_to_b": 0.5, "identity_trasnfer_b_to_a": 0.5}
    ).encode()
    + b"\n",
    "a text": b'{"step": "1", "loss_a": 0.5, "loss_b": 0.5}\n',
}


def write_lines(path: Path, *pieces: bytes) -> None:
    lines = [json.dumps(line).encode() + b"\n" for line in LINES]
    path.write_bytes(b"".join([*lines[:2], *pieces, lines[2]]))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_costs_no_other(tmp_path: Path, damage: bytes, caplog):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, damage)
    assert read_metrics(path) == LINES
    truncate_metrics(path, 1)
    assert read_metrics(path) == LINES[:2] == read_lines(path)
    assert (tmp_path / DAMAGED_NAME).read_bytes() == damage
    assert f"1 damaged lines are passed over and kept in {DAMAGED_NAME}" in caplog.text
    # A second time adds to what is kept.
    write_lines(path, damage, damage)
    truncate_metrics(path, 9)
    assert read_metrics(path) == LINES
    assert (tmp_path / DAMAGED_NAME).read_bytes() == 3 * damage


def test_a_last_line_cut_off_is_no_damage(tmp_path: Path, caplog):
    path = tmp_path / "metrics.jsonl"
    write_lines(path)
    with path.open("ab") as file:
        file.write(b'{"step": 3, "lo')
    truncate_metrics(path, 3)
    assert read_metrics(path) == LINES
    assert not (tmp_path / DAMAGED_NAME).exists() and not caplog.text


def test_a_line_taken_out_whole_is_missed_once(tmp_path: Path, caplog):
    path = tmp_path / "metrics.jsonl"
    write_lines(path)
    truncate_metrics(path, 9)  # which numbers those of earlier versions
    lines = path.read_bytes().splitlines(keepends=True)
    for out in (0, 1):
        caplog.clear()
        path.write_bytes(b"".join(lines[:out] + lines[out + 1 :]))
        truncate_metrics(path, 9)
        assert "1 lines between others are missing" in caplog.text
        caplog.clear()
        truncate_metrics(path, 9)
        assert not caplog.text
        assert read_metrics(path) == LINES[:out] + LINES[out + 1 :]
