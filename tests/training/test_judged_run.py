"""Runs with held-out faces: what is trained on, what is judged, and when they end."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.face_sets.face_set import read_record
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.runs.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    restore_checkpoint,
)
from deepfake_jax.runs.held_out import HELD_NAME, resume_split
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    BEST,
    CHECKPOINTS,
    LOSSES_NAME,
    METRICS_NAME,
    RunError,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.dispatches import steps_of_dispatch
from deepfake_jax.training.judging import is_judgement
from deepfake_jax.training.loop import TrainResult, train
from deepfake_jax.training.session import load_parameters, start_with
from deepfake_jax.training.state import init_state

Sets = tuple[Path, Path]


@pytest.fixture(scope="module", autouse=True)
def no_weights(tmp_path_factory) -> Iterator[None]:
    """Without SFace, which takes longer than all steps together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
        patch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Sets:
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "a", 40),
        write_face_set(folder / "b", 40, tint=(120, 160, 210)),
    )


def judged_config(**settings) -> TrainConfig:
    # A tiny step takes less time than judging does, which is to come all the same.
    often = {"holdout": 0.2, "judge_every": 3, "judge_share": 1e6}
    return tiny_config(
        **{"steps": 12, "checkpoint_every": 5, "keep": 9, **often, **settings}
    )


def train_on(sets: Sets, run: Path, config: TrainConfig, **more) -> TrainResult:
    return train(sets[0], sets[1], run, config, devices=1, **more)


@pytest.fixture(scope="module")
def straight(sets: Sets, tmp_path_factory) -> Path:
    """A judged run of 12 steps that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    train_on(sets, run, judged_config())
    return run


# Steps too small to improve anything. Four judgements, and four more.
FLAT = judged_config(
    optimizer={"learning_rate": 1e-9},
    until="plateau",
    judge_every=1,
    patience=4,
    steps=None,
)


@pytest.fixture(scope="module")
def flat(sets: Sets, straight: Path, tmp_path_factory) -> tuple[Path, TrainResult]:
    """A run that begins with the networks of `straight`, and cannot improve."""
    run = tmp_path_factory.mktemp("runs") / "flat"
    return run, train_on(sets, run, FLAT, init=straight, init_decoders=True)


def read_lines(run: Path, *, judged: bool) -> list[dict]:
    """The lines of a run without what a clock says."""
    clocks = {"seconds", "images_per_second", "data_wait", "step_ms"}
    return [
        {key: value for key, value in line.items() if key not in clocks}
        for line in read_metrics(run / METRICS_NAME)
        if is_judgement(line) == judged
    ]


def read_state(folder: Path) -> list[np.ndarray]:
    restored = restore_checkpoint(folder)
    assert restored is not None
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored.tree)]


def set_back(run: Path, to: Path) -> Path:
    """A copy of a run as a kill after the checkpoint of step 5 leaves it."""
    shutil.copytree(run, to)
    newest = list_checkpoints(to / CHECKPOINTS)[-1]
    for step in range(6, newest + 1):
        shutil.rmtree(checkpoint_path(to / CHECKPOINTS, step), ignore_errors=True)
    assert list_checkpoints(to / CHECKPOINTS) == [5]
    return to


def test_a_judged_run_has_figures_and_a_best_checkpoint(straight: Path):
    judged = read_lines(straight, judged=True)
    assert [line["step"] for line in judged] == [3, 6, 9, 12]
    names = {f"{name}_{side}" for name in ("mae", "psnr", "ssim") for side in "ab"}
    for name in ("sharpness", "drawn_sharpness"):
        names |= {f"{name}_a_to_b", f"{name}_b_to_a"}
    assert all(set(x) == {"step", "score", "interval", *names} for x in judged)
    assert [x["step"] for x in read_lines(straight, judged=False)] == list(range(1, 13))
    best = max(judged, key=lambda line: line["score"])
    assert list_checkpoints(straight / BEST) == [best["step"]]
    assert list_checkpoints(straight / CHECKPOINTS) == [5, 10, 12]
    assert load_run(straight).step == 12
    found = load_run(straight, checkpoint="best")
    assert found.step == best["step"]
    # A swap needs nothing of the optimizer; the color is that of the run.
    assert found.facts.color_shift == load_run(straight).facts.color_shift
    # Losses above, figures below.
    assert read_picture(straight / LOSSES_NAME).shape == (800, 700, 3)


def test_held_out_faces_and_those_beside_them_teach_nothing(sets, straight, tmp_path):
    changed = tmp_path / "a", tmp_path / "b"
    for side, old, new in zip("ab", sets, changed, strict=True):
        shutil.copytree(old, new)
        records = read_record(new)[1]
        split = resume_split(straight, side, records)
        assert len(split.held) == 8
        assert len(split.train) < len(records) - 8
        for index in set(range(len(records))) - set(split.train.tolist()):
            noise = np.random.default_rng(index).integers(0, 256, (256, 256, 3))
            path = new / records[index].file
            path.unlink()
            write_picture(path, noise.astype(np.uint8))
    run = set_back(straight, tmp_path / "run")
    train_on(changed, run, judged_config())
    assert read_lines(run, judged=False) == read_lines(straight, judged=False)
    states = read_state(run / "checkpoints"), read_state(straight / "checkpoints")
    for mine, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # They are what is judged: noise is redrawn worse.
    mine, theirs = (read_lines(r, judged=True) for r in (run, straight))
    assert mine[0] == theirs[0]  # before the checkpoint
    assert all(
        x["score"] < y["score"] for x, y in zip(mine[1:], theirs[1:], strict=True)
    )


def test_a_run_from_before_goes_on_without_holdout(sets, straight, tmp_path, caplog):
    run = set_back(straight, tmp_path / "run")
    shutil.rmtree(run / BEST)
    (run / HELD_NAME).unlink()
    lines = [x for x in read_metrics(run / METRICS_NAME) if not is_judgement(x)]
    (run / METRICS_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = train_on(sets, run, judged_config(until="plateau"))
    assert (result.step, result.best, result.plateau) == (12, None, None)
    # From where it goes on it trains on all faces.
    mine, theirs = (read_lines(r, judged=False) for r in (run, straight))
    assert mine[:5] == theirs[:5] and mine[5] != theirs[5]
    assert read_lines(run, judged=True) == []
    assert not (run / HELD_NAME).exists() and not (run / BEST).exists()
    assert "nobody sees whether the run improves" in caplog.text
    with pytest.raises(RunError, match="no best checkpoint"):
        load_run(run, checkpoint="best")


def test_a_plateau_ends_a_run_and_so_it_does_after_a_kill(sets, flat, tmp_path, caplog):
    run, result = flat
    assert (result.step, result.plateau, result.interrupted) == (8, 8, None)
    caplog.set_level("INFO")
    killed = set_back(run, tmp_path / "run")
    again = train_on(sets, killed, FLAT)
    assert (again.step, again.plateau, again.best) == (8, 8, result.best)
    assert caplog.text.count("has stopped improving") == 1
    for judged in (False, True):
        assert read_lines(killed, judged=judged) == read_lines(run, judged=judged)
    for name in ("checkpoints", "best"):
        states = read_state(killed / name), read_state(run / name)
        for mine, theirs in zip(*states, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    # Ended, it stays so, and has said so already.
    assert train_on(sets, killed, FLAT).step == 8
    assert caplog.text.count("has stopped improving") == 1


def test_dispatches_end_where_a_judgement_may_be_due():
    config = judged_config(steps_per_dispatch=2, steps=None, checkpoint_every=100)
    assert [steps_of_dispatch(config, step) for step in (0, 2, 3, 5)] == [2, 1, 2, 1]
    never = replace(config, judge_every=0)
    assert steps_of_dispatch(never, 2) == 2


@pytest.mark.parametrize("decoders", [False, True])
def test_another_runs_networks_are_taken_over(straight, tmp_path, decoders):
    config = judged_config()
    fresh = init_state(jax.random.key(config.seed), config)
    trained = load_run(straight).params.network
    start = load_parameters(tmp_path / "new", config, straight, decoders=decoders)
    state = start_with(fresh, start)
    expected = trained if decoders else replace(fresh.network, encoder=trained.encoder)
    assert state.ema is not None
    for network in (state.network, state.ema.network):
        pairs = map(jax.tree.leaves, (network, expected))
        for leaf, same in zip(*pairs, strict=True):
            np.testing.assert_array_equal(leaf, same)


def test_a_new_run_starts_where_another_is(sets, straight, flat, tmp_path, caplog):
    warm, cold = (read_lines(run, judged=False) for run in (flat[0], straight))
    assert warm[0]["loss_a"] < cold[0]["loss_a"]
    assert warm[0]["loss_b"] < cold[0]["loss_b"]
    # A run that goes on has its own.
    caplog.set_level("INFO")
    assert load_parameters(straight, judged_config(), flat[0], decoders=True) is None
    assert "--init is for new runs" in caplog.text
    wide = judged_config(model={"width": 16})
    with pytest.raises(RunError, match="width 8.*width 16"):
        train_on(sets, tmp_path / "wide", wide, init=straight)
    with pytest.raises(RunError, match="needs --init"):
        train_on(sets, tmp_path / "none", judged_config(), init_decoders=True)
