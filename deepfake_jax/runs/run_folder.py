"""The folder of a training run: what lies where, and what a swap needs of it.

``config.yaml`` is the run's config, ``checkpoints/`` its states, ``metrics.jsonl`` its
losses and the figures of held-out faces, ``holdout.json`` says which these are,
``sets.json`` where the face sets lie, a student's ``teacher.json`` who taught it,
``best/`` has the parameters of the best of those
figures, ``preview.png`` and
``loss.png`` are pictures.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from deepfake_jax.files import write_whole
from deepfake_jax.models.autoencoder import (
    Autoencoder,
    Params,
    Side,
    make_autoencoder,
)
from deepfake_jax.models.fine_detail import Energies
from deepfake_jax.runs.checkpoint import (
    CheckpointError,
    list_checkpoints,
    restore_checkpoint,
)
from deepfake_jax.train_config import (
    ModelConfig,
    TrainConfig,
    config_from_dict,
    config_to_yaml,
    load_config,
)

_log = logging.getLogger("deepfake_jax")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the text says why and the fix."""


@dataclass(frozen=True)
class RunPaths:
    """Names inside a run's folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """The run's config."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the best checkpoint; it has parameters to swap with alone."""
        return self.folder / "best"

    @property
    def metrics(self) -> Path:
        """A line of JSON every few steps."""
        return self.folder / "metrics.jsonl"

    @property
    def preview(self) -> Path:
        """The refreshed grid of faces."""
        return self.folder / "preview.png"

    @property
    def losses(self) -> Path:
        """The refreshed plot."""
        return self.folder / "loss.png"

    @property
    def lock(self) -> Path:
        """Held while a process trains."""
        return self.folder / ".lock"


def read_run_config(folder: Path) -> TrainConfig | None:
    """The config of an existing run, or None if the folder holds none yet."""
    path = RunPaths(folder).config
    return load_config(path) if path.exists() else None


def check_run(folder: Path, config: TrainConfig) -> None:
    """Checks that a folder can hold a run of this config; changes nothing.

    Raises:
        RunError: the folder is a file, holds another network's run, or holds
            something else altogether.
    """
    paths = RunPaths(folder)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"--run {folder} is a file; name a folder")
    existing = read_run_config(folder)
    if existing is None:
        if list_checkpoints(paths.checkpoints):
            raise RunError(
                f"{folder} has checkpoints but no config.yaml; bring the file back, or "
                "train into a new --run"
            )
        if folder.is_dir() and any(
            not p.name.startswith(".") for p in folder.iterdir()
        ):
            raise RunError(
                f"{folder} is not empty and no run; name a new or empty folder as --run"
            )
    elif (old := _describe_state(existing)) != (new := _describe_state(config)):
        raise RunError(
            f"{folder} was trained with the network {old}, but {new} is asked for; "
            "give the same settings, or no --preset to keep the run's own, or train "
            "into a new --run"
        )
    elif existing != config:
        _log.warning("%s: going on with changed settings", folder)


def write_run_config(folder: Path, config: TrainConfig) -> None:
    """Writes a run's ``config.yaml`` in one piece."""
    with write_whole(RunPaths(folder).config, overwrite=True) as path:
        path.write_text(config_to_yaml(config), encoding="utf-8")


def load_start(
    folder: str | Path, model: ModelConfig, *, decoders: bool = False
) -> Params:
    """What a new run takes over from another one: its encoder, and decoders if asked.

    Args:
        folder: the other run's; its newest good checkpoint is read.
        model: the new run's network.
        decoders: take them, too: A's for A, B's for B.

    Raises:
        RunError: the run cannot be read, or has another architecture.
        CheckpointError: every checkpoint of it is damaged.
    """
    trained, config = load_run(folder), read_run_config(Path(folder))
    if config is None or _architecture(config.model) != _architecture(model):
        other = "unknown" if config is None else _architecture(config.model)
        raise RunError(
            f"--init {folder} has the network {other}, but the new run has "
            f"{_architecture(model)}; both must be the same: give the same preset or "
            "model settings"
        )
    parts = ("encoder", "decoder_a", "decoder_b") if decoders else ("encoder",)
    return {part: trained.params[part] for part in parts}


def _architecture(model: ModelConfig) -> str:
    """What decides the parameters' shapes; precision does not."""
    return f"{model.name}, width {model.width}"


def _describe_state(config: TrainConfig) -> str:
    """What decides the shapes of a whole state."""
    told = _architecture(config.model)
    if config.model.align_codes:
        told += ", aligned codes"
        told += ", their shapes learned" * (config.loss.shape_weight > 0)
    return told


@dataclass(frozen=True)
class TrainedRun:
    """What a swap needs of a run.

    Attributes:
        model: the network.
        params: its parameters; the moving average where the run keeps one. With the
            bank of codes where it keeps one, see `recall`.
        step: updates that they have had.
        color_shift: grey levels added to A's faces in training, RGB.
        identities: mean face embedding of each side where its face set has one.
        model_hash: SHA-256 that names these very parameters.
        energies: of each side's real faces' fine detail, see `detail.match_detail`;
            empty in runs of versions that did not note them.
    """

    model: Autoencoder
    params: Params
    step: int
    color_shift: Float64[np.ndarray, "3"]
    identities: dict[str, Any]
    model_hash: str
    energies: Mapping[Side, Energies] = field(default_factory=dict)


def load_run(
    folder: str | Path, *, checkpoint: Literal["last", "best"] = "last"
) -> TrainedRun:
    """Reads a checkpoint of a run.

    Args:
        folder: the run's.
        checkpoint: the newest good one, or that of the best score on held-out faces.

    Raises:
        RunError: no such folder, no run, or nothing trained or judged yet.
        CheckpointError: every checkpoint is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"no run at {folder}: no such folder; train one first")
    config = read_run_config(folder)
    if config is None:
        raise RunError(f"{folder} is no run: it has no config.yaml; train one first")
    paths = RunPaths(folder)
    best = checkpoint == "best"
    restored = restore_checkpoint(paths.best if best else paths.checkpoints)
    if restored is None and best:
        raise RunError(
            f"{folder} has no best checkpoint: it was not judged on held-out faces "
            "yet; use the last one"
        )
    if restored is None:
        raise RunError(
            f"{folder} has no checkpoint yet; train longer, or wait for the first one"
        )
    tree, manifest = restored
    extra = manifest["extra"]
    try:
        model = make_autoencoder(config_from_dict({"model": extra["model"]}).model)
        params = tree["ema"] or tree["params"]
        if bank := tree.get("bank"):
            params = {**params, "bank": bank}
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint of step {manifest.get('step')} lacks {error}; "
            "it was not written by this program"
        ) from None
    files = json.dumps(manifest["files"], sort_keys=True)
    return TrainedRun(
        model=model,
        params=params,
        step=manifest["step"],
        color_shift=np.asarray(extra["color_shift"], np.float64),
        identities=extra.get("identities", {}),
        model_hash=hashlib.sha256(files.encode()).hexdigest(),
        energies=read_energies(extra),
    )


def read_energies(extra: Mapping[str, Any]) -> dict[Side, Energies]:
    """`TrainedRun.energies` of what `begin.describe_run` noted."""
    noted: dict[Side, list[float]] = extra.get("detail", {})
    return {side: np.asarray(pair, np.float32) for side, pair in noted.items()}
