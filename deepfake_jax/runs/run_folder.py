"""The folder of a training run: what lies where, and what a swap needs of it.

``config.yaml`` is the run's config, ``checkpoints/`` its states, ``metrics.jsonl`` its
losses and the figures of held-out faces, ``holdout.json`` says which these are,
``sets.json`` where the face sets lie, ``card.json`` and ``consent.json`` what it is
of, a student's ``teacher.json`` who taught it; ``best/`` has the parameters of the best
of those figures, ``preview.png`` and ``loss.png`` are pictures.
"""

import logging
from dataclasses import replace
from pathlib import Path

import yaml

from deepfake_jax.files import ForeignFilesError, check_known, write_whole
from deepfake_jax.runs import checkpoint
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.metrics_file import DAMAGED_NAME
from deepfake_jax.train_config import (
    ConfigError,
    ModelConfig,
    TrainConfig,
    config_from_dict,
    config_keys,
    config_to_dict,
    config_to_yaml,
    load_config,
)

CONFIG_NAME = "config.yaml"
CHECKPOINTS = "checkpoints"
BEST = "best"
METRICS_NAME = "metrics.jsonl"
PREVIEW_NAME = "preview.png"
LOSSES_NAME = "loss.png"
LOCK_NAME = ".lock"  # held while a process trains
# What a start writes before the config, as patterns; see `files.check_known`.
_BEGUN = (
    LOCK_NAME,
    METRICS_NAME,
    "holdout.json",
    "sets.json",
    "teacher.json",
    "card.json",
    "consent.json",
    *(f"teacher/*/{name}" for name in checkpoint.KNOWN),
)
# All that a run's folder may hold.
KNOWN = (
    *_BEGUN,
    CONFIG_NAME,
    DAMAGED_NAME,
    PREVIEW_NAME,
    LOSSES_NAME,
    *(
        f"{place}/*/{name}"
        for place in (CHECKPOINTS, BEST)
        for name in checkpoint.KNOWN
    ),
)
_log = logging.getLogger("deepfake_jax")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the text says why and the fix."""


def read_run_config(folder: Path) -> TrainConfig | None:
    """The config of an existing run, or None if the folder holds none yet.

    Raises:
        RunError: the file is there and says nothing: defaults are not what was meant.
        ConfigError: it cannot be read.
    """
    path = folder / CONFIG_NAME
    if not path.exists():
        return None
    config = load_config(path)
    said = path.read_text(encoding="utf-8")
    if config == TrainConfig() and yaml.safe_load(said) in (None, {}):
        raise RunError(
            f"{path} is empty; bring back a copy of it, or write the run's settings "
            "into it as `train --set` takes them"
        )
    return config


def check_run(folder: Path, config: TrainConfig) -> None:
    """Checks that a folder can hold a run of this config; changes nothing.

    Raises:
        RunError: the folder is a file, holds another network's run, or holds
            something else altogether.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--run {folder} is a file; name a folder")
    existing = read_run_config(folder)
    if existing is None:
        if list_checkpoints(folder / CHECKPOINTS):
            raise RunError(
                f"{folder} has checkpoints but no config.yaml; bring the file back, or "
                "train into a new --run"
            )
        try:
            # A start that was cut short is begun again.
            check_known(folder, (*_BEGUN, ".*"))
        except ForeignFilesError:
            raise RunError(
                f"{folder} is not empty and no run; name a new or empty folder as --run"
            ) from None
    elif (old := _describe_state(existing)) != (new := _describe_state(config)):
        raise RunError(
            f"{folder} was trained with the network {old}, but {new} is asked for; "
            "give the same settings, or no --preset to keep the run's own, or train "
            "into a new --run"
        )
    elif changes := list_changes(_recall_config(folder) or existing, config):
        _log.warning("%s: going on with %s", folder, ", ".join(changes))


def _recall_config(folder: Path) -> TrainConfig | None:
    """The config of the last session that saved a state: the file may be damaged."""
    facts = checkpoint.read_facts(folder / CHECKPOINTS)
    if facts is None or not facts.settings:
        return None
    try:
        return config_from_dict(facts.settings)
    except ConfigError:  # of another version
        return None


def list_changes(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Settings that differ, but how long to train: ``KEY NEW instead of OLD``."""
    free = {"steps": None, "minutes": None}
    before, now = (config_to_dict(replace(each, **free)) for each in (old, new))
    changes = []
    for key in config_keys():
        *parents, leaf = key.split(".")
        was, becomes = before, now
        for parent in parents:
            was, becomes = was[parent], becomes[parent]
        if was[leaf] != becomes[leaf]:
            changes.append(f"{key} {becomes[leaf]} instead of {was[leaf]}")
    return changes


def write_run_config(folder: Path, config: TrainConfig) -> None:
    """Writes a run's ``config.yaml`` in one piece."""
    with write_whole(folder / CONFIG_NAME, overwrite=True) as path:
        path.write_text(config_to_yaml(config), encoding="utf-8")


def describe_network(model: ModelConfig) -> str:
    """What decides the parameters' shapes; precision does not."""
    return f"{model.name}, width {model.width}"


def _describe_state(config: TrainConfig) -> str:
    """What decides the shapes of a whole state."""
    told = describe_network(config.model)
    if config.model.align_codes:
        told += ", aligned codes"
        told += ", their shapes learned" * (config.loss.shape_weight > 0)
    return told
