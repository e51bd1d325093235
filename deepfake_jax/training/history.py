"""What a run's steps have said: losses, skipped updates, lines of ``metrics.jsonl``.

Of several processes only the leader writes; all of them read the same metrics, and so
come to the same conclusions.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from deepfake_jax.progress import Progress
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.metrics_file import encode_metric, read_lines
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import CHECKPOINTS, METRICS_NAME
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.processes import TrainingError
from deepfake_jax.training.session import Session
from deepfake_jax.types import SIDES, Side

MAX_SKIPS = 20  # updates skipped in a row that end a run
# Of runs that read shapes from codes, with a mesh, with features, with a teacher.
MORE_LOSSES = ("loss_shape", "loss_mesh", "loss_perceptual", "loss_swap")
_log = logging.getLogger("deepfake_jax")


class History:
    """The steps of a run so far.

    A dispatch is added when it is given to the devices, and collected later, when its
    metrics are there.

    Attributes:
        step: the last that the devices were given.
        losses: at the last collected step; NaN if they were no numbers.
        more_losses: likewise, those of `MORE_LOSSES` that the run has.
        skipped: updates of the run in all that were left out.
        skipped_in_row: how many of them just now.
    """

    def __init__(self, session: Session, clock: Clock):
        """Goes on with what the facts of a run say."""
        self._facts = facts = session.facts
        self.step = session.step
        self.losses: dict[Side, float] = dict(facts.losses)
        self.more_losses: dict[str, float] = {}
        self.skipped, self.skipped_in_row = facts.skipped, facts.skipped_in_row
        self._run, self._config = session.run, session.config
        self._devices, self._clock = session.devices, clock
        self._pending: deque[tuple[int, Any]] = deque()
        self._added: deque[int] = deque(maxlen=2)
        self._votes: dict[int, int] = {}
        self._lines: int | None = None  # of the file
        self._problem: tuple[int, TrainingError] | None = None
        self._progress: Progress | None = None

    @property
    def facts(self) -> RunFacts:
        """What a checkpoint must remember of the run as it is now."""
        return replace(
            self._facts,
            seconds=self._clock.seconds,
            losses=self.losses,
            skipped=self.skipped,
            skipped_in_row=self.skipped_in_row,
        )

    @contextmanager
    def show_progress(self, step: int) -> Iterator[None]:
        """Shows the steps, or minutes, on stderr while the block runs."""
        if not self._devices.leads:
            yield
            return
        steps, minutes = self._config.steps, self._config.minutes
        total, unit = (60 * minutes, "s") if minutes else (steps, "step")
        with Progress("train", total=total, unit=unit) as progress:
            progress.begin_at(self._done(step))
            self._progress = progress
            yield
            self._progress = None

    def add(self, step: int, metrics: Any) -> None:
        """Takes a dispatch that the devices work on.

        Args:
            step: its last.
            metrics: of all its steps, on the devices.
        """
        self._pending.append((step, metrics))
        self._added.append(step)
        self.step = step

    def collect(self, *, leave: int = 0) -> None:
        """Waits for all dispatches but the latest `leave`, and takes them down."""
        while len(self._pending) > leave:
            self._take_down(*self._pending.popleft())

    def check(self, *, leave: int = 0) -> None:
        """Looks whether training can go on, by all dispatches but the latest `leave`.

        The leader may have collected more: it collects before it saves.

        Raises:
            TrainingError: too many updates in a row were skipped.
        """
        if self._problem is not None and self._problem[0] <= self._last(leave):
            raise self._problem[1]

    def finish(self, step: int) -> None:
        """Collects all, and looks whether training could go on, as `check` does."""
        self.collect()
        self.check()
        self.update_progress(step)

    def read_vote(self, *, leave: int = 0) -> int:
        """The processes' largest vote on the end, of a dispatch as for `check`."""
        step = self._last(leave)
        self._votes = {last: n for last, n in self._votes.items() if last >= step}
        return self._votes.get(step, 0)

    def _last(self, leave: int) -> int:
        """The last step of the latest dispatch but `leave`; -1 before the first."""
        return self._added[-1 - leave] if leave < len(self._added) else -1

    def append(self, line: dict[str, Any]) -> None:
        """Writes a line of ``metrics.jsonl``, in the leader's process."""
        if self._devices.leads:
            path = self._run / METRICS_NAME
            if self._lines is None:
                self._lines = len(read_lines(path))
            self._lines += 1
            with path.open("a", encoding="utf-8") as file:
                file.write(encode_metric(line, self._lines))

    def update_progress(self, step: int) -> None:
        """Brings what `show_progress` shows up to a step."""
        if self._progress is not None:
            self._progress.update_to(self._done(step), self._note(step))

    def _take_down(self, last: int, metrics: Any) -> None:
        found = self._devices.read_metrics(metrics)
        if self._problem is not None:
            return  # the run has ended; this was on its way already
        if "vote" in found:
            self._votes[last] = int(found["vote"][0])
        self._clock.start_after_compilation(last)
        columns = {name: part.tolist() for name, part in found.items()}
        count = len(columns["skipped"])
        for place in range(count):
            step = last - count + 1 + place
            self.losses = {side: columns[f"loss_{side}"][place] for side in SIDES}
            self.more_losses = {
                name: columns[name][place] for name in MORE_LOSSES if name in columns
            }
            self._count_skip(step, columns["skipped"][place])
            if step % self._config.log_every == 0:
                self._write_line(step, last, columns["grad_norm"][place])
            if self._problem is not None:
                return

    def _count_skip(self, step: int, skipped: int) -> None:
        self.skipped += skipped
        self.skipped_in_row = self.skipped_in_row + 1 if skipped else 0
        if self.skipped_in_row == 1 and self._devices.leads:
            _log.warning(
                "step %d: a loss or a gradient is not a finite number; the update is "
                "skipped",
                step,
            )
        if self.skipped_in_row == MAX_SKIPS:
            self._problem = step, self._explain_skips(step)

    def _explain_skips(self, step: int) -> TrainingError:
        saved = list_checkpoints(self._run / CHECKPOINTS)[-1:]
        kept = "No checkpoint was saved yet. Start again"
        if saved:
            kept = f"The last good checkpoint is kept (step {saved[0]}). Go on from it"
        return TrainingError(
            f"losses or gradients were not finite numbers {MAX_SKIPS} steps in a row, "
            f"up to step {step}. {kept} with a lower --optimizer.learning-rate or with "
            "--optimizer.clip-norm 1"
        )

    def _write_line(self, step: int, last: int, grad_norm: float) -> None:
        line = {
            "step": step,
            **{f"loss_{side}": loss for side, loss in self.losses.items()},
            **self.more_losses,
            "grad_norm": grad_norm,
            "skipped": self.skipped,
            "seconds": round(self._clock.seconds, 3),
            # The steps of one dispatch end together.
            **self._clock.lap(last),
        }
        self.append(line)
        self.update_progress(step)

    def _done(self, step: int) -> int:
        if self._config.minutes is None:
            return step
        return round(self._clock.seconds)

    def _note(self, step: int) -> str:
        note = f"step {step}, loss A {self.losses['a']:.4f} B {self.losses['b']:.4f}"
        for name, loss in self.more_losses.items():
            note += f" {name.removeprefix('loss_')} {loss:.4f}"
        rate, wait, step_ms = self._clock.last.values()
        if rate is not None:
            note += f", {rate:.0f} img/s, {step_ms:.0f} ms/step, {wait:.0%} data wait"
        return note + (f", {self.skipped} skipped" if self.skipped else "")
