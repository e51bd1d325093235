"""Runs of networks that draw masks: every loss at once, two sizes, resume, swaps."""

from pathlib import Path

import numpy as np
import pytest
from footage import write_face_set

from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import METRICS_NAME, RunError
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import TrainConfig, load_config, override_config
from deepfake_jax.training.loop import train

PRESETS = Path(__file__).resolve().parents[2] / "configs"
STARTS = ("loss.mesh_start=2", "loss.perceptual_start=2")
BARE = ("loss.mesh_weight=0", "loss.perceptual_weight=0")  # without files of others
TINY = ("model.width=8", "batch_size=4", "judge_every=0", "log_every=1")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "a", 4, points=68),
        write_face_set(folder / "b", 4, tint=(120, 160, 210), points=68),
    )


def configure(*settings: str) -> TrainConfig:
    preset = load_config(PRESETS / "lite128.yaml")
    return override_config(preset, [*TINY, *settings])


@pytest.mark.usefixtures("detector_weights")
def test_lite128_resumes_and_swaps(sets, tmp_path):
    run = tmp_path / "run"
    for steps in (2, 3):
        train(
            sets[0],
            sets[1],
            run,
            configure(f"steps={steps}", *STARTS),
            devices=1,
        )
    lines = read_metrics(run / METRICS_NAME)
    assert [line["skipped"] for line in lines] == [0] * 3
    # Both begin after two steps.
    for name in ("loss_mesh", "loss_perceptual"):
        assert [line[name] > 0 for line in lines] == [False, False, True]
    trained = load_run(run)
    swapper = make_swapper(trained.model, trained.params)
    crops = np.random.default_rng(1).integers(0, 256, (1, 128, 128, 3), np.uint8)
    assert swapper(crops).shape == (1, 128, 128, 3)


def test_mid256_takes_a_step(sets, tmp_path):
    settings = ("model.name=mid256", *BARE, "steps=1")
    result = train(sets[0], sets[1], tmp_path / "run", configure(*settings), devices=1)
    assert result.step == 1 and result.skipped == 0 and np.isfinite(result.loss_a)


def test_hd512_goes_on_with_what_hd256_learned(sets, tmp_path):
    small = (*BARE, "steps=1", "batch_size=2", "optimizer.ema_decay=0")
    runs = {name: tmp_path / name for name in ("hd256", "hd512")}
    a, b = sets
    train(a, b, runs["hd256"], configure("model.name=hd256", *small), devices=1)
    with pytest.raises(RunError, match="hd256, width 8.*hd512, width 10"):
        wider = configure("model.name=hd512", *small, "model.width=10")
        train(a, b, tmp_path / "no", wider, devices=1, init=runs["hd256"])
    still = ("optimizer.learning_rate=1e-12", "model.name=hd512")
    grown = configure(*small, *still)
    first = runs["hd256"]
    train(a, b, runs["hd512"], grown, devices=1, init=first, init_decoders=True)
    crops = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), np.uint8)
    drawn = []
    for name, seen in (("hd256", crops), ("hd512", crops.repeat(2, 1).repeat(2, 2))):
        run = load_run(runs[name])
        drawn.append(make_swapper(run.model, run.params, source="b").draw_levels(seen))
    doubled = drawn[0].repeat(2, 1).repeat(2, 2)
    assert drawn[0].std() > 1, "flat pictures would agree anyway"
    np.testing.assert_allclose(drawn[1], doubled, atol=0.1)


def test_masks_need_68_landmarks(tmp_path):
    sets = [write_face_set(tmp_path / side, 2) for side in "ab"]
    with pytest.raises(RunError, match="no 68 landmarks.*--landmarks mesh"):
        train(sets[0], sets[1], tmp_path / "run", configure("steps=1"), devices=1)


@pytest.mark.usefixtures("detector_weights")
def test_256_px_have_every_loss(sets, tmp_path):
    settings = ("model.name=mid256", "steps=1", "loss.perceptual_start=0")
    config = configure(*settings, "loss.mesh_start=0")
    train(sets[0], sets[1], tmp_path / "run", config, devices=1)
    (line,) = read_metrics(tmp_path / "run" / METRICS_NAME)
    assert line["loss_mesh"] > 0 and line["loss_perceptual"] > 0
