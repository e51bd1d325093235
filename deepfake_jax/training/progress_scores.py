"""What the figures of a run's held-out faces say: its best step, and when it is done.

A *judgement* is a line of ``metrics.jsonl`` that has a ``score``. All that is decided
here follows from these lines alone, so a run that goes on decides as one that nothing
interrupted.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_GAIN = 0.005  # of the score; less in a whole patience is no improvement
_FEWEST = 4  # judgements in a median; one lucky or unlucky one must not decide

Judgement = Mapping[str, Any]


def is_judgement(line: Judgement) -> bool:
    """Whether a line of the metrics is one of held-out faces."""
    return "score" in line


class Scores:
    """The judgements of a run, and when the next one is due.

    Scores with and without identity are of different kinds. Only those of the last
    one's kind are compared.
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
        self._with_identity, self._interval = False, every
        self._plateau: int | None = None

    @property
    def plateau(self) -> int | None:
        """The step at which the run had stopped improving, None before."""
        return self._plateau

    def is_best(self, figures: Mapping[str, float]) -> bool:
        """Whether figures that were not added yet are better than all of their kind."""
        if ("identity_transfer_a_to_b" in figures) != self._with_identity:
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
        with_identity = "identity_transfer_a_to_b" in line
        if with_identity != self._with_identity:
            self._steps, self._scores, self._plateau = [], [], None
        self._with_identity, self._interval = with_identity, line["interval"]
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
