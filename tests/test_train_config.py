"""Configs: YAML there and back, errors that name their key, overrides and presets."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.train_config import (
    ConfigError,
    TrainConfig,
    config_from_dict,
    config_keys,
    config_to_dict,
    config_to_yaml,
    list_presets,
    load_config,
    load_preset,
    override_config,
)

CHANGED = {
    "model": {"width": 32, "precision": "bfloat16"},
    "augment": {"rotation": 1e-5, "flip": 0.0},
    "loss": {"pixel": "mse", "dssim_weight": 0.1},
    "optimizer": {"learning_rate": 3.3e-7, "ema_decay": 0.999, "clip_norm": 1.0},
    "match_color": False,
    "steps": 12345,
    "minutes": 0.1,
    "seed": 2**32 - 1,
}
# Key and values that it must not take.
BAD = [
    ("model.name", ["modern", 1, None]),
    ("model.width", [0, 7, 33, 2048, "wide", 32.5, None]),
    ("model.precision", ["float16", 32]),
    ("model.align_codes", ["perhaps", None]),
    ("model.expression", [0.4, 2.1, "more"]),
    ("model.mouth", [0.4, 5.1, "open"]),
    ("augment.rotation", [-1, "much", None, float("nan")]),
    ("augment.zoom", [-0.1, 1.0]),
    ("augment.shift", [-0.1, 1.5]),
    ("augment.flip", [-0.1, 1.1]),
    ("augment.warp_scale", [-1.0, [1]]),
    ("augment.warp_steps", [-1, 1.5]),
    ("augment.expressions", [-0.1, 1.1]),
    ("augment.occluders", [-0.1, 1.1]),
    ("loss.pixel", ["ssim"]),
    ("loss.dssim_weight", [-0.5]),
    ("loss.dssim_step", [0, 9, 1.5]),
    ("loss.dssim_scales", [0, 5]),
    ("loss.laplacian_weight", [-1]),
    ("loss.background", [-0.1, 1.1]),
    ("loss.eyes_weight", [-1]),
    ("loss.mouth_weight", [-1]),
    ("loss.mask_weight", [-1]),
    ("loss.mesh_weight", [-1]),
    ("loss.mesh_start", [-1, 1.5]),
    ("loss.perceptual_weight", [-1]),
    ("loss.perceptual_start", [-1, 1.5]),
    ("loss.swap_weight", [-1]),
    ("loss.shape_weight", [-1]),
    ("optimizer.learning_rate", [0, -1e-3, "fast", float("nan"), float("inf")]),
    ("optimizer.name", ["sgd", 1]),
    ("optimizer.b1", [1.0, -0.1]),
    ("optimizer.b2", [1.0]),
    ("optimizer.warmup_steps", [-1, 1.5]),
    ("optimizer.clip_norm", [-1]),
    ("optimizer.ema_decay", [1.0]),
    ("match_color", ["perhaps", None]),
    ("batch_size", [0, -1, 2.5, None]),
    ("steps", [0, -5]),
    ("memory_limit_mb", [-1]),
    ("minutes", [0, -1]),
    ("seed", [-1, 2**32]),
    ("workers", [0]),
    ("warp_on", ["gpu", None]),
    ("steps_per_dispatch", [0, 1001, 1.5]),
    ("remat", ["perhaps", None]),
    ("rare_share", [-0.1, 1.1]),
    ("log_every", [0]),
    ("preview_seconds", [0]),
    ("checkpoint_every", [0]),
    ("checkpoint_minutes", [0]),
    ("keep", [0, 1]),
    ("holdout", [-0.1, 0.6]),
    ("judge_every", [-1, 0.5]),
    ("judge_share", [0]),
    ("patience", [0]),
    ("until", ["dawn", None]),
]


def nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize("tree", [{}, CHANGED])
def test_yaml_there_and_back_is_equal(tmp_path: Path, tree: dict[str, Any]):
    config = config_from_dict(tree)
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    assert config_from_dict(config_to_dict(config)) == config
    assert config_to_dict(config) == yaml.safe_load(path.read_text())


def test_what_a_file_does_not_name_keeps_its_default(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("model:\n  width: 64\n")
    config = load_config(path)
    default = TrainConfig()
    assert config.model.width == 64
    assert config.model.precision == default.model.precision
    assert dataclasses.replace(config, model=default.model) == default
    path.write_text("# nothing but a comment\n")
    assert load_config(path) == default


def test_every_key_has_a_bad_value_here():
    assert sorted(config_keys()) == sorted(key for key, _ in BAD)


@pytest.mark.parametrize(
    "key, value", [(key, value) for key, values in BAD for value in values]
)
def test_bad_values_name_their_key_and_what_came(key: str, value: Any):
    with pytest.raises(ConfigError) as caught:
        config_from_dict(nest(key, value), where="my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml: ")
    assert key in text
    assert repr(value) in text


def test_several_problems_are_all_named():
    with pytest.raises(ConfigError, match=r"batch_size = 0.*seed = -1"):
        config_from_dict({"batch_size": 0, "seed": -1})


def test_what_earlier_versions_had_is_passed_over():
    """Their runs' configs name it; nobody can ask for it any more."""
    tree = config_to_dict(TrainConfig())
    tree["exemplars"], tree["half_steps"] = 64, 300
    tree["loss"] |= {"critic_weight": 0.0, "critic_start": 0}
    assert config_from_dict(tree) == TrainConfig()
    with pytest.raises(ConfigError, match="exemplars"):
        override_config(TrainConfig(), ["exemplars=0"])


@pytest.mark.parametrize("key", ["widht", "model.widht", "optimizer.lr", "batchsize"])
def test_unknown_keys_are_named_with_those_known(key: str):
    with pytest.raises(ConfigError, match=f"unknown key '{key}'.*known:.*model.width"):
        config_from_dict(nest(key, 1))
    with pytest.raises(ConfigError, match=f"unknown key '{key}'.*known:.*model.width"):
        override_config(TrainConfig(), [f"{key}=1"])


@pytest.mark.parametrize("tree", [5, "text", [1, 2], None])
def test_a_config_that_is_no_mapping(tree: Any):
    with pytest.raises(ConfigError, match="expected keys and values"):
        config_from_dict(tree)
    with pytest.raises(ConfigError, match="model"):
        config_from_dict({"model": tree})


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "a: b: c",
        "false",
        "[]",
        "5",
        "!!python/object:os.system {}",
        "steps: 2024-13-45",
    ],
)
def test_files_that_hold_no_config(tmp_path: Path, text: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="config.yaml"):
        load_config(path)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="missing.yaml"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_config(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"model: \xff\xfe")
    with pytest.raises(ConfigError, match="latin.yaml"):
        load_config(path)


# Overrides


@pytest.mark.parametrize(
    "setting, found",
    [
        ("optimizer.learning_rate=1e-3", 1e-3),
        ("optimizer.learning_rate=1E-3", 1e-3),
        ("optimizer.learning_rate=.5", 0.5),
        ("optimizer.learning_rate=1.5e-4", 1.5e-4),
        ("steps=null", None),
        ("steps=1e3", 1000),
        ("minutes=2", 2.0),
        ("match_color=false", False),
        ("model.precision=bfloat16", "bfloat16"),
        ("seed=0", 0),
    ],
)
def test_overrides_are_read_as_yaml(setting: str, found: Any):
    start = TrainConfig(steps=10)
    config = override_config(start, [setting])
    key = setting.partition("=")[0]
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    assert value == found and type(value) is type(found)
    other = config_to_dict(config), config_to_dict(start)
    for tree in other:
        *parents, leaf = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        del branch[leaf]
    assert other[0] == other[1]


def test_overrides_apply_in_order_and_leave_the_config():
    start = TrainConfig()
    config = override_config(start, ["steps=5", "model.width=8", "steps=7"])
    assert (config.steps, config.model.width) == (7, 8)
    assert start == TrainConfig()
    assert override_config(start, []) == start


@pytest.mark.parametrize(
    "setting, text",
    [
        ("steps", "key=value.*'steps'"),
        ("=5", "unknown key ''"),
        ("model=5", "unknown key 'model'"),
        ("model.width=wide", "model.width = 'wide'"),
        ("model.width=", "model.width = None"),
        ("steps=[1", "--set steps"),
        ("steps=2024-13-45", "--set steps"),
        ("seed=nan", "seed"),
    ],
)
def test_overrides_that_cannot_be_used(setting: str, text: str):
    with pytest.raises(ConfigError, match=text):
        override_config(TrainConfig(), [setting])


# Presets


def test_presets_load_and_are_what_they_say():
    presets = list_presets()
    assert {"original", "original-fast", "lite", "lite128", "mid256", "hd256"} <= set(
        presets
    )
    for name, path in presets.items():
        config = load_preset(name)
        assert config == load_config(path)
        assert path.read_text(encoding="utf-8").startswith("#"), "no head comment"
        assert config.steps is not None, "a preset that never ends"
    assert load_preset("original").model.width == 128
    assert load_preset("lite").model.width == 32
    for name in ("lite128", "mid256", "hd256"):
        assert load_preset(name).model.name == name


def test_preset_named_original_is_the_defaults_with_an_end():
    original = load_preset("original")
    assert dataclasses.replace(original, steps=None) == TrainConfig()


def test_unknown_preset_lists_those_that_exist():
    with pytest.raises(
        ConfigError, match="no preset 'best'.*lite, lite128, mid256, orig"
    ):
        load_preset("best")


# The classes


@pytest.mark.parametrize("kind", [TrainConfig, ExtractConfig, ConvertConfig])
def test_configs_are_frozen_and_refuse_unknown_fields(kind: type[Any]):
    config = kind()
    name = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, None)
    with pytest.raises(ValidationError):
        kind(no_such_field=1)


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (ExtractConfig, "min_score", 1.1),
        (ExtractConfig, "every", 0),
        (ExtractConfig, "min_size", -1),
        (ConvertConfig, "feather", 0.5),
        (ConvertConfig, "crf", 64),
        (ConvertConfig, "blend", "magic"),
        (ConvertConfig, "to", "c"),
    ],
)
def test_options_out_of_range(kind: type[Any], field: str, value: Any):
    with pytest.raises(ValidationError, match=field):
        kind(**{field: value})


def test_config_needs_neither_jax_nor_opencv():
    code = (
        "import sys, deepfake_jax.train_config, deepfake_jax.convert_config;"
        "assert not {'jax', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
