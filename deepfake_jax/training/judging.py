"""Measuring a run's held-out faces while it trains, and what the figures say.

Which step is the best, and when the run is done. A *judgement* is a line of
``metrics.jsonl`` that has a ``score``. All that is decided here follows from these
lines alone, so a run that goes on decides as one that nothing interrupted.
"""

import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepfake_jax.runs.checkpoint import list_checkpoints, save_best
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import BEST, METRICS_NAME
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.history import History
from deepfake_jax.training.session import Session
from deepfake_jax.training.state import TrainState, params_to_tree

_log = logging.getLogger("deepfake_jax")
_IDENTITY, _REDRAW = "identity_transfer_a_to_b", "redraw_likeness_a_to_b"
LEAST_GAIN = 0.005  # of the score; less in a whole patience is no improvement
_FEWEST = 4  # judgements in a median; one lucky or unlucky one must not decide

Judgement = Mapping[str, Any]


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
                    scored_by_identity=_IDENTITY in figures,
                    scored_by_redraw=_REDRAW in figures,
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


def is_judgement(line: Judgement) -> bool:
    """Whether a line of the metrics is one of held-out faces."""
    return "score" in line


def _find_kind(figures: Mapping[str, Any]) -> frozenset[str]:
    """Which of the figures that not every run has are a part of its score."""
    return frozenset((_IDENTITY, _REDRAW)) & frozenset(figures)


class Scores:
    """The judgements of a run, and when the next one is due.

    Scores with and without identity, or what is redrawn, are of different kinds.
    Only those of the last one's kind are compared.
    """

    def __init__(self, *, every: int, share: float, patience: int):
        """Without judgements yet.

        Args:
            every: least steps from one to the next; all are at multiples of it.
            share: of the time that they may take.
            patience: steps without improvement that make a plateau.
        """
        self._every, self._share, self._patience = every, share, patience
        self._steps: list[int] = []
        self._scores: list[float] = []
        self._kind: frozenset[str] = frozenset()
        self._interval = every
        self._plateau: int | None = None

    @property
    def plateau(self) -> int | None:
        """The step at which the run had stopped improving, None before."""
        return self._plateau

    def is_best(self, figures: Mapping[str, float]) -> bool:
        """Whether figures that were not added yet are better than all of their kind."""
        if _find_kind(figures) != self._kind:
            return True
        return figures["score"] > max(self._scores, default=-math.inf)

    def is_due(self, step: int) -> bool:
        """Whether to judge after this step."""
        if self._every == 0 or step % self._every:
            return False
        return not self._steps or step >= self._steps[-1] + self._interval

    def read(self, lines: Sequence[Judgement]) -> None:
        """Takes over the judgements among a run's lines of metrics."""
        for line in filter(is_judgement, lines):
            self.add(line)

    def add(self, line: Judgement) -> None:
        """Takes a judgement: ``step``, ``score``, ``interval`` and the figures."""
        kind = _find_kind(line)
        if kind != self._kind:
            self._steps, self._scores, self._plateau = [], [], None
        self._kind, self._interval = kind, line["interval"]
        self._steps.append(line["step"])
        self._scores.append(line["score"])
        if self._plateau is None and find_plateau(
            self._steps, self._scores, self._patience
        ):
            self._plateau = line["step"]

    def stretch(self, seconds: float, *, step_seconds: float) -> int:
        """Steps to the next judgement, so that it takes no more time than its share.

        Doubled as often as needed at first, and later only where it takes twice its
        share: a resumed run, whose clock shows slightly other times, then hardly ever
        comes to another interval than an uninterrupted one.

        Args:
            seconds: that this judgement took.
            step_seconds: that a step takes; 0 if not known yet.
        """
        share = self._share if not self._steps else 2 * self._share
        interval = self._interval
        while 0 < share * interval * step_seconds < seconds:
            interval *= 2
        return interval


def find_plateau(steps: Sequence[int], scores: Sequence[float], patience: int) -> bool:
    """Whether scores no longer rise at their end.

    The median of the last `patience` steps is held against that of as many judgements
    before them, at least four each; so neither noise nor one step that stands out
    decides. It has to be higher by `LEAST_GAIN`.

    Args:
        steps: of the judgements, ascending.
        scores: higher is better.
        patience: steps.
    """
    recent = sum(step > steps[-1] - patience for step in steps)
    count = max(recent, _FEWEST)
    if len(scores) < 2 * count:
        return False
    before = statistics.median(scores[-2 * count : -count])
    return statistics.median(scores[-count:]) - before < LEAST_GAIN
