"""Showing a run to somebody while it trains, and at its end."""

from collections.abc import Callable, Sequence

from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.training.clock import Clock, Moments
from deepfake_jax.training.history import History
from deepfake_jax.training.session import Session
from deepfake_jax.training.state import TrainState

# Gets what a swap would be drawn with now, and the seconds trained.
Watch = Callable[[TrainedRun, float], None]


class Watching:
    """Shows a run at moments of its training time; nothing where nobody watches."""

    def __init__(
        self,
        session: Session,
        history: History,
        clock: Clock,
        watch: Watch | None,
        minutes: Sequence[float],
    ):
        """For `watch` to look at `minutes` of the run's training time in all."""
        self._session, self._history, self._clock = session, history, clock
        self._watch, self._shown_step = watch, -1
        seconds = [60 * each for each in minutes]
        self._moments = Moments(seconds, since=session.facts.seconds)

    def is_due(self) -> bool:
        """Whether a moment has come since the last call."""
        return self._watch is not None and self._moments.is_due(self._clock.seconds)

    def show(self, step: int, state: TrainState) -> None:
        """Shows the state of a step, unless it was shown; the clock stands still."""
        if self._watch is None or self._shown_step == step:
            return
        self._history.collect()
        self._shown_step, seconds = step, self._clock.seconds
        with self._clock.stopped():
            whole = self._session.devices.get_state(state)
            trained = TrainedRun(
                model=whole.model,
                params=whole.swap_params,
                step=step,
                facts=self._history.facts,
            )
            self._watch(trained, seconds)
