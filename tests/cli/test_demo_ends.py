"""The demo ended at any stage: in words, an earlier one stays, the next one is whole.

Its clips are cut and its network small, as a program that calls the console command
with both does.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from videos import convert as copy_frames

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.faces.pinned_files import AssetError

_PROGRAM = """
import logging, sys
from pathlib import Path
from deepfake_jax.cli import demo
from deepfake_jax.cli.main import main
folder = Path(sys.argv[1])
demo.get_sample = lambda name: folder / f"{name}.mp4"
demo._PRESET, demo._PARTS = "lite", {"a": ("", ""), "b": ("", "")}
logging.getLogger().handlers.clear()  # of libraries that were imported
main(["demo", "--out", str(folder / "demo"), "--minutes", sys.argv[2]])
"""
# What is there once a stage of a new demo has begun.
_STAGES: dict[str, Callable[[Path], bool]] = {
    "extract": lambda out: any(out.glob(".faces_a.*")) or (out / "faces_a").exists(),
    "train": lambda out: (out / "run" / "loss.png").exists(),
}


@pytest.fixture(scope="module")
def folder(detector_weights: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    for name in ("carphone", "crying_woman"):
        try:
            clip = get_sample(name)
        except AssetError as error:
            pytest.skip(f"no sample clip: {error}")
        copy_frames(clip, folder / f"{name}.mp4", end=0.8)
    return folder


def start(folder: Path, minutes: str = "0.01") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _PROGRAM, str(folder), minutes]
    return subprocess.Popen(words, stdout=-1, stderr=-1, text=True)


def end_at(folder: Path, stage: str, number: int) -> tuple[int, str]:
    """Ends a demo by a signal once a stage has begun: status, and what it said."""
    running = start(folder, "60" if stage == "train" else "0.001")
    until = time.monotonic() + 300
    out = folder / "demo"
    while running.poll() is None and (
        (out / "report.json").exists() or not _STAGES[stage](out)
    ):
        assert time.monotonic() < until, stage
        time.sleep(0.002)
    running.send_signal(number)
    _, errors = running.communicate(timeout=300)
    return running.returncode, errors


def list_odd(folder: Path) -> list[str]:
    """What lies beside the demo and is none of it."""
    known = {"demo", "carphone.mp4", "crying_woman.mp4"}
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def read_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


def test_a_demo_is_whole_or_the_earlier_one_is_there(folder: Path):
    out = folder / "demo"
    status, errors = end_at(folder, "extract", signal.SIGTERM)
    assert status == 1 and "Traceback" not in errors, errors
    assert "interrupted by SIGTERM; the same command begins anew" in errors
    assert not list_odd(folder) and not (out / "report.json").exists()
    running = start(folder)
    while not (out / "run").exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGSTOP)
    # Another process neither clears the folder nor writes into it.
    second = start(folder)
    assert "another process (" in second.communicate(timeout=300)[1]
    assert second.returncode == 1
    running.send_signal(signal.SIGCONT)
    assert running.wait(timeout=300) == 0
    whole = read_times(out)
    assert {"report.json", "a_to_b.mp4", "b_to_a.mp4"} <= whole.keys()
    assert json.loads((out / "report.json").read_text())["train"]["step"] >= 1
    # From here on that is what stays when a new demo does not come to its end.
    # A kill leaves it beside; the next try that ends, by whatever, puts it back.
    assert end_at(folder, "extract", signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (out / "report.json").exists()
    status, errors = end_at(folder, "train", signal.SIGTERM)
    assert status == 1 and "stopped by SIGTERM while training" in errors, errors
    assert "Traceback" not in errors
    assert read_times(out) == whole and not list_odd(folder)
