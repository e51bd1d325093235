"""Files appear whole or not at all: write beside, fsync, rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lend a hidden path beside ``path``, renamed to it when the block ends well.

    The hidden name is always the same one, so that what a killed run left there is
    written over by the next run instead of filling the disk. When the block raises,
    the hidden file is removed and ``path`` is as it was.

    Args:
        path: the file to appear; a missing parent folder is created.
        overwrite: whether ``path`` may exist already.

    Yields:
        The path to write to: ``.<stem>.partial<suffix>`` in the same folder.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is false.
        IsADirectoryError: ``path`` is a folder.
        OSError: the folder cannot be made, or the file not written or renamed.
    """
    _refuse_existing(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        _sync(partial, os.O_RDWR)
        _refuse_existing(path, overwrite=overwrite)
        os.replace(partial, path)
    except BaseException:
        # A failed removal must not hide the error that led here.
        try:
            partial.unlink(missing_ok=True)
        except OSError:
            pass
        raise
    if os.name == "posix":
        _sync(path.parent, os.O_RDONLY)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file inside it")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path}: exists already; choose another name or allow overwriting"
        )


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
