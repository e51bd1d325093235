"""When a run ends: by its time, its plateau or a signal.

All processes of a run find the same, at the same step. The first signal asks politely,
the second one acts.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepfake_jax.training.clock import Clock
from deepfake_jax.training.history import History
from deepfake_jax.training.judging import Judging
from deepfake_jax.training.session import Session

_log = logging.getLogger("deepfake_jax")
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
# What processes tell each other: nothing, or that the run has had its time or has
# stopped improving, or that and a signal's number, which may be 1.
_ENOUGH = 1


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


class Ending:
    """The end of a run, which any of its processes may ask for."""

    def __init__(
        self,
        session: Session,
        history: History,
        clock: Clock,
        judging: Judging,
        stop: StopRequest,
    ):
        """Asks all processes at once: a run may have had its time already."""
        self._config, self._devices = session.config, session.devices
        self._history, self._clock, self._judging = history, clock, judging
        self._stop = stop
        self._found = int(self._devices.meet(self.vote()).max())

    @property
    def has_come(self) -> bool:
        """Whether the run ends here."""
        return self._found > 0

    @property
    def interrupted(self) -> str | None:
        """The signal that ends the run, or None."""
        number = self._found - _ENOUGH
        return signal.Signals(number).name if number > 0 else None

    def vote(self) -> int:
        """What this process says."""
        if self._stop.number:
            return _ENOUGH + self._stop.number
        minutes, until = self._config.minutes, self._config.until
        over = (
            minutes is not None
            and self._history.step > 0
            and self._clock.seconds >= 60 * minutes
        )
        improves = until != "plateau" or self._judging.plateau is None
        return _ENOUGH * (over or not improves)

    def look(self) -> None:
        """Finds whether the run ends after the latest dispatch.

        Of several processes all must come to the same: by nothing but a dispatch that
        all of them have collected, the one before the latest, or one would wait for
        others that have ended.

        Raises:
            TrainingError: up to there too many updates in a row were skipped.
        """
        self._history.check(leave=1)
        alone = self._devices.processes == 1
        self._found = self.vote() if alone else self._history.read_vote(leave=1)
