"""What the devices are given one after another: steps, their batches, and a vote."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.data import load_batches
from deepfake_jax.training.session import Session


class Dispatch(NamedTuple):
    """Steps that the devices are given together.

    Attributes:
        steps: how many.
        batch: theirs, on the devices; stacked if there are more than one.
        vote: of this process on the run's end, see `Devices.put_vote`.
    """

    steps: int
    batch: Batch
    vote: dict[str, Any]


def feed_devices(
    session: Session, clock: Clock, vote: Callable[[], int]
) -> Generator[Dispatch]:
    """The dispatches of a session up to the run's last step, prepared ahead.

    Args:
        session: whose.
        clock: to count the time that batches take.
        vote: this process's on the run's end, asked for with each dispatch.
    """
    devices, step = session.devices, session.step
    with closing(_load(session)) as batches:
        while steps := steps_of_dispatch(session.config, step):
            with clock.waiting():
                group = [next(batches) for _ in range(steps)]
            yield Dispatch(steps, devices.put_batches(group), devices.put_vote(vote()))
            step += steps


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
        middles=session.middles,
        chances=session.chances,
        masks=session.masks,
        weights=session.weights,
        half_steps=config.half_steps,
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
