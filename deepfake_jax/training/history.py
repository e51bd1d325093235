"""What a run knows and writes while it trains: lines of metrics, states, pictures.

Of several processes only the leader writes; all of them read the same metrics, and so
come to the same conclusions. The names in a run's folder stand in `run_folder`.
"""

import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.evaluation.held_out import Gauge
from deepfake_jax.files import format_json
from deepfake_jax.imaging.picture_grid import draw_preview
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.models.network import SwapParams, bank_to_tree, to_tree
from deepfake_jax.progress import Progress
from deepfake_jax.runs.checkpoint import list_checkpoints, save_best, save_checkpoint
from deepfake_jax.runs.metrics_file import (
    read_metrics,
    truncate_metrics,
)
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import (
    BEST,
    CHECKPOINTS,
    LOSSES_NAME,
    METRICS_NAME,
    PREVIEW_NAME,
)
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.devices import Devices
from deepfake_jax.training.progress_pictures import (
    _draw_rows,
    plot_losses,
)
from deepfake_jax.training.progress_scores import Scores
from deepfake_jax.training.state import TrainState, state_to_tree
from deepfake_jax.types import Side

MAX_SKIPS = 20  # updates skipped in a row that end a run
# Of runs that read shapes from codes, with a mesh, with a teacher, with a critic.
MORE_LOSSES = ("loss_shape", "loss_mesh", "loss_swap", "loss_critic")
_log = logging.getLogger("deepfake_jax")


class TrainingError(RuntimeError):
    """Training that cannot go on; the text says at which step and what to do."""


@dataclass
class Dispatch:
    """Steps that were given to the devices together, and what came back.

    Attributes:
        step: the last of them.
        metrics: on the devices, until collected.
        collected: whether the journal has them.
        vote: the largest of all processes' votes, once collected.
        problem: why the run cannot go on after these steps, once collected.
    """

    step: int
    metrics: Any
    collected: bool = False
    vote: int = 0
    problem: TrainingError | None = None


class Journal:
    """What a run knows of its steps; in the leader's process it writes it, too.

    Attributes:
        meter: times the session.
        losses: A's and B's at the last collected step; NaN if they were no numbers.
        more_losses: likewise, where the run has them: ``loss_swap``, how far swaps were
            from a teacher's, and ``loss_critic``.
        skipped: updates of the run in all that were left out.
        skipped_in_row: how many of them just now.
        memory: adds to parameters what swaps recall, in the leader's process; see
            `examples.remember`.
        gauge: measures held-out faces in the leader's process, None where there are
            none or nobody asked.
        scores: what it found so far.
    """

    def __init__(self, run: Path, config: TrainConfig, devices: Devices):
        self.meter = Meter(images_per_step=2 * config.batch_size)
        self.losses = math.nan, math.nan
        self.more_losses: dict[str, float] = {}
        self.skipped = self.skipped_in_row = 0
        self._run, self._config, self._devices = run, config, devices
        self._earlier_seconds, self._start = 0.0, time.monotonic()
        self._progress: Progress | None = None
        self.gauge: Gauge | None = None
        self.memory: Callable[[SwapParams], SwapParams] = lambda params: params
        self._gauge_is_warm = False
        self.scores = Scores(
            every=config.judge_every,
            share=config.judge_share,
            patience=config.patience,
        )

    @property
    def seconds(self) -> float:
        """Training time of the run in all."""
        return self._earlier_seconds + time.monotonic() - self._start

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Leaves the time inside out of the training time, and out of the rate."""
        start = time.monotonic()
        with self.meter.apart():
            yield
        self._start += time.monotonic() - start

    def resume(self, step: int, facts: RunFacts | None) -> None:
        """Goes on after a checkpoint; lines of later steps are dropped.

        Args:
            step: the checkpoint's, 0 if there is none.
            facts: what `save` wrote, None if there is none.
        """
        if facts is not None:
            self._earlier_seconds = facts.seconds
            self.losses = facts.losses["a"], facts.losses["b"]
            self.skipped, self.skipped_in_row = facts.skipped, facts.skipped_in_row
        if self._devices.leads:
            truncate_metrics(self._run / METRICS_NAME, step)
            self.scores.read(read_metrics(self._run / METRICS_NAME))

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

    def collect(self, dispatch: Dispatch | None) -> None:
        """Waits for a dispatch, and takes down what its steps say; once."""
        if dispatch is None or dispatch.collected:
            return
        metrics = self._devices.read_metrics(dispatch.metrics)
        dispatch.collected, dispatch.metrics = True, None
        if self.skipped_in_row >= MAX_SKIPS:
            return  # the run has ended; this was on its way already
        dispatch.vote = int(metrics["vote"][0]) if "vote" in metrics else 0
        self.meter.start_after_compilation(dispatch.step)
        columns = [metrics[name].tolist() for name in ("loss_a", "loss_b", "grad_norm")]
        rows = list(zip(*columns, metrics["skipped"].tolist(), strict=True))
        more = {name: metrics[name] for name in MORE_LOSSES if name in metrics}
        for step, row in enumerate(rows, dispatch.step - len(rows) + 1):
            loss_a, loss_b, grad_norm, skipped = row
            self.losses = loss_a, loss_b
            place = step - dispatch.step - 1
            self.more_losses = {name: float(more[name][place]) for name in more}
            self._count_skip(dispatch, step, skipped)
            if step % self._config.log_every == 0:
                self._write_line(step, dispatch, grad_norm)
            if dispatch.problem:
                return

    def _count_skip(self, dispatch: Dispatch, step: int, skipped: int) -> None:
        self.skipped += skipped
        self.skipped_in_row = self.skipped_in_row + 1 if skipped else 0
        if self.skipped_in_row == 1 and self._devices.leads:
            _log.warning(
                "step %d: a loss or a gradient is not a finite number; the update is "
                "skipped",
                step,
            )
        if self.skipped_in_row == MAX_SKIPS:
            saved = list_checkpoints(self._run / CHECKPOINTS)[-1:]
            dispatch.problem = TrainingError(
                f"losses or gradients were not finite numbers {MAX_SKIPS} steps in a "
                f"row, up to step {step}. The last good checkpoint is kept (step "
                f"{saved[0] if saved else 'none yet'}). Go on from it with a lower "
                "--optimizer.learning-rate or with --optimizer.clip-norm 1"
            )

    def _write_line(self, step: int, dispatch: Dispatch, grad_norm: float) -> None:
        line = {
            "step": step,
            "loss_a": self.losses[0],
            "loss_b": self.losses[1],
            **self.more_losses,
            "grad_norm": grad_norm,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 3),
            # The steps of one dispatch end together.
            **self.meter.lap(dispatch.step),
        }
        if self._devices.leads:
            self._append(line)
        self.update_progress(step)

    def _append(self, line: dict[str, Any]) -> None:
        with (self._run / METRICS_NAME).open("a", encoding="utf-8") as file:
            file.write(format_json(line) + "\n")

    def judgement_is_due(self, step: int) -> bool:
        """Whether to measure held-out faces after a step."""
        return self.gauge is not None and self.scores.is_due(step)

    def judge(self, step: int, state: TrainState, facts: RunFacts) -> None:
        """Measures held-out faces, and keeps the best state.

        The figures are a line of their own, after that of the step's losses and before
        any checkpoint of the step: what is decided by them is then the same for a run
        that goes on from there.

        Args:
            step: whose state it is; its losses must have been collected.
            state: after the step.
            facts: what a checkpoint has to remember.
        """
        assert self.gauge is not None
        known = self.scores.plateau
        with self.meter.apart():
            params = self._devices.get_state(state.swap_params)
            remembered = self.memory(params)
            if not self._gauge_is_warm:
                self.gauge.warm_up(remembered)
                self._gauge_is_warm = True
            start = time.monotonic()
            figures = self.gauge.measure(remembered)
            if self.scores.is_best(figures) or not list_checkpoints(self._run / BEST):
                # What a swap needs, a quarter of what training does.
                tree = {"step": np.int32(step), "params": to_tree(params), "ema": None}
                tree |= _keep_bank(remembered)
                save_best(
                    self._run / BEST,
                    step,
                    tree,
                    facts=replace(
                        facts,
                        score=figures["score"],
                        scored_by_identity="identity_transfer_a_to_b" in figures,
                    ),
                )
            interval = self.scores.stretch(
                time.monotonic() - start, step_seconds=self._step_seconds
            )
            line = {"step": step, "seconds": round(self.seconds, 3), **figures}
            self.scores.add({**line, "interval": interval})
            self._append({**line, "interval": interval})
        if known is None and self.scores.plateau is not None:
            _log.info(
                "step %d: the run has stopped improving on held-out faces (%d steps "
                "without a better score)",
                step,
                self._config.patience,
            )

    @property
    def _step_seconds(self) -> float:
        rate = self.meter.median_rate
        return 2 * self._config.batch_size / rate if rate else 0.0

    def update_progress(self, step: int) -> None:
        """Brings what `show_progress` shows up to a step."""
        if self._progress is not None:
            self._progress.update_to(self._done(step), self._note(step))

    def _done(self, step: int) -> int:
        return round(self.seconds) if self._config.minutes is not None else step

    def _note(self, step: int) -> str:
        note = f"step {step}, loss A {self.losses[0]:.4f} B {self.losses[1]:.4f}"
        for name, loss in self.more_losses.items():
            note += f" {name.removeprefix('loss_')} {loss:.4f}"
        rate, wait, step_ms = self.meter.last.values()
        if rate is not None:
            note += f", {rate:.0f} img/s, {step_ms:.0f} ms/step, {wait:.0%} data wait"
        return note + (f", {self.skipped} skipped" if self.skipped else "")

    def save(self, step: int, state: TrainState, facts: RunFacts) -> None:
        """Saves a state as a checkpoint, with `facts` and what `resume` needs."""
        if not self._devices.leads:
            return
        facts = replace(
            facts,
            seconds=self.seconds,
            losses={"a": self.losses[0], "b": self.losses[1]},
            skipped=self.skipped,
            skipped_in_row=self.skipped_in_row,
        )
        with self.meter.apart():
            whole = self._devices.get_state(state)
            bank = _keep_bank(self.memory(whole.swap_params))
            save_checkpoint(
                self._run / CHECKPOINTS,
                step,
                state_to_tree(whole) | bank,
                facts=facts,
                # After a skipped update the parameters may be what causes it: such a
                # state is added to the others and pushes none of them out.
                keep=sys.maxsize if self.skipped_in_row else self._config.keep,
            )

    def write_pictures(
        self,
        step: int,
        state: TrainState,
        faces: Mapping[Side, UInt8[Any, "_ h w 3"]],
    ) -> None:
        """Draws ``preview.png``, both sides through both decoders, and ``loss.png``."""
        if not self._devices.leads:
            return
        with self.meter.apart():
            title = f"step {step}, loss A {self.losses[0]:.4f}, B {self.losses[1]:.4f}"
            params = self.memory(self._devices.get_state(state.swap_params))
            rows = _draw_rows(state.model, params, faces)
            write_picture(self._run / PREVIEW_NAME, draw_preview(rows, title=title))
            plot_losses(read_metrics(self._run / METRICS_NAME), self._run / LOSSES_NAME)


def _keep_bank(params: SwapParams) -> dict[str, Any]:
    bank = bank_to_tree(params)
    return {"bank": bank} if bank else {}


class Meter:
    """Images a second, step time, and the share of time spent waiting for batches."""

    def __init__(self, *, images_per_step: int):
        self._images_per_step = images_per_step
        self._lap_start: float | None = None
        self._lap_step = 0
        self._waited = 0.0
        self._rates: list[float] = []
        self._last: dict[str, float | None] = {
            "images_per_second": None,
            "data_wait": None,
            "step_ms": None,
        }

    @property
    def median_rate(self) -> float:
        """Images a second, the median of all laps; 0 before the first."""
        return statistics.median(self._rates) if self._rates else 0.0

    @property
    def last(self) -> dict[str, float | None]:
        """What the last lap gave; None for each before there was one."""
        return self._last

    def start_after_compilation(self, step: int) -> None:
        """Starts the clock at the end of the first step, which compiles.

        To be called at the end of each; later calls do nothing.
        """
        if self._lap_start is None:
            self._lap_start, self._lap_step, self._waited = time.monotonic(), step, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leaves the time inside out of the rate."""
        start = time.monotonic()
        yield
        if self._lap_start is not None:
            self._lap_start += time.monotonic() - start

    def lap(self, step: int) -> dict[str, float | None]:
        """Ends a lap, and gives its figures.

        A lap without a step, such as that of a later line of one dispatch, gives those
        of the lap before.

        Returns:
            ``images_per_second``; ``data_wait``, the share of the time in which the
            loop waited for a batch; ``step_ms``, milliseconds a step.
        """
        steps = step - self._lap_step
        if self._lap_start is None or steps == 0:
            return self._last
        now = time.monotonic()
        seconds = max(now - self._lap_start, 1e-9)
        rate = steps * self._images_per_step / seconds
        self._rates.append(rate)
        self._last = {
            "images_per_second": rate,
            "data_wait": min(self._waited / seconds, 1.0),
            "step_ms": 1000 * seconds / steps,
        }
        self._lap_start, self._lap_step, self._waited = now, step, 0.0
        return self._last
