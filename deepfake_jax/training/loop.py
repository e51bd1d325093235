"""The training loop, readable top to bottom.

`train` takes two face sets to a run folder; the same call again goes on where the last
one stopped, with the result of an uninterrupted run.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deepfake_jax.models.network import count_parameters
from deepfake_jax.runs.checkpoint import checkpoint_path, list_checkpoints
from deepfake_jax.runs.run_folder import BEST, CHECKPOINTS
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.checkpoint_keeper import CheckpointKeeper
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.device_memory import naming_batch_size
from deepfake_jax.training.dispatches import feed_devices
from deepfake_jax.training.ending import Ending, StopRequest, stop_signals
from deepfake_jax.training.history import History
from deepfake_jax.training.judging import Judging
from deepfake_jax.training.progress_pictures import ProgressPictures
from deepfake_jax.training.session import Session, start_session
from deepfake_jax.training.watching import Watch, Watching


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
    consent: str = "",
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
        consent: what the user confirms about the people's consent, to be recorded with
            the run; see `runs.consent`.
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
            consent=consent,
        ) as session,
        # Not before: nothing is there to be saved, and a signal ends the start at once.
        stop_signals() as stop,
        naming_batch_size(session.config.batch_size),
    ):
        return _run(session, stop, watch, watch_minutes)


def _run(
    session: Session, stop: StopRequest, watch: Watch | None, minutes: Sequence[float]
) -> TrainResult:
    """The loop: a batch, a step, and now and then a line, pictures, a state."""
    devices, state, step = session.devices, session.state, session.step
    clock = Clock(
        images_per_step=2 * session.config.batch_size,
        earlier_seconds=session.facts.seconds,
    )
    history = History(session, clock)
    judging = Judging(session, history, clock)
    watching = Watching(session, history, clock, watch, minutes)
    keeper = CheckpointKeeper(session, history, clock)
    pictures = ProgressPictures(session, history, clock)
    ending = Ending(session, history, clock, judging, stop)
    advance = {many: devices.make_step(stacked=many) for many in (False, True)}
    feed = feed_devices(session, clock, ending.vote)
    with closing(feed), history.show_progress(step):
        coming = next(feed, None)
        while coming is not None and not ending.has_come:
            state, metrics = advance[coming.steps > 1](
                state, coming.batch, teacher=session.teacher, **coming.vote
            )
            step += coming.steps
            history.add(step, metrics)
            # The next batch goes to the devices while they work.
            coming = next(feed, None)
            # The devices always have one dispatch queued; the clock is as far off.
            history.collect(leave=1)
            if judging.is_due(step):
                judging.judge(step, state)
            if watching.is_due():
                watching.show(step, state)
            if keeper.is_due(step):
                keeper.save(step, state)
            if pictures.is_due():
                pictures.draw(step, state)
            ending.look()
        history.finish(step)
    keeper.save(step, state)
    pictures.draw(step, state)
    if ending.interrupted is None:
        watching.show(step, state)
    return _sum_up(session, step, history, clock, judging, ending)


def _sum_up(
    session: Session,
    step: int,
    history: History,
    clock: Clock,
    judging: Judging,
    ending: Ending,
) -> TrainResult:
    return TrainResult(
        step=step,
        loss_a=history.losses["a"],
        loss_b=history.losses["b"],
        images_per_second=clock.median_rate,
        checkpoint=str(checkpoint_path(session.run / CHECKPOINTS, step)),
        interrupted=ending.interrupted,
        seconds=clock.seconds,
        skipped=history.skipped,
        best=(list_checkpoints(session.run / BEST) or [None])[-1],
        plateau=judging.plateau,
        parameters=count_parameters(session.state.model.shapes()),
    )
