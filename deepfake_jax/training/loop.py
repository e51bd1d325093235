"""The training loop, readable top to bottom.

`train` takes two face sets to a run folder; the same call again goes on where the last
one stopped, with the result of an uninterrupted run.
"""

import logging
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepfake_jax.evaluation.held_out import Gauge
from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.runs.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    restore_checkpoint,
)
from deepfake_jax.runs.face_bank import gather_examples, remember
from deepfake_jax.runs.recorded_sets import check_people, write_sets
from deepfake_jax.runs.run_folder import (
    BEST,
    CHECKPOINTS,
)
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.data import load_batches
from deepfake_jax.training.devices import Devices, find_devices
from deepfake_jax.training.history import Dispatch, Journal
from deepfake_jax.training.mesh_guide import make_mesh_guide
from deepfake_jax.training.observer import Observer
from deepfake_jax.training.session import (
    claim_run,
    compare_processes,
    describe_run,
    find_landmarks,
    find_masks,
    fingerprint_run,
    load_parameters,
    split_faces,
    start_with,
)
from deepfake_jax.training.state import (
    Teacher,
    TrainState,
    init_state,
    state_from_tree,
)
from deepfake_jax.training.stop import StopRequest, stop_signals
from deepfake_jax.training.teacher import TeacherRun, load_teacher
from deepfake_jax.types import SIDES, Side

_log = logging.getLogger("deepfake_jax")
# What processes tell each other: a signal's number, or that the run has had its time or
# has stopped improving, or nothing.
_GO_ON, _ENOUGH = 0, 1


@dataclass(frozen=True)
class TrainResult:
    """How a session of training ended.

    A loss is NaN if the last step's was no finite number.

    Attributes:
        step: updates of the run in all.
        loss_a: A's loss at the last step.
        loss_b: B's.
        images_per_second: faces of both sides, median over the session, compilation
            left out; 0 if the session had no whole log interval.
        checkpoint: the last one, as a path.
        interrupted: the signal that ended the session, or None.
        seconds: training time of the run in all.
        skipped: updates of the run in all that were left out, because a loss or a
            gradient was no finite number.
        best: step of the best checkpoint, None if no held-out faces were judged.
        plateau: step at which the run had stopped improving, None before.
    """

    step: int
    loss_a: float
    loss_b: float
    images_per_second: float
    checkpoint: str
    interrupted: str | None
    seconds: float
    skipped: int
    best: int | None = None
    plateau: int | None = None


def train(
    a: str | Path,
    b: str | Path,
    run: str | Path,
    config: TrainConfig | None = None,
    *,
    min_faces: int = 1,
    devices: int | None = None,
    init: str | Path | None = None,
    init_decoders: bool = False,
    teacher: str | Path | None = None,
    observer: Observer | None = None,
) -> TrainResult:
    """Trains, or goes on training, the run of two face sets.

    It ends when the run has had `config.steps` steps or `config.minutes` minutes in
    all, where `config.until` says so when it has stopped improving, or on SIGINT or
    SIGTERM; each time the state is saved first.

    It uses every device there is, of all processes that `parallel.setup_distributed`
    joined; each of them calls `train` with the same arguments. The run folder must be
    on a disk that all of them see. The leader alone writes, and a signal to any of them
    ends all at the same step.

    Args:
        a: face set of the person who is in the footage.
        b: face set of the person whose face shall appear.
        run: folder for everything the run writes.
        config: what to do; the defaults are the classic program's.
        min_faces: fewest faces a side that will do.
        devices: how many of each process to use; None takes all.
        init: another run, whose encoder a new run starts with; a run that goes on does
            not look at it.
        init_decoders: start with its decoders, too.
        teacher: another run, whose swaps this one learns, `config.loss.swap_weight`
            says how much. Its held-out faces and its shift of colors are taken over,
            too. A run that goes on must have the same; see `distill`.
        observer: looks at the run on its way and at its end; for a single process,
            because the clocks of others would go on meanwhile.

    Returns:
        The state of the run at its end.

    Raises:
        FaceSetError: a face set cannot be used.
        RunError: the run folder is another network's, or `init` or `teacher` cannot be
            used.
        OutputBusyError: another process trains the run.
        CheckpointError: the run has checkpoints, and none is good.
        ConfigError: there are not so many devices, or the batch cannot be split evenly
            over them.
        TrainingError: losses or gradients were no finite numbers 20 steps in a row, or
            the processes do not agree on what to train.
    """
    config = config or TrainConfig()
    run = Path(run)
    place = find_devices(devices)
    rows = place.rows(config.batch_size)
    with ExitStack() as stack:
        try:
            faces_a, faces_b = (
                load_faces(
                    folder,
                    min_faces=min_faces,
                    memory_limit_mb=config.memory_limit_mb,
                )
                for folder in (a, b)
            )
            taught = load_teacher(teacher, run, config)
            if place.leads:
                stack.enter_context(claim_run(run, config, taught))
            stop = stack.enter_context(stop_signals())
            start = load_parameters(run, config, init, decoders=init_decoders)
            session = _Session(
                run,
                config,
                faces_a,
                faces_b,
                place,
                rows=rows,
                start=start,
                teacher=taught,
            )
            session.observer = observer
        except Exception:
            place.meet(0, 0, 0)
            raise
        compare_processes(place.meet(1, session.step, session.fingerprint), run)
        return session.train_until(stop)


class _Session:
    """One call of `train`: the state of the loop."""

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        a: FaceSet,
        b: FaceSet,
        devices: Devices,
        *,
        rows: slice,
        start: Network | None,
        teacher: TeacherRun | None = None,
    ):
        self.config, self.run = config, run
        self.devices, self.rows = devices, rows
        self.journal = Journal(run, config, devices)
        sets: dict[Side, FaceSet] = {"a": a, "b": b}
        self.splits = split_faces(
            run,
            sets,
            config,
            leads=devices.leads,
            teacher=teacher,
        )
        self.among: dict[Side, np.ndarray] = {
            side: self.splits[side].train for side in SIDES
        }
        self.facts = describe_run(config, sets, self.among, teacher)
        counts = [len(own) for own in self.among.values()]
        told = "" if teacher is None else teacher.name
        self.fingerprint = fingerprint_run(config, self.facts, told, *counts)
        self.observer: Observer | None = None
        self.observed_step, self.observed_seconds = -1, 0.0
        state = init_state(jax.random.key(config.seed), config)
        if config.loss.mesh_weight:
            state = replace(state, mesh=make_mesh_guide(sets, self.among))
        state = self._resume(start_with(state, start))
        self.step = int(state.step)
        self.saved_step = self.step or None
        self.state = devices.put_state(state)
        self.teacher: Teacher | None = None
        if teacher is not None:
            self.teacher = devices.put_state(teacher.network)
        shift = self.facts.shift
        self.faces: dict[Side, Any] = {
            "a": shift_color(a.faces, shift),
            "b": b.faces,
        }
        self.landmarks = find_landmarks(config, sets, taught=teacher is not None)
        self.masks = find_masks(config, sets)
        self._begin_judging(sets)
        if devices.leads:
            self.journal.memory = self._make_memory(sets, shift)
            check_people(run, sets)
            write_sets(run, sets)

    def _begin_judging(self, sets: dict[Side, FaceSet]) -> None:
        held = all(len(split.held) for split in self.splits.values())
        if held and self.config.judge_every:
            if self.devices.leads:
                model = self.state.model
                self.journal.gauge = Gauge(model, sets, self.splits, self.facts)
        elif self.config.until:
            _log.warning(
                "until %s: without held-out faces of both sides, or with judge_every "
                "0, nobody sees whether the run improves; it ends by steps or minutes",
                self.config.until,
            )

    def _make_memory(
        self, sets: dict[Side, FaceSet], shift: np.ndarray
    ) -> Callable[[SwapParams], SwapParams]:
        model = self.state.model
        examples = gather_examples(sets, self.among, model.crop_size, color_shift=shift)
        pictures = self.config.exemplars
        return partial(remember, model, examples=examples, pictures=pictures)

    def _resume(self, state: TrainState) -> TrainState:
        restored = restore_checkpoint(self.run / CHECKPOINTS)
        if restored is None:
            self.journal.resume(0, None)
            return state
        tree, facts = restored.tree, restored.facts
        self.journal.resume(restored.step, facts)
        self.observed_seconds = facts.seconds
        if facts.color_shift != self.facts.color_shift:
            _log.info("the run keeps the shift of color that it began with")
            self.facts = replace(self.facts, color_shift=facts.color_shift)
        _log.info("going on at step %d", restored.step)
        return state_from_tree(tree, state)

    def train_until(self, stop: StopRequest) -> TrainResult:
        """The loop: a batch, a step, and now and then a line, pictures, a state."""
        config, devices = self.config, self.devices
        step_function = devices.make_step()
        stacked_step = devices.make_step(stacked=True)
        next_save = time.monotonic() + 60 * config.checkpoint_minutes
        next_preview = time.monotonic() + config.preview_seconds
        save_is_due, newest = False, None
        journal = self.journal
        ending = int(devices.meet(self._vote(stop)).max())
        with closing(self._load()) as batches, journal.show_progress(self.step):
            feed = self._feed(batches, stop)
            following = next(feed, None)
            while following is not None and not ending:
                count, batch, vote = following
                advance = stacked_step if count > 1 else step_function
                self.state, metrics = advance(
                    self.state, batch, teacher=self.teacher, **vote
                )
                self.step += count
                previous, newest = newest, Dispatch(self.step, metrics)
                # The next batch goes to the devices while they work.
                following = next(feed, None)
                # Wait for the dispatch before this one: the devices always have one
                # queued, and the clock is never further off than that.
                journal.collect(previous)
                if journal.judgement_is_due(self.step):
                    journal.collect(newest)
                    journal.judge(self.step, self.state, self.facts)
                if self._look_is_due():
                    journal.collect(newest)
                    self._observe(journal.seconds)
                now = time.monotonic()
                save_is_due |= self.step % config.checkpoint_every == 0
                save_is_due |= now >= next_save
                if save_is_due and devices.leads:
                    journal.collect(newest)
                    # After a skipped update, wait for one that is not: the parameters
                    # may be what causes it.
                    if not journal.skipped_in_row:
                        self._save()
                        save_is_due = False
                        next_save = time.monotonic() + 60 * config.checkpoint_minutes
                if now >= next_preview and devices.leads:
                    self._write_pictures()
                    next_preview = time.monotonic() + config.preview_seconds
                ending = self._find_end(previous, stop)
            journal.collect(newest)
            self._find_end(newest, stop)
            journal.update_progress(self.step)
        ended = journal.seconds
        if self.saved_step != self.step:
            self._save()
        self._write_pictures()
        if self.observer and ending <= 1 and self.observed_step != self.step:
            self._observe(ended)
        return self._result(signal.Signals(ending).name if ending > 1 else None)

    def _vote(self, stop: StopRequest) -> int:
        """Why this process would end the run now: a signal, enough of it, or 0."""
        minutes, seconds = self.config.minutes, self.journal.seconds
        over = minutes is not None and self.step > 0 and seconds >= 60 * minutes
        if self.config.until == "plateau":
            over |= self.journal.scores.plateau is not None
        return stop.number or (_ENOUGH if over else _GO_ON)

    def _find_end(self, collected: Dispatch | None, stop: StopRequest) -> int:
        """Why all processes end the run now, or 0.

        With several processes this must depend on nothing but a dispatch that all of
        them have collected, or one would wait for others that have ended.

        Raises:
            TrainingError: too many updates in a row were skipped.
        """
        if collected is not None and collected.problem:
            raise collected.problem
        if self.devices.processes == 1:
            return self._vote(stop)
        return collected.vote if collected else _GO_ON

    def _feed(
        self, batches: Iterator[Batch], stop: StopRequest
    ) -> Iterator[tuple[int, Batch, dict[str, Any]]]:
        """Each coming dispatch: how many steps, their batches, and a vote."""
        step = self.step
        while count := steps_of_dispatch(self.config, step):
            with self.journal.meter.waiting():
                group = [next(batches) for _ in range(count)]
            vote = self.devices.put_vote(self._vote(stop))
            yield count, self.devices.put_batches(group), vote
            step += count

    def _look_is_due(self) -> bool:
        seconds, since = self.journal.seconds, self.observed_seconds
        return self.observer is not None and self.observer.is_due(seconds, since=since)

    def _observe(self, seconds: float) -> None:
        """Shows the observer what a swap would be drawn with now."""
        assert self.observer is not None
        self.observed_step, self.observed_seconds = self.step, seconds
        with self.journal.off_the_clock():
            now = TrainedRun(
                model=self.state.model,
                params=self.journal.memory(
                    self.devices.get_state(self.state.swap_params)
                ),
                step=self.step,
                facts=self.facts,
            )
            self.observer.observe(now, seconds)

    def _save(self) -> None:
        self.journal.save(self.step, self.state, self.facts)
        self.saved_step = self.step

    def _write_pictures(self) -> None:
        self.journal.write_pictures(self.step, self.state, self.faces)

    def _load(self) -> Generator[Batch]:
        return load_batches(
            self.faces,
            first_step=self.step,
            seed=self.config.seed,
            batch_size=self.config.batch_size,
            augment=self.config.augment,
            crop_size=self.state.model.crop_size,
            workers=self.config.workers,
            rows=self.rows,
            among=self.among,
            landmarks=self.landmarks,
            masks=self.masks,
            half_steps=self.config.half_steps,
        )

    def _result(self, interrupted: str | None) -> TrainResult:
        return TrainResult(
            step=self.step,
            loss_a=self.journal.losses[0],
            loss_b=self.journal.losses[1],
            images_per_second=self.journal.meter.median_rate,
            checkpoint=str(checkpoint_path(self.run / CHECKPOINTS, self.step)),
            interrupted=interrupted,
            seconds=self.journal.seconds,
            skipped=self.journal.skipped,
            best=(list_checkpoints(self.run / BEST) or [None])[-1],
            plateau=self.journal.scores.plateau,
        )


def steps_of_dispatch(config: TrainConfig, step: int) -> int:
    """How many steps to dispatch together after `step`; 0 at the run's end.

    Either `config.steps_per_dispatch`, or single steps up to where a state is saved or
    may be judged, or the run ends: a dispatch of any other length would be compiled
    anew.
    """
    room = config.checkpoint_every - step % config.checkpoint_every
    if config.judge_every:
        room = min(room, config.judge_every - step % config.judge_every)
    if config.steps is not None:
        room = min(room, config.steps - step)
    if step < config.half_steps:  # crops of one size alone can be stacked
        room = min(room, config.half_steps - step)
    if room <= 0:
        return 0
    return config.steps_per_dispatch if config.steps_per_dispatch <= room else 1
