"""`auto` is settled by what the machine is faster in, and a run keeps it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.conv_winograd import multiplies_bfloat16
from deepfake_jax.runs.run_folder import write_run_config
from deepfake_jax.train_config import ModelConfig, Precision, TrainConfig
from deepfake_jax.training import precision
from deepfake_jax.training.precision import (
    KEPT,
    WORTH,
    find_faster,
    name_machine,
    settle_precision,
)
from deepfake_jax.training.session import _settle

AUTO = ModelConfig(width=8, precision="auto")

needs_units = pytest.mark.skipif(
    not multiplies_bfloat16() or jax.default_backend() != "cpu",
    reason="this processor has no bfloat16 units: nothing to measure",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(cache: Path, text: str) -> None:
    cache.mkdir(exist_ok=True)
    (cache / KEPT).write_text(text)


def test_a_named_type_wins_over_what_was_recorded():
    asked, recorded = (ModelConfig(precision=p) for p in ("bfloat16", "float32"))
    assert settle_precision(asked, recorded) == asked
    assert settle_precision(asked, None) == asked


@pytest.mark.parametrize("recorded", ["float32", "bfloat16"])
def test_a_run_keeps_its_type_whatever_is_faster(cache: Path, recorded: Precision):
    keep(cache, json.dumps({name_machine(): 3.0 if recorded == "float32" else 0.3}))
    known = ModelConfig(width=8, precision=recorded)
    assert settle_precision(AUTO, known).precision == recorded


@needs_units
@pytest.mark.parametrize(
    ("speedup", "faster"),
    [(WORTH + 0.01, "bfloat16"), (WORTH - 0.01, "float32"), (0.2, "float32")],
)
def test_what_was_measured_here_decides(cache: Path, speedup: float, faster: str):
    keep(cache, json.dumps({name_machine(): speedup, "another machine": 9.0}))
    found = find_faster()
    assert (found.precision, found.speedup) == (faster, speedup)
    assert settle_precision(AUTO, None) == replace(AUTO, precision=faster)


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"x": "fast"}', '{"x": -1}'])
def test_a_damaged_cache_says_nothing(cache: Path, damage: str):
    keep(cache, damage)
    assert precision._read_kept(cache / KEPT) == {}


@needs_units
def test_what_is_measured_is_kept_unless_one_only_looks(
    cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(precision, "_ROUNDS", 1)
    assert find_faster(keep=False).speedup
    assert not (cache / KEPT).exists()
    speedup = find_faster().speedup
    assert speedup is not None and speedup > 0
    assert json.loads((cache / KEPT).read_text()) == {name_machine(): speedup}
    assert find_faster().speedup == speedup


def test_without_units_it_is_float32(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    assert find_faster().precision == "float32"
    assert not cache.exists()


def test_what_auto_was_is_what_the_run_goes_on_with(cache: Path, tmp_path: Path):
    run, config = tmp_path / "run", TrainConfig(model=AUTO)
    begun = replace(config, model=replace(AUTO, precision="bfloat16"))
    run.mkdir()
    write_run_config(run, begun)
    assert _settle(run, config) == begun
    other = replace(config, model=replace(AUTO, precision="float32"))
    assert _settle(run, other) == other


def test_the_network_of_auto_has_the_parameters_of_any_type():
    shapes = make_autoencoder(AUTO).shapes()
    assert shapes == make_autoencoder(replace(AUTO, precision="bfloat16")).shapes()
    assert TrainConfig().model.precision == "float32"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (("9.0",), "bfloat16"),
        (("8.0", "9.0"), "bfloat16"),
        (("7.5", "9.0"), "float32"),
        (("gfx90a",), "float32"),
        ((None,), "float32"),
    ],
)
def test_a_gpu_takes_bfloat16_by_its_generation(
    cache, monkeypatch, capabilities, expected
) -> None:
    devices = [SimpleNamespace(compute_capability=name) for name in capabilities]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    found = find_faster()
    assert (found.precision, found.speedup) == (expected, None)
    assert not cache.exists()
    assert settle_precision(AUTO, None).precision == expected
