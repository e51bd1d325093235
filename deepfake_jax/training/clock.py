"""Times of a run: how long it has trained, how fast it is, and what is due."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Every:
    """Comes due each so many seconds, the first time after as many.

    The time from one to the next is counted from when it was found due.
    """

    def __init__(self, seconds: float):
        self._seconds, self._next = seconds, time.monotonic() + seconds

    def is_due(self) -> bool:
        """Whether it has come due; if so, the next time is so many seconds from now."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True

    def postpone(self, seconds: float) -> None:
        """Comes due in so many seconds at the earliest."""
        self._next = max(self._next, time.monotonic() + seconds)


class Moments:
    """Moments of a run's training time, each due once.

    Those that pass unseen, as while a step compiles, come due together.
    """

    def __init__(self, seconds: Sequence[float], *, since: float):
        self._ahead = sorted(moment for moment in seconds if moment > since)

    def is_due(self, seconds: float) -> bool:
        """Whether a moment has passed since the last call, up to `seconds`."""
        passed = [moment for moment in self._ahead if moment <= seconds]
        del self._ahead[: len(passed)]
        return bool(passed)


class Clock:
    """A run's training time, and the pace of a session's steps.

    The pace is measured in laps, which begin after the first step has compiled.
    """

    def __init__(self, *, images_per_step: int, earlier_seconds: float = 0.0):
        """Starts.

        Args:
            images_per_step: faces of both sides.
            earlier_seconds: training time of earlier sessions.
        """
        self._images_per_step = images_per_step
        self._earlier_seconds, self._start = earlier_seconds, time.monotonic()
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
    def seconds(self) -> float:
        """Training time of the run in all."""
        return self._earlier_seconds + time.monotonic() - self._start

    @property
    def median_rate(self) -> float:
        """Images a second, the median of all laps; 0 before the first."""
        return statistics.median(self._rates) if self._rates else 0.0

    @property
    def step_seconds(self) -> float:
        """What a step takes, of the median rate; 0 before the first lap."""
        return self._images_per_step / self.median_rate if self._rates else 0.0

    @property
    def last(self) -> dict[str, float | None]:
        """What the last lap gave; None for each before there was one."""
        return self._last

    def start_after_compilation(self, step: int) -> None:
        """Starts the first lap at the end of the first step, which compiles.

        To be called at the end of each; later calls do nothing.
        """
        if self._lap_start is None:
            self._lap_start, self._lap_step, self._waited = time.monotonic(), step, 0.0

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves the time inside out of the training time, and out of the pace."""
        start = time.monotonic()
        with self.apart():
            yield
        self._start += time.monotonic() - start

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leaves the time inside out of the pace."""
        start = time.monotonic()
        yield
        if self._lap_start is not None:
            self._lap_start += time.monotonic() - start

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

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
