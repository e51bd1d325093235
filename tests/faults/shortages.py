"""A disk that fills up, one that goes away, a clock that jumps, while a job works."""

import ctypes
import errno
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.crash_points import Undisturbed, do, finish, look_at
from faults.operations import gone_path
from faults.random_ends import copy_to
from faults.tries import Limits

_MS_REMOUNT = 32
_DAY = 86_400.0
_JUMPS = (-400 * _DAY, -_DAY, -3600.0, 3600.0, _DAY, 400 * _DAY)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """Mounts a file system of some bytes at a new folder.

    Raises:
        OSError: this process may not, or the system knows no tmpfs.
    """
    place.mkdir()
    try:
        _mount(place, f"size={size}")
        try:
            yield
        finally:
            _libc().umount2(os.fsencode(place), 2)  # lazily: something may look at it
    finally:
        place.rmdir()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(place: Path, options: str, flags: int = 0) -> None:
    try:
        mount = _libc().mount
    except AttributeError:
        raise OSError(errno.ENOSYS, "no mount") from None
    if mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def measure_bytes(folder: Path) -> int:
    """How much a file system needs to hold a folder."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    sizes = (path.stat().st_size for path in paths if path.is_file())
    return sum(-(-size // 4096) * 4096 for size in sizes) + 4096 * len(paths)


def fill_disk(whole: Undisturbed, rng: random.Random, work: Path) -> tuple[str, str]:
    """Does a job where there is not room enough, then where there is.

    Returns:
        How little there was, and what is wrong.
    """
    held = measure_bytes(whole.start)
    extra = round(10 ** rng.uniform(3.5, 6.5))
    told = f"{extra} bytes left"
    folder = work / "try"
    with small_disk(folder, held + extra + 65_536):
        shutil.copytree(whole.start, folder, symlinks=True, dirs_exist_ok=True)
        filler = folder / "filler"
        room = os.statvfs(folder)
        free = room.f_bavail * room.f_bsize
        filler.write_bytes(bytes(max(0, free - extra)))
        ended = do(whole.job, folder, Limits())
        if not ended.is_clear:
            return told, f"ended with {ended.status}: {ended.text[-2000:]}"
        filler.unlink()
        _mount(folder, "size=1g", _MS_REMOUNT)
        return told, look_at(whole, folder)


def take_away(whole: Undisturbed, rng: random.Random, work: Path) -> tuple[str, str]:
    """Moves a folder away while a job works, and brings it back afterwards."""
    folder = copy_to(whole, work)
    gone = gone_path(folder)
    name = rng.choice([".", "in", *(name.split("/")[0] for name in whole.job.results)])
    point = rng.randint(1, len(whole.operations))
    told = f"{name} vanished at {point} ({whole.operations[point - 1]})"
    try:
        ended = do(whole.job, folder, Limits(die_at=point, vanish=name))
        if not ended.is_clear:
            return told, f"ended with {ended.status}: {ended.text[-2000:]}"
        if os.path.lexists(gone):
            # As a disk that is back: what was written meanwhile lies below it.
            place = folder / name
            if place.is_symlink() or place.is_file():
                place.unlink()
            shutil.rmtree(place, ignore_errors=True)
            gone.rename(place)
        return told, finish(whole, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if gone.is_symlink() or gone.is_file():
            gone.unlink()
        shutil.rmtree(gone, ignore_errors=True)


def set_clock(whole: Undisturbed, rng: random.Random, work: Path) -> tuple[str, str]:
    """Lets the time of day jump while a job works: nothing of its result is another."""
    folder = copy_to(whole, work)
    point, seconds = rng.randint(1, len(whole.operations)), rng.choice(_JUMPS)
    told = f"{seconds / 3600:+.0f} h at {point} ({whole.operations[point - 1]})"
    try:
        ended = do(whole.job, folder, Limits(die_at=point, clock=seconds))
        if ended.status not in (0, 1) or not ended.is_clear:
            return told, f"ended with {ended.status}: {ended.text[-2000:]}"
        return told, finish(whole, folder)
    finally:
        shutil.rmtree(folder)
