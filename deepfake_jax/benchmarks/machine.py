"""Where a benchmark ran: device, versions, commit, command, memory and peak rates."""

import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from deepfake_jax.version import find_version

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "opencv-python", "deepfake-jax")

# Dense matrix rates, TFLOP/s, of (bfloat16, float32). float32 is what JAX's default
# precision runs there: TF32 on NVIDIA from Ampere on, one bfloat16 pass on a TPU. Where
# a device has no bfloat16 units, None. From NVIDIA's data sheets (half of the figures
# given "with sparsity"; GeForce: Ada whitepaper, appendix A, FP32 accumulation) and
# Google's Cloud TPU pages. The first pattern that is found in `device_kind` counts.
PEAK_TFLOPS: tuple[tuple[str, float | None, float | None], ...] = (
    (r"H100 PCIe", 756.0, 378.0),
    (r"H100|H200|GH200", 989.4, 494.7),
    (r"A100", 312.0, 156.0),
    (r"\bL4\b", 121.0, 60.0),
    (r"\bT4\b", None, 8.1),
    (r"V100", None, 15.7),
    (r"RTX 4090", 165.2, 82.6),
    (r"TPU v4", 275.0, 275.0),
    (r"TPU v5 ?lite|TPU v5e", 197.0, 197.0),
    (r"TPU v5", 459.0, 459.0),
    (r"TPU v6 ?lite|TPU v6e", 918.0, 918.0),
)


@dataclass(frozen=True)
class Machine:
    """What a result needs beside it to be read later.

    Attributes:
        device: the accelerator's or processor's name.
        platform: JAX's: cpu, gpu or tpu.
        device_count: devices of this process.
        cores: processor cores that this process may use.
        versions: Python and packages, by name.
        commit: of the checkout, with ``+`` if it has changes; None outside of one.
        command: the command line.
    """

    device: str
    platform: str
    device_count: int
    cores: int
    versions: dict[str, str]
    commit: str | None
    command: str


def describe_machine() -> Machine:
    """Looks at this process, its devices and its checkout."""
    device = jax.devices()[0]
    is_cpu = device.platform == "cpu"
    return Machine(
        device=cpu_name() if is_cpu else device.device_kind,
        platform=device.platform,
        device_count=jax.local_device_count(),
        cores=count_cores(),
        versions=_read_versions(),
        commit=find_commit(),
        command=shlex.join(["deepfake-jax", *sys.argv[1:]]),
    )


def _read_versions() -> dict[str, str]:
    found = {name: version for name in _PACKAGES if (version := find_version(name))}
    return {"python": platform.python_version(), **found}


def count_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as its system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def find_commit(folder: Path | None = None) -> str | None:
    """The commit of a checkout, by default this package's, short; None without one."""
    folder = folder or Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():  # never that of a folder around site-packages
        return None

    def git(*args: str) -> str:
        command = ["git", "-C", str(folder), *args]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def device_peak_memory_mb() -> float | None:
    """The most that any device's allocator has held so far, MB; None if it says none.

    JAX's allocator keeps no such figure on a CPU.
    """
    peaks = []
    for device in jax.local_devices():
        stats: dict[str, Any] = device.memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            peaks.append(stats["peak_bytes_in_use"] / 1e6)
    return max(peaks, default=None)


def peak_tflops(device: str, precision: str) -> float | None:
    """A device's data-sheet rate at matrix products; None if it is not in the table."""
    for pattern, bfloat16, float32 in PEAK_TFLOPS:
        if re.search(pattern, device):
            return bfloat16 if precision == "bfloat16" else float32
    return None
