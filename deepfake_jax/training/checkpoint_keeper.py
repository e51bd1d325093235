"""When a run's state is kept: each so many steps and minutes, and at its end."""

import sys

from deepfake_jax.runs.checkpoint import save_checkpoint
from deepfake_jax.runs.run_folder import CHECKPOINTS
from deepfake_jax.training.clock import Clock, Every
from deepfake_jax.training.history import History
from deepfake_jax.training.session import Session
from deepfake_jax.training.state import TrainState, state_to_tree


class CheckpointKeeper:
    """Saves a run's states, in the leader's process."""

    def __init__(self, session: Session, history: History, clock: Clock):
        """For a run whose state is saved already, if it has one."""
        self._session, self._history, self._clock = session, history, clock
        self._timer = Every(60 * session.config.checkpoint_minutes)
        self._is_due, self._saved_step = False, session.step or None
        self._has_ended = session.step > 0

    def is_due(self, step: int) -> bool:
        """Whether a state is to be saved; so until one is.

        After a skipped update it waits for one that is not: the parameters may be what
        causes it.
        """
        self._is_due |= step % self._session.config.checkpoint_every == 0
        self._is_due |= self._timer.is_due()
        if not (self._is_due and self._session.devices.leads):
            return False
        self._history.collect()
        return not self._history.skipped_in_row

    def save(self, step: int, state: TrainState) -> None:
        """Saves the state of a step, unless it is saved already.

        But once more where the run has had its minutes only now: the same call again
        would else do another step.
        """
        session, minutes = self._session, self._session.config.minutes
        if not session.devices.leads:
            return
        self._history.collect()
        facts = self._history.facts
        ended = minutes is not None and facts.seconds >= 60 * minutes
        if self._saved_step == step and (self._has_ended or not ended):
            return
        with self._clock.apart():
            whole = session.devices.get_state(state)
            save_checkpoint(
                session.run / CHECKPOINTS,
                step,
                state_to_tree(whole),
                facts=facts,
                # After a skipped update the parameters may be what causes it: such a
                # state is added to the others and pushes none of them out.
                keep=sys.maxsize if facts.skipped_in_row else session.config.keep,
            )
        self._is_due, self._saved_step, self._has_ended = False, step, ended
