"""What a process does to the files below a folder, counted, and an end at any of it.

Seen are the opening of files for writing, flushing, renaming, removing, cutting,
linking, and the making and removing of folders, from Python. What native code writes
(FFmpeg, orbax) lies under hidden names until Python renames it; `file_limit` of a try
ends a process in the middle of that.
"""

import contextlib
import datetime
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.snapshots import copy_before

DIED = 113  # exit status of a process that was ended at an operation
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit event: which arguments are paths, and which the folders that they count from.
_EVENTS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.truncate": ((0, None),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
}


def watch(
    folder: Path,
    log: Path,
    *,
    die_at: int | None,
    fail: int = 0,
    signal: int = 0,
    copies: Path | None = None,
    vanish: str = "",
    clock: float = 0.0,
) -> None:
    """Notes operations of this process from now on, one a line of ``log``.

    Args:
        folder: only what lies below it counts.
        log: outside of it.
        die_at: number, from 1, of the operation that the process does not live to do.
        fail: an error number: then the operation fails with it, and the process lives.
        signal: one that arrives there instead.
        copies: a folder for what stood there before each operation.
        vanish: what of the folder is moved away there instead, see `gone_path`.
        clock: seconds by which the time of day jumps there instead.
    """
    root = f"{folder.resolve()}{os.sep}"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    lock, done = threading.RLock(), [0]

    def count(what: str, paths: list[str]) -> None:
        inside = [path for path in paths if path.startswith(root)]
        if not inside:
            return
        with lock:
            done[0] += 1
            names = " ".join(path.removeprefix(root) for path in paths)
            line = f"{what} {names}\n".encode("utf-8", "surrogateescape")
            os.write(descriptor, line)
            if copies is not None:
                copy_before(folder, copies, done[0])
            if done[0] != die_at:
                return
            if clock:
                jump(clock)
            elif vanish:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(folder / vanish, gone_path(folder))
            elif signal:
                os.kill(os.getpid(), signal)
            elif not fail:
                os._exit(DIED)
            else:
                raise OSError(fail, os.strerror(fail), inside[0])

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
            count("open", [_resolve(args[0], None)])
        elif event in _EVENTS:
            places = _EVENTS[event]
            paths = [
                _resolve(args[n], None if d is None else args[d]) for n, d in places
            ]
            count(event.removeprefix("os."), paths)

    os.fsync = _counting(os.fsync, count)  # which raises no audit event
    sys.addaudithook(hook)


def gone_path(folder: Path) -> Path:
    """Where something lies that vanished from a folder, or the folder itself."""
    return folder.with_name(f"{folder.name} gone")


def jump(seconds: float) -> None:
    """Sets this process's time of day forward, or back; Python's alone."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)

    class Jumped(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=seconds)

    datetime.datetime = Jumped


def _counting(
    fsync: Callable[[Any], None], count: Callable[[str, list[str]], None]
) -> Callable[[Any], None]:
    def counted(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        count("fsync", [_resolve(number, None)])
        fsync(file)

    return counted


def _resolve(path: Any, folder: int | None) -> str:
    """A path's full name; of a descriptor, what it stands for."""
    try:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        name = os.fsdecode(path)
        if folder is not None and folder >= 0:
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        return os.path.abspath(name)
    except (OSError, TypeError, ValueError):
        return ""
