"""How fast a run trains: images a second, and what it waits for."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax


class Meter:
    """Images a second, and the share of time spent waiting for batches."""

    def __init__(self, *, images_per_step: int):
        self._images_per_step = images_per_step
        self._lap_start: float | None = None
        self._lap_step = 0
        self._waited = 0.0
        self._rates: list[float] = []

    @property
    def median_rate(self) -> float:
        """Images a second, the median of all laps; 0 before the first."""
        return statistics.median(self._rates) if self._rates else 0.0

    def start_after_compilation(self, metrics: Any, step: int) -> None:
        """Starts the clock when the first step, which compiles, is done."""
        if self._lap_start is None:
            jax.block_until_ready(metrics)
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

    def lap(self, step: int) -> dict[str, float]:
        """Ends a lap; gives its rate and share of waiting, if it had a step."""
        if self._lap_start is None or step == self._lap_step:
            return {}
        now = time.monotonic()
        seconds = max(now - self._lap_start, 1e-9)
        rate = (step - self._lap_step) * self._images_per_step / seconds
        share = self._waited / seconds
        self._rates.append(rate)
        self._lap_start, self._lap_step, self._waited = now, step, 0.0
        return {"images_per_second": rate, "data_wait": share}
