"""Ending a long run politely: the first signal asks, the second acts."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("deepfake_jax")


class StopRequest:
    """Set by the first SIGINT or SIGTERM; `reason` is its name."""

    reason: str | None = None

    @property
    def number(self) -> int:
        """The signal's number, 0 for none."""
        return signal.Signals[self.reason].value if self.reason else 0


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turns the first SIGINT or SIGTERM into a request; a second one acts at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python allows handlers in the main thread only
        return
    earlier = {}

    def request(number: int, _: Any) -> None:
        stop.reason = signal.Signals(number).name
        _log.warning("%s: saving, then stopping", stop.reason)
        for which, handler in earlier.items():
            signal.signal(which, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        earlier[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
