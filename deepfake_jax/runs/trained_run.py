"""A run as a swap needs it: network, parameters, colors, identities."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from deepfake_jax.models import deep
from deepfake_jax.models.autoencoder import Autoencoder, make_autoencoder
from deepfake_jax.models.network import Network, SwapParams, from_tree
from deepfake_jax.runs.checkpoint import CheckpointError, restore_checkpoint
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import (
    BEST,
    CHECKPOINTS,
    RunError,
    describe_network,
    read_run_config,
)
from deepfake_jax.train_config import ModelConfig


def load_start(
    folder: str | Path, model: ModelConfig, *, decoders: bool = False
) -> Network:
    """What a new run takes over from another one: its encoder, and decoders if asked.

    Args:
        folder: the other run's; its newest good checkpoint is read.
        model: the new run's network: the same, or one that grows from it.
        decoders: take them, too: A's for A, B's for B.

    Raises:
        RunError: the run cannot be read, or has another architecture.
        CheckpointError: every checkpoint of it is damaged.
    """
    trained, config = load_run(folder), read_run_config(Path(folder))
    wanted = describe_network(model)
    other = "unknown" if config is None else describe_network(config.model)
    small = deep.GROWN_FROM.get(model.name)
    grows = small and describe_network(replace(model, name=cast(Any, small))) == other
    if other != wanted and not grows:
        raise RunError(
            f"--init {folder} has the network {other}, but the new run has {wanted}; "
            "both must be the same, or hd256 grow to hd512 of one width: give the same "
            "preset or model settings"
        )
    network = replace(trained.params.network, readout=None)
    return network if decoders else replace(network, decoders={})


@dataclass(frozen=True)
class TrainedRun:
    """What a swap needs of a run.

    Attributes:
        model: the network.
        params: its parameters; the moving average where the run keeps one.
        step: updates that they have had.
        facts: what else the run knows.
        model_hash: SHA-256 that names these very parameters; empty for those of no
            checkpoint.
    """

    model: Autoencoder
    params: SwapParams
    step: int
    facts: RunFacts
    model_hash: str = ""


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
    best = checkpoint == "best"
    trained = read_trained(folder / BEST if best else folder / CHECKPOINTS)
    if trained is None and best:
        raise RunError(
            f"{folder} has no best checkpoint: it was not judged on held-out faces "
            "yet; use the last one"
        )
    if trained is None:
        raise RunError(
            f"{folder} has no checkpoint yet; train longer, or wait for the first one"
        )
    return trained


def read_trained(folder: Path, *, step: int | None = None) -> TrainedRun | None:
    """Reads the newest good checkpoint of a folder of them, or that of a step.

    Returns:
        What it has learned; None where the folder has no checkpoint.

    Raises:
        CheckpointError: none is good.
    """
    restored = restore_checkpoint(folder, step=step)
    if restored is None:
        return None
    tree = restored.tree
    try:
        params = from_tree(tree["ema"] or tree["params"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint of step {restored.step} lacks {error}; it was "
            "not written by this program"
        ) from None
    files = json.dumps(restored.files, sort_keys=True)
    return TrainedRun(
        model=make_autoencoder(restored.facts.model),
        params=params,
        step=restored.step,
        facts=restored.facts,
        model_hash=hashlib.sha256(files.encode()).hexdigest(),
    )
