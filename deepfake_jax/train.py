"""The training loop, readable top to bottom.

`train` takes two face sets to a run folder; the same call again goes on where the last
one stopped, with the result of an uninterrupted run.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import filelock
import jax
import numpy as np

from deepfake_jax.align import crop_faces
from deepfake_jax.checkpoint import (
    checkpoint_path,
    restore_checkpoint,
    save_checkpoint,
)
from deepfake_jax.config import TrainConfig
from deepfake_jax.data import BatchLoader, mean_color_shift, shift_color
from deepfake_jax.faceset import FaceSet, load_faces
from deepfake_jax.files import write_whole
from deepfake_jax.meter import Meter
from deepfake_jax.models.autoencoder import Side
from deepfake_jax.pictures import write_picture
from deepfake_jax.preview import (
    draw_preview,
    pick_examples,
    plot_losses,
    read_metrics,
)
from deepfake_jax.progress import Progress
from deepfake_jax.run import RunError, RunPaths, check_run, write_run_config
from deepfake_jax.step import TrainState, init_state, jit_step
from deepfake_jax.stop import StopRequest, stop_signals
from deepfake_jax.swap import make_swapper

_log = logging.getLogger("deepfake_jax")
_PREVIEW_FACES = 7


class TrainingError(RuntimeError):
    """Training that cannot go on; the text says at which step and what to do."""


@dataclass(frozen=True)
class TrainResult:
    """How a session of training ended.

    Attributes:
        step: updates of the run in all.
        loss_a: A's loss at the last step.
        loss_b: B's.
        images_per_second: faces of both sides, median over the session, compilation
            left out; 0 if the session had no whole log interval.
        checkpoint: the last one, as a path.
        interrupted: the signal that ended the session, or None.
        seconds: training time of the run in all.
    """

    step: int
    loss_a: float
    loss_b: float
    images_per_second: float
    checkpoint: str
    interrupted: str | None
    seconds: float


def train(
    a: str | Path,
    b: str | Path,
    run: str | Path,
    config: TrainConfig | None = None,
    *,
    min_faces: int = 2,
) -> TrainResult:
    """Trains, or goes on training, the run of two face sets.

    It ends when the run has had `config.steps` steps or `config.minutes` minutes in
    all, or on SIGINT or SIGTERM; each time the state is saved first.

    Args:
        a: face set of the person who is in the footage.
        b: face set of the person whose face shall appear.
        run: folder for everything the run writes.
        config: what to do; the defaults are the classic program's.
        min_faces: fewest faces a side that will do.

    Returns:
        The state of the run at its end.

    Raises:
        FaceSetError: a face set cannot be used.
        RunError: the run folder is another network's, or another process trains it.
        CheckpointError: the run has checkpoints, and none is good.
        TrainingError: the loss is no longer a finite number.
    """
    config = config or TrainConfig()
    run, start = Path(run), time.monotonic()
    sets = load_faces(a, min_faces=min_faces), load_faces(b, min_faces=min_faces)
    check_run(run, config)
    run.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(RunPaths(run).lock)
    try:
        with lock.acquire(timeout=0), stop_signals() as stop:
            write_run_config(run, config)
            return _Session(run, config, *sets, start=start).train_until(stop)
    except filelock.Timeout:
        raise RunError(
            f"another process is training {run}; wait for it or use another --run"
        ) from None


class _Session:
    """One call of `train`: the state of the loop, and what it writes."""

    def __init__(
        self, run: Path, config: TrainConfig, a: FaceSet, b: FaceSet, *, start: float
    ):
        self.config, self.paths, self.start = config, RunPaths(run), start
        self.earlier_seconds = 0.0
        self.losses = float("nan"), float("nan")
        self.extra = _describe_run(config, a, b)
        self.state = self._resume(init_state(jax.random.key(config.seed), config))
        self.step = int(self.state.step)
        self.saved_step = self.step or None
        shift = np.asarray(self.extra["color_shift"])
        self.faces = shift_color(a.faces, shift), b.faces
        truncate_metrics(self.paths.metrics, self.step)

    def _resume(self, state: TrainState) -> TrainState:
        restored = restore_checkpoint(self.paths.checkpoints, _arrays(state))
        if restored is None:
            return state
        tree, manifest = restored
        extra = manifest["extra"]
        self.earlier_seconds = extra["seconds"]
        self.losses = extra["loss_a"], extra["loss_b"]
        if extra["color_shift"] != self.extra["color_shift"]:
            _log.warning("the face sets have changed; the run keeps its colour shift")
            self.extra["color_shift"] = extra["color_shift"]
        _log.info("going on at step %d", manifest["step"])
        return replace(state, **tree)

    @property
    def seconds(self) -> float:
        """Training time of the run in all."""
        return self.earlier_seconds + time.monotonic() - self.start

    @property
    def finished(self) -> bool:
        """Whether the run has had all that its config asks for, a step at least."""
        steps, minutes = self.config.steps, self.config.minutes
        return (steps is not None and self.step >= steps) or (
            minutes is not None and self.step > 0 and self.seconds >= 60 * minutes
        )

    def train_until(self, stop: StopRequest) -> TrainResult:
        """The loop: a batch, a step, and now and then a line, pictures, a state."""
        config, step_function = self.config, jit_step()
        meter = Meter(images_per_step=2 * config.batch_size)
        next_save = time.monotonic() + 60 * config.checkpoint_minutes
        next_preview = time.monotonic() + config.preview_seconds
        previous: Any = None
        with self._loader() as loader, self._progress() as progress:
            batches = loader.batches(self.step)
            while not self.finished and not stop.reason:
                with meter.waiting():
                    batch = next(batches)
                self.state, metrics = step_function(self.state, batch)
                self.step += 1
                # Wait for the step before this one: the device always has one step
                # queued, and the clock is never further off than that.
                jax.block_until_ready(previous)
                meter.start_after_compilation(metrics, self.step)
                previous = metrics
                if self.step % config.log_every == 0:
                    self._log(metrics, meter)
                    progress.update_to(self._done(), self._note(meter))
                now = time.monotonic()
                if self.step % config.checkpoint_every == 0 or now >= next_save:
                    with meter.apart():
                        self._save(metrics)
                    next_save = time.monotonic() + 60 * config.checkpoint_minutes
                if now >= next_preview:
                    with meter.apart():
                        self._write_pictures()
                    next_preview = time.monotonic() + config.preview_seconds
            if previous is not None:
                self._read_losses(previous)
            progress.update_to(self._done(), self._note(meter))
        if self.saved_step != self.step:
            self._save(previous)
        self._write_pictures()
        return TrainResult(
            step=self.step,
            loss_a=self.losses[0],
            loss_b=self.losses[1],
            images_per_second=meter.median_rate,
            checkpoint=str(checkpoint_path(self.paths.checkpoints, self.step)),
            interrupted=stop.reason,
            seconds=self.seconds,
        )

    def _loader(self) -> BatchLoader:
        return BatchLoader(
            *self.faces,
            seed=self.config.seed,
            batch_size=self.config.batch_size,
            augment=self.config.augment,
            crop_size=self.state.model.face_size,
            workers=self.config.workers,
        )

    def _progress(self) -> Progress:
        if self.config.minutes is not None:
            progress = Progress("train", total=60 * self.config.minutes, unit="s")
        else:
            progress = Progress("train", total=self.config.steps, unit="step")
        progress.begin_at(self._done())
        return progress

    def _done(self) -> int:
        return round(self.seconds) if self.config.minutes is not None else self.step

    def _note(self, meter: Meter) -> str:
        return (
            f"step {self.step}, loss A {self.losses[0]:.4f} B {self.losses[1]:.4f}, "
            f"{meter.median_rate:.0f} img/s"
        )

    def _read_losses(self, metrics: Any) -> None:
        """Waits for a step's losses; raises TrainingError if they are not finite."""
        losses = float(metrics["loss_a"]), float(metrics["loss_b"])
        if not np.all(np.isfinite(losses)):
            raise TrainingError(
                f"the loss is not a finite number at step {self.step}: A {losses[0]}, "
                f"B {losses[1]}. The last good checkpoint is kept (step "
                f"{self.saved_step or 'none yet'}). Go on from it with a lower "
                "--optimizer.learning-rate or with --optimizer.clip-norm 1"
            )
        self.losses = losses

    def _log(self, metrics: Any, meter: Meter) -> None:
        self._read_losses(metrics)
        line = {
            "step": self.step,
            "loss_a": self.losses[0],
            "loss_b": self.losses[1],
            "grad_norm": float(metrics["grad_norm"]),
            "seconds": round(self.seconds, 3),
            **meter.lap(self.step),
        }
        with self.paths.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self, metrics: Any) -> None:
        if metrics is not None:
            self._read_losses(metrics)
        extra = {
            **self.extra,
            "seconds": self.seconds,
            "loss_a": self.losses[0],
            "loss_b": self.losses[1],
        }
        save_checkpoint(
            self.paths.checkpoints,
            self.step,
            _arrays(self.state),
            extra=extra,
            keep=self.config.keep,
        )
        self.saved_step = self.step

    def _write_pictures(self) -> None:
        size = self.state.model.face_size
        rows = []
        for side, other, faces in zip("ab", "ba", self.faces, strict=True):
            crops = crop_faces(pick_examples(faces, _PREVIEW_FACES), size)
            rows.append((f"{side.upper()}, real", crops))
            for to in (side, other):
                swapper = make_swapper(
                    self.state.model, self.state.swap_params, to=cast(Side, to)
                )
                rows.append((f"{side.upper()}, decoder {to.upper()}", swapper(crops)))
        title = f"step {self.step}, loss A {self.losses[0]:.4f}, B {self.losses[1]:.4f}"
        write_picture(self.paths.preview, draw_preview(rows, title=title))
        plot_losses(read_metrics(self.paths.metrics), self.paths.losses)


def _describe_run(config: TrainConfig, a: FaceSet, b: FaceSet) -> dict[str, Any]:
    """What a checkpoint must say for a swap to need nothing else."""
    shift = mean_color_shift(a.faces, b.faces) if config.match_color else np.zeros(3)
    return {
        "model": asdict(config.model),
        "color_shift": shift.tolist(),
        "identities": {
            side: faces.header["identity"]
            for side, faces in (("a", a), ("b", b))
            if "identity" in faces.header
        },
    }


def _arrays(state: TrainState) -> dict[str, Any]:
    """The part of the state that a checkpoint holds."""
    return {
        "step": state.step,
        "params": state.params,
        "opt_state": state.opt_state,
        "ema": state.ema,
    }


def truncate_metrics(path: Path, step: int) -> None:
    """Drops the lines after a step, which a resumed run writes again."""
    lines = [line for line in read_metrics(path) if line["step"] <= step]
    with write_whole(path, overwrite=True) as partial:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        partial.write_text(text, encoding="utf-8")
