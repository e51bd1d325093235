"""Every benchmark of a device, each in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.benchmarks.report import format_number


@dataclass(frozen=True)
class TableResult:
    """What `run_parts` found.

    Attributes:
        results: of each part that ran, by name, as its own ``--json`` prints it.
        failed: parts that did not, and why or with which status.
    """

    results: dict[str, dict[str, Any]]
    failed: dict[str, str]


def plan_parts(
    flags: list[str], *, steps: int | None = None, python: Path | None = None
) -> dict[str, list[str]]:
    """The command lines of a whole table, by part: `benchmark`'s arguments.

    Args:
        flags: for every part but the loader: preset, settings, batch size.
        steps: timed; by default 100 on an accelerator and 5 on a CPU.
        python: one that has torch, for the peer; by default this process's.
    """
    on_cpu = _run_python("import jax; print(jax.default_backend())") == "cpu"
    steps = steps or (5 if on_cpu else 100)
    count = ["--steps", str(max(steps, 2))]
    parts = {}
    for what in ("step", "train"):
        for precision in ("float32", "bfloat16"):
            as_type = ["--precision", precision]
            parts[f"{what} {precision}"] = [what, *flags, *as_type, *count]
    parts["loader"] = ["loader"]
    if not on_cpu:  # where it takes minutes, and the choice is made
        parts["layers bfloat16"] = ["layers", *flags, "--precision", "bfloat16"]
    peer = ["--peer-python", str(python or sys.executable)]
    parts["ratio"] = ["ratio", *flags, *count, *peer]
    return parts


def run_parts(parts: dict[str, list[str]], *, out: Path | None = None) -> TableResult:
    """Runs each part in a process of its own, the ratio only where torch is there.

    Processes of their own keep one part's memory, caches and failures from the next.

    Args:
        parts: from `plan_parts`.
        out: file to which each result is added as it comes, one JSON object a line.
    """
    results: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for name, args in parts.items():
        python = args[-1]
        if name == "ratio" and _run_python("import torch; print(1)", python) != "1":
            failed[name] = f"left out: {python} cannot import torch (--peer-python)"
            continue
        command = [sys.executable, "-m", "deepfake_jax", "benchmark", *args, "--json"]
        print(f"-- {name}: {' '.join(args)}", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            failed[name] = f"status {done.returncode}; its messages are on stderr"
            continue
        results[name] = json.loads(done.stdout.splitlines()[-1])
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"part": name, **results[name]}) + "\n")
                file.flush()
                os.fsync(file.fileno())
    return TableResult(results, failed)


def _run_python(code: str, python: str = sys.executable) -> str:
    """The last word that a line of Python prints, empty if it fails."""
    command = [python, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    words = done.stdout.split()
    return words[-1] if words and done.returncode == 0 else ""


# Of each part, what the table of a device shows.
_COLUMNS = {
    "step": (
        *("images_per_second", "step_ms", "compile_seconds", "tflops"),
        *("share_of_peak", "share_of_matmul", "peak_memory_mb"),
        "device_peak_memory_mb",
    ),
    "loader": (
        *("faces_per_second", "faces_per_second_per_core", "ratio"),
        "cores_for_a_3_ms_step",
    ),
    "train": (
        *("step_only_images_per_second", "end_to_end_images_per_second", "ratio"),
        "data_wait",
    ),
    "layers": ("milliseconds", "chosen"),
    "ratio": (
        *("ratio_float32", "peer_best_float32", "ratio_bfloat16", "peer_best"),
        *("images_per_second", "failed"),
    ),
}


def format_table(table: TableResult) -> str:
    """A line a part and figure, and what failed."""
    rows: list[tuple[str, str, str]] = []
    for name, result in table.results.items():
        for key in _COLUMNS[name.split()[0]]:
            value = result[key]
            if isinstance(value, dict):
                rows += [
                    (name, f"{key}: {k}", format_number(v)) for k, v in value.items()
                ]
            else:
                rows.append((name, key.replace("_", " "), format_number(value)))
    rows += [(name, "failed", text) for name, text in table.failed.items()]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
    for result in list(table.results.values())[:1]:
        versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        lines.append(f"{result['device']}; commit {result['commit']}; {versions}")
    return "\n".join(lines)
