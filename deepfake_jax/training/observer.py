"""Looking at a run while it trains, without costing it training time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepfake_jax.runs.trained_run import TrainedRun


@dataclass(frozen=True)
class Observer:
    """Somebody who looks at a run at certain times, and at its end.

    The run's clock stands still meanwhile. A run that was ended by a signal is not
    looked at again.

    Attributes:
        minutes: of the run's training time in all, when to look. Times that pass
            during one step, as while it compiles, give one look.
        observe: gets what a swap would be drawn with now, and the seconds trained. The
            parameters are the run's own: the next step takes them away.
    """

    minutes: Sequence[float]
    observe: Callable[[TrainedRun, float], None]

    def is_due(self, seconds: float, *, since: float) -> bool:
        """Whether a time to look came after `since` seconds, up to `seconds`."""
        return any(since < 60 * minute <= seconds for minute in self.minutes)
