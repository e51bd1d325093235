"""A GPU in one go, here on a CPU at a tiny width: rows as they come, whatever fails."""

import json
import time
from pathlib import Path

from deepfake_jax.benchmarks.gpu import PART_NAMES, measure_gpu
from deepfake_jax.benchmarks.gpu_parts import PARTS, Plan
from deepfake_jax.cli.main import run_command

TINY = {"settings": ["model.width=8"], "batch_sizes": [2]}


def test_parts_have_one_order():
    assert tuple(PARTS) == PART_NAMES


def test_the_first_batch_size_beats_set():
    plan = Plan("out", 0.0, 0.0, settings=("batch_size=1",), batch_sizes=(2, 4))
    assert plan.config("lite").batch_size == 2
    assert plan.config("lite", 4).batch_size == 4


def test_half_a_minute_on_a_cpu(tmp_path: Path, capsys):
    flags = ["--set", "model.width=8", "--batch-sizes", "2", "--minutes", "0.5"]
    parts = ["device", "correctness", "dispatch"]
    out = tmp_path / "gpu"
    args = ["benchmark", "gpu", "--out", str(out), *flags, "--json", "--parts", *parts]
    assert run_command(args) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["seconds"] < 60
    rows = [json.loads(line) for line in (out / "gpu.jsonl").read_text().splitlines()]
    assert rows == result["rows"]
    assert [row["what"] for row in rows][:2] == ["machine", "float32"]
    # The same device twice: any difference would be the measurement's own.
    assert rows[1]["largest_relative_difference"] < 1e-5
    assert rows[1]["last_loss"] < rows[1]["first_loss"]
    assert "## correctness" in (out / "gpu.md").read_text()


def test_the_whole_table_of_a_device(tmp_path: Path, monkeypatch, capsys):
    parts = ["device", "loader", "layers"]
    flags = ["--set", "model.width=8", "--batch-sizes", "2", "--parts", *parts]
    args = ["benchmark", "all", "--out", str(tmp_path / "all"), *flags]
    assert run_command(args) == 0
    table = capsys.readouterr().out
    assert "faces per second per core" in table and "left out" in table
    assert (tmp_path / "all" / "gpu.md").read_text().strip() == table.strip()
    assert "failed" not in table


def test_a_part_that_dies_leaves_the_others(tmp_path: Path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    parts = ("peer", "memory")
    found = measure_gpu(tmp_path, minutes=1.0, parts=parts, peer_python=script, **TINY)
    assert "status 1" in found.failed["peer"]
    plain, remat = (row for row in found.rows if row["part"] == "memory")
    assert plain["temporary_mb"] > 0 and remat["what"].endswith("remat")


def test_time_that_is_up_ends_it(tmp_path: Path):
    sleeper = tmp_path / "python"
    alive = tmp_path / "alive"
    sleeper.write_text(f"#!/bin/sh\nwhile sleep 0.1; do date >> '{alive}'; done\n")
    sleeper.chmod(0o755)
    parts = ("device", "peer", "memory")
    found = measure_gpu(tmp_path, minutes=0.3, parts=parts, peer_python=sleeper, **TINY)
    assert found.seconds < 30
    assert [row["part"] for row in found.rows] == ["device"]
    assert found.failed == {"peer": "no time was left"}
    written = alive.read_text()
    time.sleep(0.5)
    assert alive.read_text() == written  # the peer's process has ended, too
