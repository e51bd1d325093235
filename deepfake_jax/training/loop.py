"""The training loop, readable top to bottom.

`train` takes two face sets to a run folder; the same call again goes on where the last
one stopped, with the result of an uninterrupted run.
"""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.models.network import count_parameters
from deepfake_jax.runs.checkpoint import checkpoint_path, list_checkpoints
from deepfake_jax.runs.run_folder import BEST, CHECKPOINTS
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.checkpoint_keeper import CheckpointKeeper
from deepfake_jax.training.clock import Clock, Every, Moments
from deepfake_jax.training.data import load_batches
from deepfake_jax.training.history import History
from deepfake_jax.training.judging import Judging
from deepfake_jax.training.progress_pictures import write_pictures
from deepfake_jax.training.session import Session, start_session
from deepfake_jax.training.state import TrainState
from deepfake_jax.training.stop import StopRequest, stop_signals

# What processes tell each other: nothing, or that the run has had its time or has
# stopped improving, or that and a signal's number, which may be 1.
_ENOUGH = 1
Watch = Callable[[TrainedRun, float], None]


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
        parameters: learned numbers of the network.
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
    parameters: int = 0


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
    watch: Watch | None = None,
    watch_minutes: Sequence[float] = (),
) -> TrainResult:
    """Trains, or goes on training, the run of two face sets.

    It ends when the run has had `config.steps` steps or `config.minutes` minutes in
    all, where `config.until` says so when it has stopped improving, or on SIGINT,
    SIGTERM or SIGHUP; each time the state is saved first.

    It uses every device there is, of all processes that `devices.setup_distributed`
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
        watch: looks at the run at `watch_minutes` and at its end, unless a signal ended
            it; for a single process, because the clocks of others would go on
            meanwhile. It gets what a swap would be drawn with now, and the seconds
            trained; the parameters are the run's own: the next step takes them away.
        watch_minutes: of the run's training time in all, when to look; the run's clock
            stands still meanwhile.

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
    with (
        start_session(
            {"a": a, "b": b},
            Path(run),
            config or TrainConfig(),
            min_faces=min_faces,
            devices=devices,
            init=init,
            init_decoders=init_decoders,
            teacher=teacher,
        ) as session,
        # Not before: nothing is there to be saved, and a signal ends the start at once.
        stop_signals() as stop,
    ):
        return _train_until(session, stop, watch, watch_minutes)


def _train_until(
    session: Session, stop: StopRequest, watch: Watch | None, minutes: Sequence[float]
) -> TrainResult:
    """The loop: a batch, a step, and now and then a line, pictures, a state."""
    run, config, devices = session.run, session.config, session.devices
    state, step, facts = session.state, session.step, session.facts
    clock = Clock(images_per_step=2 * config.batch_size, earlier_seconds=facts.seconds)
    history = History(run, config, devices, clock, facts)
    judging = Judging(session, history, clock)
    keeper = CheckpointKeeper(run, config, session.memory, step)
    pictures = Every(config.preview_seconds)
    looks = Moments([60 * each for each in minutes], since=facts.seconds)
    advance = {False: devices.make_step(), True: devices.make_step(stacked=True)}
    previous = newest = looked = None

    def vote() -> int:
        if stop.number:
            return _ENOUGH + stop.number
        return _ENOUGH * _has_enough(config, step, clock, judging)

    def find_end(collected: int | None) -> int:
        # Of several processes all must come to the same: by nothing but a dispatch that
        # all of them have collected, or one would wait for others that have ended.
        told = history.end_vote(collected)
        return vote() if devices.processes == 1 else told

    ending = int(devices.meet(vote()).max())
    with closing(_load(session)) as batches, history.show_progress(step):
        feed = _feed(session, batches, clock, vote)
        following = next(feed, None)
        while following is not None and not ending:
            count, batch, told = following
            state, metrics = advance[count > 1](
                state, batch, teacher=session.teacher, **told
            )
            step += count
            previous, newest = newest, step
            history.add(step, metrics)
            # The next batch goes to the devices while they work.
            following = next(feed, None)
            # Wait for the dispatch before this one: the devices always have one queued,
            # and the clock is never further off than that.
            history.collect(leave=1)
            if judging.is_due(step):
                history.collect()
                judging.judge(step, devices.get_state(state.swap_params))
            if watch and looks.is_due(clock.seconds):
                history.collect()
                looked = step
                _show(watch, session, state, history, clock)
            if devices.leads and keeper.is_due(step):
                history.collect()
                # After a skipped update, wait for one that is not: the parameters may
                # be what causes it.
                if not history.skipped_in_row:
                    _save(keeper, session, state, history, clock)
            if devices.leads and pictures.is_due():
                _draw(session, state, history, clock)
            ending = find_end(previous)
        history.collect()
        find_end(newest)
        history.update_progress(step)
    if devices.leads:
        _save(keeper, session, state, history, clock)
        _draw(session, state, history, clock)
    if watch and ending <= _ENOUGH and looked != step:
        _show(watch, session, state, history, clock)
    interrupted = signal.Signals(ending - _ENOUGH).name if ending > _ENOUGH else None
    return _sum_up(session, step, history, clock, judging, interrupted)


def _has_enough(config: TrainConfig, step: int, clock: Clock, judging: Judging) -> bool:
    """Whether a run has had its time, or has stopped improving."""
    minutes = config.minutes
    over = minutes is not None and step > 0 and clock.seconds >= 60 * minutes
    return over or (config.until == "plateau" and judging.plateau is not None)


def _load(session: Session) -> Generator[Batch]:
    config = session.config
    return load_batches(
        session.faces,
        first_step=session.step,
        seed=config.seed,
        batch_size=config.batch_size,
        augment=config.augment,
        crop_size=session.state.model.crop_size,
        workers=config.workers,
        rows=session.rows,
        among=session.among,
        landmarks=session.landmarks,
        masks=session.masks,
        half_steps=config.half_steps,
    )


def _feed(
    session: Session, batches: Iterator[Batch], clock: Clock, vote: Callable[[], int]
) -> Iterator[tuple[int, Batch, dict[str, Any]]]:
    """Each coming dispatch: how many steps, their batches, and this process's vote."""
    devices, step = session.devices, session.step
    while count := steps_of_dispatch(session.config, step):
        with clock.waiting():
            group = [next(batches) for _ in range(count)]
        yield count, devices.put_batches(group), devices.put_vote(vote())
        step += count


def _save(
    keeper: CheckpointKeeper,
    session: Session,
    state: TrainState,
    history: History,
    clock: Clock,
) -> None:
    with clock.apart():
        keeper.save(session.devices.get_state(state), history.facts)


def _draw(session: Session, state: TrainState, history: History, clock: Clock) -> None:
    with clock.apart():
        whole = session.devices.get_state(state)
        loss_a, loss_b = history.losses.values()
        title = f"step {int(whole.step)}, loss A {loss_a:.4f}, B {loss_b:.4f}"
        params = session.memory(whole.swap_params)
        write_pictures(session.run, title, whole.model, params, session.faces)


def _show(
    watch: Watch, session: Session, state: TrainState, history: History, clock: Clock
) -> None:
    seconds = clock.seconds
    with clock.stopped():
        whole = session.devices.get_state(state)
        now = TrainedRun(
            model=whole.model,
            params=session.memory(whole.swap_params),
            step=int(whole.step),
            facts=history.facts,
        )
        watch(now, seconds)


def _sum_up(
    session: Session,
    step: int,
    history: History,
    clock: Clock,
    judging: Judging,
    interrupted: str | None,
) -> TrainResult:
    return TrainResult(
        step=step,
        loss_a=history.losses["a"],
        loss_b=history.losses["b"],
        images_per_second=clock.median_rate,
        checkpoint=str(checkpoint_path(session.run / CHECKPOINTS, step)),
        interrupted=interrupted,
        seconds=clock.seconds,
        skipped=history.skipped,
        best=(list_checkpoints(session.run / BEST) or [None])[-1],
        plateau=judging.plateau,
        parameters=count_parameters(session.state.model.shapes()),
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
