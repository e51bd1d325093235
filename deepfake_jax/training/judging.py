"""Measuring a run's held-out faces while it trains, and keeping the best state."""

import logging
import time
from dataclasses import replace

from deepfake_jax.models.network import SwapParams
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import BEST, METRICS_NAME
from deepfake_jax.training.checkpoint_keeper import save_best_state
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.history import History
from deepfake_jax.training.progress_scores import Scores
from deepfake_jax.training.session import Session

_log = logging.getLogger("deepfake_jax")


class Judging:
    """The judgements of a run; nobody is there to make any without a gauge."""

    def __init__(self, session: Session, history: History, clock: Clock):
        """Goes on with those that the run's metrics have."""
        config = session.config
        self._run, self._patience = session.run, config.patience
        self._gauge, self._memory = session.gauge, session.memory
        self._is_warm = False
        self._history, self._clock = history, clock
        self._scores = Scores(
            every=config.judge_every,
            share=config.judge_share,
            patience=config.patience,
        )
        if session.devices.leads:
            self._scores.read(read_metrics(session.run / METRICS_NAME))

    @property
    def plateau(self) -> int | None:
        """The step at which the run had stopped improving, None before."""
        return self._scores.plateau

    def is_due(self, step: int) -> bool:
        """Whether to measure held-out faces after a step."""
        return self._gauge is not None and self._scores.is_due(step)

    def judge(self, step: int, params: SwapParams) -> None:
        """Measures held-out faces, and keeps the best state.

        The figures are a line of their own, after that of the step's losses and before
        any checkpoint of the step: what is decided by them is then the same for a run
        that goes on from there.

        Args:
            step: whose parameters they are; its losses must have been collected.
            params: to swap with, in the leader's process.
        """
        assert self._gauge is not None
        known = self.plateau
        with self._clock.apart():
            params = self._memory(params)
            if not self._is_warm:
                self._gauge.warm_up(params)
                self._is_warm = True
            start = time.monotonic()
            figures = self._gauge.measure(params)
            if self._scores.is_best(figures) or not list_checkpoints(self._run / BEST):
                facts = replace(
                    self._history.facts,
                    score=figures["score"],
                    scored_by_identity="identity_transfer_a_to_b" in figures,
                )
                save_best_state(self._run, step, params, facts)
            interval = self._scores.stretch(
                time.monotonic() - start, step_seconds=self._clock.step_seconds
            )
            seconds = round(self._clock.seconds, 3)
            line = {"step": step, "seconds": seconds, **figures, "interval": interval}
            self._scores.add(line)
            self._history.append(line)
        if known is None and self.plateau is not None:
            _log.info(
                "step %d: the run has stopped improving on held-out faces (%d steps "
                "without a better score)",
                step,
                self._patience,
            )
