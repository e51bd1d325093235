"""What the devices are given one after another: steps, their batches, and a vote."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32

from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.clock import Clock
from deepfake_jax.training.data import load_batches, load_cuts
from deepfake_jax.training.session import Session
from deepfake_jax.types import Side

_SHARE = 0.25  # of a device's memory that faces may take


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
    laid = _lay_faces(session)
    load = _load_batches if laid is None else _load_cuts
    with closing(load(session)) as parts:
        while steps := steps_of_dispatch(session.config, step):
            with clock.waiting():
                group = [next(parts) for _ in range(steps)]
            batch = devices.put_batches(group)
            if laid is not None:
                batch = devices.cut(
                    *(*laid, batch),
                    crop_size=session.state.model.crop_size,
                    weighted=session.weights is not None,
                    occluded=session.config.augment.occluders > 0,
                    moved=session.config.augment.expressions > 0,
                )
            yield Dispatch(steps, batch, devices.put_vote(vote()))
            step += steps


def _lay_faces(session: Session) -> tuple[Any, Any] | None:
    """The faces and their masks on the devices, where these cut pairs out of them."""
    devices, given = session.devices, (session.faces, session.masks)
    where = session.config.warp_on
    if where == "auto":
        needed = sum(part.nbytes for part in jax.tree.leaves(given))
        where = "device" if needed <= _SHARE * devices.memory else "host"
    if where == "host":
        return None
    # A memory-mapped face set is no array that devices take.
    return devices.put_state(jax.tree.map(np.asarray, given))


def _load_batches(session: Session) -> Generator[Batch]:
    workers = session.config.workers
    options = {**_list_options(session), "masks": session.masks}
    return load_batches(session.faces, workers=workers, **options)


def _load_cuts(session: Session) -> Generator[Float32[np.ndarray, "n 2 k"]]:
    sizes: dict[Side, tuple[int, int]] = {
        side: faces.shape[:2] for side, faces in session.faces.items()
    }
    return load_cuts(sizes, **_list_options(session))


def _list_options(session: Session) -> dict[str, Any]:
    """What batches and cuts are made by."""
    config = session.config
    return {
        "crop_size": session.state.model.crop_size,
        "first_step": session.step,
        "seed": config.seed,
        "batch_size": config.batch_size,
        "augment": config.augment,
        "rows": session.rows,
        "among": session.among,
        "landmarks": session.landmarks,
        "middles": session.middles,
        "chances": session.chances,
        "weights": session.weights,
    }


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
    if room <= 0:
        return 0
    return config.steps_per_dispatch if config.steps_per_dispatch <= room else 1
