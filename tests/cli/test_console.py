"""Commands as a shell starts them: who listens, who ends them, what the disk holds."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from footage import tiny_config, write_face_set, write_pan

from deepfake_jax.train_config import config_to_yaml
from deepfake_jax.training.loop import train

COMMAND = [sys.executable, "-m", "deepfake_jax"]


def shell(line: str, *args: object) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which "$@" is the command; pipes fail with any part."""
    words = ["bash", "-o", "pipefail", "-c", line, "bash", *COMMAND, *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


def test_version():
    done = shell('"$@"', "--version")
    assert done.returncode == 0
    name, version = done.stdout.split()
    assert name == "deepfake-jax" and version[0].isdigit()


@pytest.mark.parametrize(
    "args", [["--help"], ["train", "--help"], ["benchmark", "--help"], ["doctor"]]
)
def test_a_reader_may_leave(args):
    # 4 kB at most are read, and the command's pipe holds less than its help.
    done = shell('"$@" | head -1', *args)
    assert done.returncode in (0, 1)  # 1: what the doctor found
    assert "Broken pipe" not in done.stderr and "Traceback" not in done.stderr


def test_a_reader_of_the_log_may_leave(tmp_path):
    folder = write_face_set(tmp_path / "a", 2)
    done = shell('"$@" 2>&1 | head -0; exit ${PIPESTATUS[0]}', "faces", folder)
    assert done.returncode == 0 and (folder / "sheet_worst.png").exists()


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_a_closed_stderr_changes_nothing(closed, tmp_path):
    folder = write_face_set(tmp_path / "a", 2)
    done = shell(f'"$@" {closed}', "faces", folder, "--json")
    assert done.returncode == 0 and '"faces": 2' in done.stdout
    done = shell(f'"$@" {closed}', "faces", tmp_path / "none", "--json")
    assert done.returncode == 1 and done.stdout == ""


def test_a_result_that_cannot_be_stored_is_an_error(tmp_path):
    folder = write_face_set(tmp_path / "a", 2)
    done = shell('"$@" >/dev/full', "faces", folder, "--json")
    assert done.returncode == 1 and "no space is left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """Words before a command that has a disk of 1 MB at ``tmp_path / "disk"``."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=1m none "{disk}"'
    own = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if not shutil.which("unshare") or subprocess.run([*own, mount]).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    return [*own, f'{mount} && cd "{disk}" && "$@"', "bash", *COMMAND]


@pytest.mark.usefixtures("detector_weights")
def test_a_full_disk_is_said_with_the_fix(small_disk, portrait, tmp_path):
    clip = write_pan(tmp_path / "clip.mp4", portrait)
    sets = [write_face_set(tmp_path / name, 6) for name in "ab"]
    config = tmp_path / "tiny.yaml"
    config.write_text(config_to_yaml(tiny_config(model={"width": 32}, steps=2)))
    commands: list[list[Any]] = [
        [
            "train",
            "--a",
            sets[0],
            "--b",
            sets[1],
            "--run",
            "r",
            "--config",
            config,
            "--devices",
            "1",
        ],
        ["extract", clip, "--out", "faces"],
    ]
    for command in commands:
        words = [*small_disk, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 1
        assert "free some space" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("detector_weights")
def test_a_closed_terminal_ends_a_conversion_and_leaves_nothing(portrait, tmp_path):
    clip = write_pan(tmp_path / "clip.mp4", portrait, frames=130, start=(0, 20))
    a, b = (write_face_set(tmp_path / name, 2) for name in "ab")
    train(a, b, tmp_path / "run", tiny_config(steps=1), devices=1)
    out = tmp_path / "out"
    out.mkdir()
    args = ["convert", clip, "--run", tmp_path / "run", "--out", out / "film.mp4"]
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list(out.glob(".film.*.mp4")):
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "interrupted by SIGHUP; nothing half-written" in errors
    assert not list(out.glob("*film*")) and not list(out.glob(".*.mp4"))


def test_a_signal_that_is_ignored_stays_so():
    code = (
        "import os, signal\n"
        "from deepfake_jax.cli.console import signals_interrupt\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals_interrupt():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "SIGTERM\n"), done.stderr
