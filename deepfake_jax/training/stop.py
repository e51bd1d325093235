"""Ending a long run politely: the first signal asks, the second acts."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("deepfake_jax")
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class StopRequest:
    """What the first signal leaves; `number` is the signal's, 0 before."""

    def __init__(self) -> None:
        self.number = 0

    def take(self, number: int) -> None:
        """Notes a signal, and says so."""
        self.number = number
        _log.warning("%s: saving, then stopping", signal.Signals(number).name)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turns the first signal to end into a request; a second one acts at once.

    SIGINT, SIGTERM and, as a closed terminal sends it, SIGHUP, unless that is ignored,
    as by `nohup`.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python allows handlers in the main thread only
        return
    earlier: dict[int, Any] = {}

    def request(number: int, _: Any) -> None:
        stop.take(number)
        for which, handler in earlier.items():
            signal.signal(which, handler)

    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is None or (
            name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
        ):
            continue
        earlier[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
