"""Measuring a run's held-out faces while it trains, and keeping the best state."""

import logging
import time
from dataclasses import replace

from deepfake_jax.runs.checkpoint import list_checkpoints, save_best
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import BEST, METRICS_NAME
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.history import History
from deepfake_jax.training.progress_scores import Scores
from deepfake_jax.training.session import Session
from deepfake_jax.training.state import TrainState, params_to_tree

_log = logging.getLogger("deepfake_jax")


class Judging:
    """The judgements of a run; nobody is there to make any without a gauge."""

    def __init__(self, session: Session, history: History, clock: Clock):
        """Goes on with those that the run's metrics have."""
        config = session.config
        self._session, self._history, self._clock = session, history, clock
        self._is_warm = False
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
        return self._session.gauge is not None and self._scores.is_due(step)

    def judge(self, step: int, state: TrainState) -> None:
        """Measures held-out faces, and keeps the best state.

        The figures are a line of their own, after that of the step's losses and before
        any checkpoint of the step: what is decided by them is then the same for a run
        that goes on from there.

        Args:
            step: where the run is.
            state: of that step, on the devices.
        """
        run, gauge, known = self._session.run, self._session.gauge, self.plateau
        assert gauge is not None
        self._history.collect()
        with self._clock.apart():
            params = self._session.devices.get_state(state.swap_params)
            if not self._is_warm:
                gauge.warm_up(params)
                self._is_warm = True
            start = time.monotonic()
            figures = gauge.measure(params)
            if self._scores.is_best(figures) or not list_checkpoints(run / BEST):
                facts = replace(
                    self._history.facts,
                    score=figures["score"],
                    scored_by_identity="identity_transfer_a_to_b" in figures,
                )
                # A quarter of what training needs of a state.
                save_best(run / BEST, step, params_to_tree(step, params), facts=facts)
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
                self._session.config.patience,
            )
