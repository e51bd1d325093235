"""Another run whose parameters a new run starts with: ``--init RUN``."""

import logging
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp

from deepfake_jax.models.deep import grow_decoder
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.run_folder import CHECKPOINTS, RunError
from deepfake_jax.runs.trained_run import load_start
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.state import TrainState

_log = logging.getLogger("deepfake_jax")


def load_parameters(
    run: Path, config: TrainConfig, init: str | Path | None, *, decoders: bool
) -> Network | None:
    """The parameters that a new run takes over; None where it takes none or goes on.

    Args:
        run: its folder.
        config: the run's.
        init: another run, whose encoder to take; None takes nothing.
        decoders: take its decoders, too.

    Raises:
        RunError: `init` cannot be used, or decoders are asked for without it.
        CheckpointError: every checkpoint of it is damaged.
    """
    if init is None:
        if decoders:
            raise RunError("--init-decoders needs --init RUN, whose decoders to take")
        return None
    if list_checkpoints(run / CHECKPOINTS):
        _log.info("%s goes on from its own state; --init is for new runs", run)
        return None
    start = load_start(init, config.model, decoders=decoders)
    taken = "encoder and both decoders" if decoders else "encoder"
    _log.info("starting with %s of %s", taken, init)
    return start


def start_with(state: TrainState, start: Network | None) -> TrainState:
    """A fresh state with the encoder, and decoders, of another run.

    Decoders of `hd256` grow where the state is of `hd512`.
    """
    if start is None:
        return state
    taken: Network = jax.tree.map(jnp.asarray, start)
    fresh = state.network.decoders
    decoders = {
        side: grow_decoder(taken.decoders[side], decoder) if taken.decoders else decoder
        for side, decoder in fresh.items()
    }
    network = replace(state.network, encoder=taken.encoder, decoders=decoders)
    ema = None
    if state.ema is not None:
        ema = jax.tree.map(jnp.copy, SwapParams(network, state.statistics))
    return replace(state, network=network, ema=ema)
