"""The terminal that a command speaks to: streams, signals, and what errors say."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What a shell, a service or a closed terminal ends a command by.
_SIGNALS = ("SIGTERM", "SIGHUP")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Stream(io.TextIOWrapper):
    """Standard output or error whose reader may leave; the rest then goes nowhere.

    A command's work and its exit status must not depend on who listens: `| head` ends
    early, a terminal is closed, the disk with the log is full. A result that cannot be
    stored is an error, though.
    """

    def __init__(self, old: io.TextIOWrapper, *, is_log: bool):
        self._may_lose = is_log, old.isatty()
        options = {
            "encoding": old.encoding,
            # A pair of bytes that a terminal cannot show must not end a long run.
            "errors": "backslashreplace",
            "line_buffering": old.line_buffering,
            "write_through": old.write_through,
        }
        super().__init__(old.detach(), **options)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._leave(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        is_log, is_terminal = self._may_lose
        gone = (errno.EPIPE, errno.EIO) if is_terminal else (errno.EPIPE,)
        if not is_log and error.errno not in gone:
            raise error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        super().flush()  # what is still in the buffer


def prepare_streams() -> None:
    """Makes standard output and error such as can be written to, whoever reads them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would take its place
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", closefd=False)  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _Stream(stream, is_log=name == "stderr"))


def hear_lost_interrupts() -> None:
    """Has an interrupt that arrived inside of a callback arrive once more.

    Python only notes what is raised while a garbage collector or a destructor calls
    back, and goes on. Anything else that is lost so is no user's concern.
    """
    sys.unraisablehook = _repeat_interrupt


def _repeat_interrupt(problem: Any) -> None:
    if isinstance(problem.exc_value, KeyboardInterrupt):
        name = str(problem.exc_value) or "SIGINT"
        # Not at once: this runs inside of the callback, too.
        again = threading.Timer(0.02, signal.raise_signal, (signal.Signals[name],))
        again.daemon = True
        again.start()


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block as Ctrl-C does, by `KeyboardInterrupt`.

    So files that are half-written go. A signal that is ignored, as by `nohup`, stays
    so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows handlers in the main thread only
        return

    def interrupt(number: int, _: Any) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    earlier = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) != signal.SIG_IGN:
            earlier[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def explain_error(error: BaseException) -> str:
    """An error's own words, or what to do about a full disk, whoever noticed it."""
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _FULL or os.strerror(errno.ENOSPC) in str(cause):
            name = cause.filename if isinstance(cause, OSError) else None
            where = f" of {name}" if name else ""
            return (
                f"no space is left on the disk{where}; free some space, or name a "
                "folder on another disk"
            )
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
