"""How a session starts: what is refused changes nothing, what is changed goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    CONFIG_NAME,
    METRICS_NAME,
    RunError,
    list_changes,
)
from deepfake_jax.train_config import ConfigError, TrainConfig
from deepfake_jax.training.ending import stop_signals
from deepfake_jax.training.loop import TrainResult, train

Sets = tuple[Path, Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Sets:
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "a", 6),
        write_face_set(folder / "b", 5, tint=(120, 160, 210)),
    )


def with_optimizer(steps: int, **settings: Any) -> TrainConfig:
    config = tiny_config(steps=steps)
    return replace(config, optimizer=replace(config.optimizer, **settings))


def train_on(sets: Sets, run: Path, config: TrainConfig) -> TrainResult:
    return train(sets[0], sets[1], run, config, devices=1)


def read_losses(run: Path) -> list[tuple[float, float]]:
    lines = read_metrics(run / METRICS_NAME)
    return [(line["loss_a"], line["loss_b"]) for line in lines]


def read_folder(run: Path) -> dict[str, bytes]:
    """All files of a run but its pictures."""
    files = (path for path in run.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix != ".png"}


def test_clipping_comes_to_a_run_and_leaves_it_to_the_bit(sets, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    # Gradients are far smaller: nothing is clipped, and the moments must go on.
    for steps, norm in ((2, 0.0), (4, 1e6), (6, 0.0)):
        train_on(sets, run, with_optimizer(steps, clip_norm=norm))
    train_on(sets, whole, with_optimizer(6))
    assert read_losses(run) == read_losses(whole)
    # Such as the advice after skipped updates.
    train_on(sets, run, with_optimizer(7, clip_norm=1e-3))
    assert len(read_losses(run)) == 7


def test_muon_goes_on_to_the_bit_and_a_run_may_change_to_it(sets, tmp_path, caplog):
    halves, whole, changed = (tmp_path / name for name in ("two", "one", "changed"))
    for steps in (2, 4):
        train_on(sets, halves, with_optimizer(steps, name="muon"))
        train_on(
            sets, changed, with_optimizer(steps, name="muon" if steps > 2 else "adam")
        )
    train_on(sets, whole, with_optimizer(4, name="muon"))
    assert read_losses(halves) == read_losses(whole)
    assert "going on with optimizer.name muon instead of adam" in caplog.text
    assert len(read_losses(changed)) == 4
    assert read_losses(changed)[-1] != read_losses(whole)[-1]


def test_changed_settings_are_named_and_a_longer_run_is_none(sets, tmp_path, caplog):
    run = tmp_path / "run"
    train_on(sets, run, with_optimizer(1))
    train_on(sets, run, with_optimizer(2))
    assert "going on with" not in caplog.text
    train_on(sets, run, replace(with_optimizer(3, b1=0.6), batch_size=4))
    told = "going on with optimizer.b1 0.6 instead of 0.5, batch_size 4 instead of 2"
    assert told in caplog.text
    assert list_changes(with_optimizer(1), with_optimizer(9)) == []


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({"model": {"width": 16}}, RunError, "width 8.*width 16"),
        ({"loss": {"swap_weight": 1.0}}, ConfigError, "with a teacher's"),
        ({"batch_size": 3}, ConfigError, "split evenly"),
    ],
)
def test_what_is_refused_leaves_a_run_as_it_was(sets, tmp_path, settings, error, words):
    run = tmp_path / "run"
    train_on(sets, run, tiny_config(steps=1))
    before = read_folder(run)
    with pytest.raises(error, match=words):
        train(sets[0], sets[1], run, tiny_config(steps=2, **settings), devices=2)
    assert read_folder(run) == before


def test_damaged_checkpoints_leave_the_config_as_it_was(sets, tmp_path):
    run = tmp_path / "run"
    train_on(sets, run, tiny_config(steps=1))
    for path in (run / CHECKPOINTS).rglob("manifest.json"):
        path.write_text("{}")
    before = (run / CONFIG_NAME).read_bytes()
    with pytest.raises(Exception, match="no checkpoint of this run is good"):
        train_on(sets, run, with_optimizer(2, b1=0.7))
    assert (run / CONFIG_NAME).read_bytes() == before


def test_a_start_that_fails_leaves_nothing(sets, tmp_path):
    run, config = tmp_path / "new" / "run", tiny_config(steps=1)
    with pytest.raises(RunError, match="no such folder"):
        train(sets[0], sets[1], run, config, devices=1, init=tmp_path / "missing")
    with pytest.raises(RunError, match="needs --init"):
        train(sets[0], sets[1], run, config, devices=1, init_decoders=True)
    assert not run.exists()


# Signals


def send_when(number: int, is_time: Callable[[], bool]) -> threading.Thread:
    """Sends a signal to this process once something is so."""

    def wait() -> None:
        end = time.monotonic() + 240
        while not is_time() and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_closed_terminal_ends_a_run_as_ctrl_c_does(sets, tmp_path):
    run = tmp_path / "run"
    # Under nohup it would be ignored, and the run would not end.
    earlier = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    thread = send_when(signal.SIGHUP, lambda: (run / "loss.png").exists())
    config = tiny_config(steps=10**6, preview_seconds=0.01)
    result = train_on(sets, run, config)
    thread.join()
    signal.signal(signal.SIGHUP, earlier)
    assert result.interrupted == "SIGHUP" and result.step < 10**6
    assert list_checkpoints(run / CHECKPOINTS)[-1] == result.step


def test_an_ignored_sighup_stays_ignored():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.number == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.number == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_a_signal_while_a_run_starts_ends_it_at_once(sets, tmp_path):
    run = tmp_path / "run"
    # The lock is the first thing of a run, long before all is read and measured.
    thread = send_when(signal.SIGINT, run.exists)
    with pytest.raises(KeyboardInterrupt):
        train_on(sets, run, tiny_config(steps=3, model={"width": 10}))
    thread.join()
    assert not run.exists()


# As users run it


def test_a_run_is_the_same_with_the_compilers_real_flags(sets, tmp_path):
    """The suite turns XLA's optimizer off; nobody who trains does."""
    code = (
        "import sys; from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from deepfake_jax.train_config import load_preset\n"
        "from deepfake_jax.training.loop import train\n"
        "a, b, out = map(Path, sys.argv[1:])\n"
        "config = load_preset('lite')\n"
        "config = replace(config, model=replace(config.model, width=8), batch_size=4,\n"
        "                 optimizer=replace(config.optimizer, warmup_steps=0),\n"
        "                 log_every=1, judge_every=0)\n"
        "for run, steps in (('halves', 20), ('halves', 40), ('whole', 40)):\n"
        "    train(a, b, out / run, replace(config, steps=steps))\n"
        "config = replace(config, steps=40, steps_per_dispatch=7)\n"
        "train(a, b, out / 'stacked', config)\n"
    )
    env = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, (*sets, tmp_path))],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    halves, whole, stacked = (
        read_losses(tmp_path / run) for run in ("halves", "whole", "stacked")
    )
    assert len(whole) == 40 and halves == whole == stacked
    assert np.mean(whole[-10:]) < 0.9 * np.mean(whole[:10])
