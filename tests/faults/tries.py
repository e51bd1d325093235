"""The console command in processes that may be ended, starved and limited.

They are forked from one that has imported everything and used nothing yet, so that a
try costs the work alone, no start.
"""

import contextlib
import io
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from faults.operations import watch

_PRELOADED = (
    "faults.tries",
    "deepfake_jax.cli.main",
    "deepfake_jax.conversion.convert",
    "deepfake_jax.conversion.frame_preview",
    "deepfake_jax.face_sets.extraction",
    "deepfake_jax.face_sets.review",
    "deepfake_jax.training.distillation",
    "deepfake_jax.training.loop",
    "deepfake_jax.cli.demo",
    "deepfake_jax.evaluation.evaluate",
)
PATIENCE = 900.0  # seconds; a try on small inputs takes some, on a machine at rest
_ADDRESSES = 24 << 30  # bytes that a try may map; JAX maps some gigabytes unused


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a try is short of.

    Attributes:
        die_at: number of the operation on files at which it ends, see `operations`.
        fail: the error that this operation ends with instead.
        signal: what arrives there instead.
        file_size: bytes that a file may have.
        file_signal: whether a larger one ends the process, as a full disk does not.
        files: how many may be open.
        memory: bytes that may be mapped.
        environment: variables.
        copies: a folder for what stood there before each operation, see `snapshots`.
        vanish: what of its folder is moved away at that operation instead.
        clock: seconds by which the time of day jumps there instead.
    """

    die_at: int | None = None
    fail: int = 0
    signal: int = 0
    file_size: int | None = None
    file_signal: bool = False
    files: int | None = None
    memory: int = _ADDRESSES
    environment: dict[str, str] = field(default_factory=dict)
    copies: Path | None = None
    vanish: str = ""
    clock: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a try ended.

    Attributes:
        status: exit status; negative: the signal that ended it; None: it hung.
        text: what it said, stdout and stderr.
        operations: what it did to files, a line each.
        seconds: how long it took.
        peak: most memory, MB; 0 where it was ended.
    """

    status: int | None
    text: str
    operations: list[str]
    seconds: float
    peak: float

    @property
    def last_line(self) -> str:
        """What it said last."""
        return (self.text.strip().splitlines() or [""])[-1]

    @property
    def is_clear(self) -> bool:
        """Whether it ended well, or with an error in words."""
        told = self.status == 0 or "deepfake-jax: error: " in self.text
        told = told or (self.status == 2 and "rror" in self.text)  # tyro's own words
        return self.status in (0, 1, 2) and told and "Traceback" not in self.text


class Running:
    """A try that goes on meanwhile."""

    def __init__(self, process: BaseProcess, log: Path):
        self._process, self._log, self._start = process, log, time.monotonic()

    def signal(self, *numbers: int) -> None:
        """Sends signals one after another; to a process that has ended, nothing."""
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid or 0, number)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def wait(self, patience: float = PATIENCE) -> Outcome:
        """Waits for its end; one that does not come to it is killed."""
        self._process.join(patience)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            self._process.join()
        text = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        marks = self._log.with_suffix(".operations")
        done = marks.read_text("utf-8", "replace") if marks.exists() else ""
        peak = self._log.with_suffix(".peak")
        most = float(peak.read_text() or 0) if peak.exists() else 0.0
        for path in (self._log, marks, peak):
            path.unlink(missing_ok=True)
        seconds = time.monotonic() - self._start
        return Outcome(status, text, done.splitlines(), seconds, most)


@cache
def _context() -> Any:
    tests = Path(__file__).resolve().parents[1]
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def start(
    args: Sequence[str | Path], folder: Path, limits: Limits | None = None
) -> Running:
    """Starts a command in a folder, whose files are watched."""
    return start_call(run_command, [str(arg) for arg in args], folder, limits)


def start_call(
    call: Callable[[Any], int], given: Any, folder: Path, limits: Limits | None = None
) -> Running:
    """As `start`, with a function of its own, which gives an exit status."""
    log = folder.parent / f"{folder.name}.{time.monotonic_ns()}.log"
    process = _context().Process(
        target=_work, args=(call, given, folder, log, limits or Limits())
    )
    process.start()
    return Running(process, log)


def run(
    args: Sequence[str | Path],
    folder: Path,
    limits: Limits | None = None,
    *,
    patience: float = PATIENCE,
) -> Outcome:
    """Runs a command in a folder to its end."""
    return start(args, folder, limits).wait(patience)


def run_command(args: list[str]) -> int:
    """The console command, as its script calls it."""
    from deepfake_jax.cli.main import main

    if args[0] == "demo":
        _shorten_demo()
    for handler in logging.getLogger().handlers[:]:  # of libraries that were imported
        logging.getLogger().removeHandler(handler)
    try:
        main(args)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _shorten_demo() -> None:
    """A quarter of a second of each person and the smallest network."""
    from dataclasses import replace

    from deepfake_jax.cli import demo
    from deepfake_jax.train_config import ModelConfig, TrainConfig

    small = replace(
        TrainConfig(), model=ModelConfig(width=8), batch_size=2, holdout=0.0
    )
    demo._PARTS = {"a": ("0", "0.25"), "b": ("6", "6.25")}
    demo.load_preset = lambda name: small


def _work(
    call: Callable[[Any], int], given: Any, folder: Path, log: Path, limits: Limits
) -> None:
    os.setpgid(0, 0)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = io.FileIO(number, "w", closefd=False)
        setattr(sys, name, io.TextIOWrapper(stream, "utf-8", write_through=True))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is no command yet
    os.environ.update(limits.environment)
    watch(
        folder,
        log.with_suffix(".operations"),
        die_at=limits.die_at,
        fail=limits.fail,
        signal=limits.signal,
        copies=limits.copies,
        vanish=limits.vanish,
        clock=limits.clock,
    )
    peak = os.open(log.with_suffix(".peak"), os.O_WRONLY | os.O_CREAT, 0o600)
    _limit(limits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = call(given)
    sys.stdout.flush()
    sys.stderr.flush()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with contextlib.suppress(OSError):
        os.write(peak, f"{most:.0f}".encode())
    os._exit(status)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    if limits.file_size is not None:
        if limits.file_signal:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        size = limits.file_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if limits.files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits.files, limits.files))
