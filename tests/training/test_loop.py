"""The loop: bit-exact resume, safe stops, and what a run folder holds."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import filelock
import jax
import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.media.pictures import read_picture
from deepfake_jax.output_lock import OutputBusyError
from deepfake_jax.runs.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    restore_checkpoint,
)
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    LOCK_NAME,
    LOSSES_NAME,
    METRICS_NAME,
    PREVIEW_NAME,
    RunError,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import TrainConfig, config_to_yaml
from deepfake_jax.training.checkpoint_keeper import CheckpointKeeper
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.dispatches import steps_of_dispatch
from deepfake_jax.training.history import History
from deepfake_jax.training.loop import TrainResult, train
from deepfake_jax.training.processes import TrainingError
from deepfake_jax.training.progress_pictures import plot_losses
from deepfake_jax.training.session import start_session
from deepfake_jax.types import Side


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "faces a", 6),
        write_face_set(folder / "faces_b", 5, tint=(120, 160, 210)),
    )


def train_on(sets: tuple[Path, Path], run: Path, config: TrainConfig) -> TrainResult:
    return train(sets[0], sets[1], run, config, devices=1)


@pytest.fixture(scope="module")
def straight(sets, tmp_path_factory) -> Path:
    """A run of 30 steps that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    result = train_on(sets, run, tiny_config(steps=30))
    assert result.step == 30 and result.interrupted is None
    return run


def read_state(run: Path) -> list[np.ndarray]:
    restored = restore_checkpoint(run / CHECKPOINTS)
    assert restored is not None
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored.tree)]


def read_losses(run: Path) -> list[tuple[int, float, float]]:
    lines = read_metrics(run / METRICS_NAME)
    return [(line["step"], line["loss_a"], line["loss_b"]) for line in lines]


def assert_same_run(run: Path, other: Path) -> None:
    assert read_losses(run) == read_losses(other)
    for mine, theirs in zip(read_state(run), read_state(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_two_halves_are_the_whole_bit_for_bit(sets, straight, tmp_path):
    train_on(sets, tmp_path / "run", tiny_config(steps=13))
    train_on(sets, tmp_path / "run", tiny_config(steps=30))
    assert [step for step, _, _ in read_losses(straight)] == list(range(1, 31))
    assert_same_run(tmp_path / "run", straight)


def test_a_run_folder_holds_what_it_should(straight):
    lines = read_metrics(straight / METRICS_NAME)
    timing = {"images_per_second", "data_wait", "step_ms"}
    expected = {"step", "loss_a", "loss_b", "grad_norm", "skipped", "seconds"} | timing
    assert all(set(line) == expected for line in lines)
    # The first step compiles, and nothing is timed before it ends.
    assert all(lines[0][name] is None for name in timing)
    last = lines[-1]
    assert 0 <= last["data_wait"] <= 1
    # Two faces of each side a step.
    per_second = 4 / (last["step_ms"] / 1000)
    assert last["images_per_second"] == pytest.approx(per_second)
    assert lines[-1]["loss_a"] < lines[0]["loss_a"]
    assert list_checkpoints(straight / CHECKPOINTS) == [20, 30]
    # Three rows a side and up to seven faces a row.
    assert read_picture(straight / PREVIEW_NAME).shape[0] > 6 * 128
    assert read_picture(straight / LOSSES_NAME).ndim == 3
    assert not [path for path in straight.iterdir() if ".partial" in path.name]


def test_a_finished_run_is_left_as_it_is(sets, straight):
    before = read_state(straight)
    result = train_on(sets, straight, tiny_config(steps=30))
    assert result.step == 30
    assert np.isfinite([result.loss_a, result.loss_b]).all()
    for mine, theirs in zip(before, read_state(straight), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_workers_do_not_change_the_result(sets, straight, tmp_path):
    train_on(sets, tmp_path / "run", tiny_config(steps=30, workers=5))
    assert read_losses(tmp_path / "run") == read_losses(straight)


def start_training(sets, run: Path, config_path: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "deepfake_jax", "train", "--json"]
    command += ["--a", str(sets[0]), "--b", str(sets[1]), "--run", str(run)]
    return subprocess.Popen(
        [*command, "--config", str(config_path), "--devices", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        lines = read_metrics(run / METRICS_NAME)
        if lines and lines[-1]["step"] >= step:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError("training did not get that far in four minutes")


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_run_goes_on_as_if_nothing_was(sets, tmp_path, kind):
    config = tiny_config(steps=400)
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(config))
    run = tmp_path / "run"
    process = start_training(sets, run, path)
    wait_for_step(run, 27, process)
    process.send_signal(kind)
    out, err = process.communicate(timeout=120)
    reached = read_metrics(run / METRICS_NAME)[-1]["step"]
    assert reached < 400
    if kind == signal.SIGTERM:
        assert process.returncode == 0, err
        line = json.loads(out.splitlines()[-1])
        assert line["interrupted"] == "SIGTERM" and line["step"] >= 27
        assert Path(line["checkpoint"]) == checkpoint_path(
            run / CHECKPOINTS, line["step"]
        )
    else:
        assert list_checkpoints(run / CHECKPOINTS)[-1] % 10 == 0
    goal = reached + 10
    train_on(sets, run, replace(config, steps=goal))
    train_on(sets, tmp_path / "whole", replace(config, steps=goal))
    assert_same_run(run, tmp_path / "whole")


def test_a_damaged_checkpoint_costs_only_its_own_steps(
    sets, straight, tmp_path, caplog
):
    run = tmp_path / "run"
    train_on(sets, run, tiny_config(steps=25))
    newest = checkpoint_path(run / CHECKPOINTS, 25)
    file = max(newest.rglob("*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-9])
    train_on(sets, run, tiny_config(steps=30))
    assert "falling back to the checkpoint of step 20" in caplog.text
    assert_same_run(run, straight)


def test_another_network_is_refused(sets, straight):
    before = (straight / "config.yaml").read_text()
    with pytest.raises(RunError, match="width 8.*width 16"):
        train_on(sets, straight, tiny_config(steps=40, model={"width": 16}))
    assert (straight / "config.yaml").read_text() == before


def test_a_folder_of_something_else_is_refused(sets, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(RunError, match="not empty"):
        train_on(sets, tmp_path, tiny_config(steps=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_processes_cannot_train_one_run(sets, straight):
    with filelock.FileLock(straight / LOCK_NAME):
        with pytest.raises(OutputBusyError, match="another process"):
            train_on(sets, straight, tiny_config(steps=31))


def test_losses_that_are_no_numbers_stop_and_keep_the_last_good_state(sets, tmp_path):
    run = tmp_path / "run"
    train_on(sets, run, tiny_config(steps=10))
    broken = tiny_config(steps=60, optimizer={"learning_rate": 1e30})
    broken = replace(broken, optimizer=replace(broken.optimizer, ema_decay=0.9))
    # Step 11 is the last with a loss; its update leaves parameters of 1e30.
    with pytest.raises(
        TrainingError, match=r"20 steps in a row, up to step 31.*step 10"
    ):
        train_on(sets, run, broken)
    # Steps 20 and 30 had a state to save, but no better one than this.
    assert list_checkpoints(run / CHECKPOINTS) == [10]
    assert load_run(run).step == 10
    last = read_metrics(run / METRICS_NAME)[-1]
    assert (last["step"], last["loss_a"], last["skipped"]) == (31, None, 20)
    # The run goes on from the good state, and the broken lines are gone.
    result = train_on(sets, run, tiny_config(steps=12))
    assert (result.step, result.skipped) == (12, 0)
    plot_losses(read_metrics(run / METRICS_NAME), tmp_path / "loss.png")


def test_skipped_updates_are_counted_through_a_restart(sets, tmp_path):
    run = tmp_path / "run"
    broken = tiny_config(steps=5, optimizer={"learning_rate": 1e30, "ema_decay": 0.9})
    train_on(sets, run, replace(broken, steps=3))
    first = train_on(sets, run, broken)
    assert (first.step, first.skipped) == (5, 4) and np.isnan(first.loss_a)
    second = train_on(sets, run, replace(broken, steps=8))
    assert (second.step, second.skipped) == (8, 7)
    # No state of the row pushed another out.
    assert list_checkpoints(run / CHECKPOINTS) == [3, 5, 8]
    # Step 2 was the first of the row, two restarts ago.
    with pytest.raises(TrainingError, match="up to step 21"):
        train_on(sets, run, replace(broken, steps=40))


def test_steps_of_one_dispatch_are_the_same_steps(sets, straight, tmp_path):
    # 30 steps and a state every 10: dispatches of 4, 4, 1 and 1, three times over.
    config = tiny_config(steps=30, steps_per_dispatch=4)
    result = train_on(sets, tmp_path / "run", config)
    assert result.step == 30
    # To the bit with the loops that users have, see test_session. With conftest's, sums
    # of float32 in another order, which Adam's division by small gradients enlarges.
    mine, theirs = np.array(read_losses(tmp_path / "run")), read_losses(straight)
    assert len(mine) == len(theirs)
    np.testing.assert_allclose(mine[:10], theirs[:10], rtol=1e-3)
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6)
    assert list_checkpoints(tmp_path / "run" / CHECKPOINTS) == [20, 30]


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [
        ({"steps_per_dispatch": 8, "steps": 30}, 0, 8),
        ({"steps_per_dispatch": 8, "steps": 30}, 8, 1),  # a state is saved at 10
        ({"steps_per_dispatch": 8, "steps": 30}, 20, 8),
        ({"steps_per_dispatch": 8, "steps": 26}, 20, 1),
        ({"steps_per_dispatch": 8, "steps": 26}, 26, 0),
        ({"steps_per_dispatch": 8, "steps": 26}, 30, 0),
        ({"steps_per_dispatch": 8, "steps": None}, 30, 8),
        ({"steps_per_dispatch": 64, "steps": None}, 0, 1),
        ({"steps": 30}, 29, 1),
    ],
)
def test_dispatches_end_where_something_is_due(settings, step, expected):
    assert steps_of_dispatch(tiny_config(**settings), step) == expected


def test_minutes_end_a_run(sets, tmp_path):
    config = tiny_config(minutes=0.05, steps=None)
    result = train_on(sets, tmp_path / "run", config)
    assert result.step >= 1
    assert result.seconds >= 3
    again = train_on(sets, tmp_path / "run", config)
    assert again.step == result.step


def test_a_run_whose_time_ends_just_after_a_save_has_had_it(sets, tmp_path):
    """Else the same call would do another step."""

    class Hands(Clock):
        now = 59.9

        @property
        def seconds(self) -> float:
            return self.now

    config = tiny_config(minutes=1.0, steps=None)
    folders: dict[Side, Path] = {"a": sets[0], "b": sets[1]}
    with start_session(folders, tmp_path, config, devices=1) as session:
        clock = Hands(images_per_step=8)
        keeper = CheckpointKeeper(session, History(session, clock), clock)
        for clock.now in (59.9, 60.1, 61.0):
            keeper.save(0, session.state)
    restored = restore_checkpoint(tmp_path / CHECKPOINTS)
    assert restored is not None and restored.facts.seconds == 60.1


def test_colours_are_matched_and_remembered(sets, straight):
    shift = load_run(straight).facts.color_shift
    # B's tint is bluer than A's.
    assert shift[2] > 10 > shift[0]


def test_a_run_that_is_none_says_so(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        load_run(tmp_path / "none")
    with pytest.raises(RunError, match=r"config\.yaml"):
        load_run(tmp_path)
