"""How fast a run trains: images a second, and what it waits for."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """Images a second, step time, and the share of time spent waiting for batches."""

    def __init__(self, *, images_per_step: int):
        self._images_per_step = images_per_step
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
    def median_rate(self) -> float:
        """Images a second, the median of all laps; 0 before the first."""
        return statistics.median(self._rates) if self._rates else 0.0

    @property
    def last(self) -> dict[str, float | None]:
        """What the last lap gave; None for each before there was one."""
        return self._last

    def start_after_compilation(self, step: int) -> None:
        """Starts the clock at the end of the first step, which compiles.

        To be called at the end of each; later calls do nothing.
        """
        if self._lap_start is None:
            self._lap_start, self._lap_step, self._waited = time.monotonic(), step, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leaves the time inside out of the rate."""
        start = time.monotonic()
        yield
        if self._lap_start is not None:
            self._lap_start += time.monotonic() - start

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
