"""A device in one go: every figure that matters, the most important first.

A process of its own does the parts (`gpu_parts`), and this one imports no JAX: it notes
each row as it comes, starts anew after a crash or where nothing is heard, and ends it
when the time is up. So what was measured is there, whatever happens.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from deepfake_jax.benchmarks.report import format_number
from deepfake_jax.files import get_cache_dir, write_whole
from deepfake_jax.json_files import format_json

ROWS_NAME, TABLE_NAME = "gpu.jsonl", "gpu.md"
Part = Literal[
    "device",
    "correctness",
    "peer",
    "step",
    "loop",
    "dispatch",
    "memory",
    "more_steps",
    "train",
    "swap",
    "loader",
    "layers",
]
PART_NAMES: tuple[Part, ...] = get_args(Part)
_MOST_TRAINING = 3.0  # minutes
_TRAINING_SHARE = 0.35  # of the whole time, at most
# A part is given up after so many seconds without a row, or a share of the whole time.
_SILENCE, _SILENT_SHARE = 300.0, 0.1


@dataclass(frozen=True)
class GpuResult:
    """What `measure_gpu` found.

    Attributes:
        rows: figures by name; each row has its ``part`` and ``what`` it is of.
        failed: parts that ended early, and why.
        seconds: in all.
        out: the folder with gpu.jsonl and gpu.md.
    """

    rows: tuple[dict[str, Any], ...]
    failed: dict[str, str]
    seconds: float
    out: str


def measure_gpu(
    out: Path,
    *,
    minutes: float = 8.0,
    parts: Sequence[Part] = PART_NAMES,
    settings: Sequence[str] = (),
    batch_sizes: Sequence[int] = (64, 256),
    faces: dict[str, Path] | None = None,
    peer_python: Path | None = None,
) -> GpuResult:
    """Measures until the time is up, and writes each row as it comes.

    Args:
        out: folder; made if missing, and added to.
        minutes: for all of it.
        parts: which, of `PART_NAMES`.
        settings: of every config, as ``--set`` has them.
        batch_sizes: faces a step of each side.
        faces: face sets of "a" and "b", to train on.
        peer_python: one that has torch.
    """
    out.mkdir(parents=True, exist_ok=True)
    begin, end = time.time(), time.time() + 60 * minutes
    trains = bool(faces) and "train" in parts
    training = min(_MOST_TRAINING, _TRAINING_SHARE * minutes) if trains else 0.0
    judging = min(90.0, 20 * minutes)
    plan = {
        "out": str(out),
        "until": end - (60 * training + judging if trains else 0.0),
        "minutes": training,
        "settings": list(settings),
        "batch_sizes": list(batch_sizes),
        "faces": {side: str(path) for side, path in (faces or {}).items()},
        "peer_python": str(peer_python or _find_torch()),
    }
    silence = max(_SILENCE, _SILENT_SHARE * 60 * minutes)
    left, failed = list[str](parts), dict[str, str]()
    rows: list[dict[str, Any]] = []
    while left and time.time() < end:
        # Rows of the parts before the training end in time for it.
        for row in _run(plan, tuple(left), end, silence, failed):
            if "what" in row:
                rows.append(row)
                _note(out, rows)
            while left and left[0] != row["part"]:
                left.pop(0)
        left = left[1:]
    return GpuResult(tuple(rows), failed, round(time.time() - begin, 1), str(out))


def _find_torch() -> str:
    """This Python, if it has torch."""
    command = [sys.executable, "-c", "import torch"]
    return "" if subprocess.run(command, capture_output=True).returncode else command[0]


def _run(
    plan: dict[str, Any],
    parts: Sequence[str],
    end: float,
    silence: float,
    failed: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """The rows of one process; what its last part died of goes into `failed`."""
    # The peer needs a part of the memory, of which XLA would reserve most.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(get_cache_dir() / "xla")}
    environment = cache | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "deepfake_jax.benchmarks.gpu_parts"),
            *(json.dumps(plan), *parts),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # so that its peer ends with it
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    part = parts[0]
    try:
        while line := lines.get(timeout=max(0.1, min(silence, end - time.time()))):
            row = json.loads(line)
            part = row["part"]
            yield row
        if status := process.wait():
            failed[part] = f"ended with status {status}; its messages are above"
    except queue.Empty:
        late = time.time() >= end - 1
        failed[part] = "no time was left" if late else "nothing was heard of it"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            lines.put(line)
    lines.put("")


def _note(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Adds the last row to the file and to what is printed; the table is written."""
    with (out / ROWS_NAME).open("a", encoding="utf-8") as file:
        file.write(format_json(rows[-1]) + "\n")
    print(f"{rows[-1]['part']}: {describe_row(rows[-1])}", file=sys.stderr, flush=True)
    with write_whole(out / TABLE_NAME, overwrite=True) as path:
        path.write_text(format_gpu(rows, {}), encoding="utf-8")


def describe_row(row: dict[str, Any]) -> str:
    """A row as one line."""
    figures = {k: v for k, v in row.items() if k not in ("part", "what")}
    words = [f"{k.replace('_', ' ')} {format_number(v)}" for k, v in figures.items()]
    return f"{row['what']}: {', '.join(words)}"


def format_gpu(rows: Sequence[dict[str, Any]], failed: dict[str, str]) -> str:
    """All rows as Markdown, a list a part, and what failed."""
    lines = ["# benchmark gpu", ""]
    for part in dict.fromkeys(row["part"] for row in rows):
        lines += [f"## {part}", ""]
        lines += [f"- {describe_row(row)}" for row in rows if row["part"] == part]
        lines.append("")
    lines += [f"- {part} failed: {why}" for part, why in failed.items()]
    return "\n".join(lines).rstrip() + "\n"
