"""When a run's state is kept, and which: its checkpoints, and the best of them."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepfake_jax.models.network import Params, SwapParams, bank_to_tree, to_tree
from deepfake_jax.runs.checkpoint import save_best, save_checkpoint
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import BEST, CHECKPOINTS
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.clock import Every
from deepfake_jax.training.state import TrainState, state_to_tree

# Adds to parameters what swaps recall; see `face_bank.remember`.
Memory = Callable[[SwapParams], SwapParams]


class CheckpointKeeper:
    """Saves a run's states: each so many steps and minutes, and when it is told to."""

    def __init__(self, run: Path, config: TrainConfig, memory: Memory, step: int):
        """For a run that is at a step, saved if it is not 0."""
        self._run, self._config, self._memory = run, config, memory
        self._timer = Every(60 * config.checkpoint_minutes)
        self._is_due, self._saved_step = False, step or None
        self._has_ended = step > 0

    def is_due(self, step: int) -> bool:
        """Whether a state is to be saved; so until one is."""
        self._is_due |= step % self._config.checkpoint_every == 0
        self._is_due |= self._timer.is_due()
        return self._is_due

    def save(self, state: TrainState, facts: RunFacts) -> None:
        """Saves a state with its facts, unless that of its step is saved already.

        But once more where the run has had its minutes only now: the same call again
        would else do another step.
        """
        step, minutes = int(state.step), self._config.minutes
        ended = minutes is not None and facts.seconds >= 60 * minutes
        if self._saved_step == step and (self._has_ended or not ended):
            return
        save_checkpoint(
            self._run / CHECKPOINTS,
            step,
            state_to_tree(state) | keep_memory(self._memory(state.swap_params)),
            facts=facts,
            # After a skipped update the parameters may be what causes it: such a state
            # is added to the others and pushes none of them out.
            keep=sys.maxsize if facts.skipped_in_row else self._config.keep,
        )
        self._is_due, self._saved_step, self._has_ended = False, step, ended


def save_best_state(run: Path, step: int, params: SwapParams, facts: RunFacts) -> None:
    """Keeps what a swap needs of a state, a quarter of what training does."""
    save_best(run / BEST, step, params_to_tree(step, params), facts=facts)


def params_to_tree(step: int, params: SwapParams) -> Params:
    """A checkpoint that one can swap with, and not train."""
    tree = {"step": np.int32(step), "params": to_tree(params), "ema": None}
    return tree | keep_memory(params)


def keep_memory(params: SwapParams) -> Params:
    """What parameters remember, as a part of a checkpoint; empty if they do not."""
    bank = bank_to_tree(params)
    return {"bank": bank} if bank else {}
