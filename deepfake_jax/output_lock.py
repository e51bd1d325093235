"""One process writes an output: a lock, and what dead processes left of their work.

A command that writes holds `lock_output` meanwhile. The partial files of dead
processes, known by their hidden names (see `files`), go when it is taken.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from deepfake_jax.files import (
    BESIDE,
    finish_replacing,
    hidden_path,
    list_folder,
    read_partial,
    shorten,
    split_name,
)

_PATIENCE = 0.5  # seconds; a lock may be just about to go


class OutputBusyError(ValueError):
    """Another process writes the same output; the text says which."""


@contextmanager
def lock_output(path: Path, *, lock: Path | None = None) -> Iterator[None]:
    """Holds an output, a file or a folder, that no other process writes meanwhile.

    What dead processes left of it goes first: their partial files beside it, and inside
    where it is a folder; a replacement that was cut short is finished or undone. The
    lock of a dead process is no obstacle.

    Args:
        path: the output; it need not exist.
        lock: the lock's own place; a hidden name beside ``path`` if None.

    Raises:
        OutputBusyError: another process, or another call of this one, holds it.
        OSError: the lock's folder cannot be made or written to.
    """
    path = path.resolve()
    lock = lock or hidden_path(path, ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    held, holder = filelock.FileLock(lock), _read_holder(lock)
    try:
        held.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 5)
    except filelock.Timeout:
        raise OutputBusyError(
            f"{path}: another process{holder or _read_holder(lock)} is writing it; "
            "wait for its end, or name another output"
        ) from None
    try:
        with suppress(OSError):  # Windows lets nobody write to a locked file
            lock.write_text(_name_process(), "utf-8", "backslashreplace")
        _clear_leftovers(path)
        yield
    finally:
        try:
            _remove_lock(lock)
        except BaseException:  # a signal, just now
            _remove_lock(lock)
            raise
        finally:
            held.release()


def _remove_lock(lock: Path) -> None:
    with suppress(OSError):  # on Windows releasing does
        lock.unlink()


def _name_process() -> str:
    program = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
    return f" ({program}, {os.getpid()} on {platform.node()})"


def _read_holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _clear_leftovers(path: Path) -> None:
    finish_replacing(path)
    stem, suffix = split_name(path)
    own = [(stem, suffix), (stem, f"{suffix}{BESIDE}")]
    leftovers = list[Path]()
    for near in list_folder(path.parent):
        found = read_partial(near.name)
        if found is None:
            continue
        # What is written beside an output is called after it.
        beside = found.stem == shorten(path.name) and not _is_alive(found.process)
        if (found.stem, found.suffix) in own or beside:
            leftovers.append(near)
    _remove(leftovers)
    # What lies inside may be another output's, which the lock says nothing about.
    clear_partials(path)


def clear_partials(folder: Path) -> None:
    """Removes what dead processes left in a folder under hidden names of partials."""
    _remove(
        path
        for path in list_folder(folder)
        if (found := read_partial(path.name)) and not _is_alive(found.process)
    )


def _remove(leftovers: Iterable[Path]) -> None:
    for leftover in leftovers:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with suppress(OSError):
                leftover.unlink()


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # Windows removes no file that is open
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
