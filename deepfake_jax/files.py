"""Files and folders appear whole or not at all, and nothing else is lost.

What is written comes under a hidden name beside its own, is flushed and renamed. The
hidden name is nobody else's: ``.<stem>.<process>-<random>.partial<suffix>``; what dead
processes leave under such names goes with `output_lock.lock_output`. A folder is
replaced by `replace_folder`, and only one in which nothing but what this program wrote
is found.
"""

import errno
import functools
import hashlib
import logging
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import platformdirs

# Bytes of a hidden name's first part; with its ending it stays below 255.
_LONGEST = 180
_PARTIAL = re.compile(r"\.(.*)\.(\d+)-[0-9a-f]{8}\.partial(\..*)?", re.DOTALL)
# Ends the name of a file about another one, its credential, which appears with it.
BESIDE = ".c2pa"
# Desktops put these into any folder that somebody looks at, and make them again.
_DESKTOPS = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
_log = logging.getLogger("deepfake_jax")


class ForeignFilesError(ValueError):
    """A folder to be replaced has files that this program did not write."""


@contextmanager
def write_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lend a hidden path beside ``path``, renamed to it when the block ends well.

    When the block raises, the hidden file is removed and ``path`` is as it was. A file
    that the block puts beside, under the hidden name and `BESIDE`, comes along.

    Args:
        path: the file to appear; a missing parent folder is created.
        overwrite: whether ``path`` may exist already.

    Yields:
        The path to write to, of the same suffix and in the same folder.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is false.
        IsADirectoryError: ``path`` is a folder.
        OSError: the folder cannot be made, or the file not written or renamed.
    """
    _refuse_existing(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    beside = partial.with_name(f"{partial.name}{BESIDE}")
    try:
        yield partial
        sync_path(partial)
        _refuse_existing(path, overwrite=overwrite)
        os.replace(partial, path)
        if beside.exists():
            os.replace(beside, path.with_name(f"{path.name}{BESIDE}"))
    except BaseException as error:
        # A failed removal must not hide the error that led here.
        for rest in (partial, beside):
            with suppress(OSError):
                rest.unlink(missing_ok=True)
        # Writing and syncing raise without a name, unlike opening.
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)
        raise
    sync_path(path.parent)


@contextmanager
def write_whole_folder(path: Path, *, known: Collection[str] = ()) -> Iterator[Path]:
    """Lends a hidden folder beside ``path``, which takes its place at a good end.

    When the block raises, the hidden folder is removed and ``path`` is as it was.

    Args:
        path: the folder to appear; one there is replaced if `check_known` lets it.
        known: names of the files that it may hold, see `check_known`.

    Yields:
        The empty folder to write into.

    Raises:
        ForeignFilesError: ``path`` holds anything else; before the block, too.
        OSError: a folder cannot be made, moved or removed.
    """
    check_known(path, known)
    partial = partial_path(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        replace_folder(partial, path, known=known)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_known(folder: Path, known: Collection[str]) -> None:
    """Checks that a folder may be removed: that this program wrote all that is in it.

    Args:
        folder: one that does not exist, or is empty, is fine.
        known: names of what the program writes there, as patterns of `fnmatch`; those
            in folders as ``("faces.jsonl", "person_*/*.png")``. files, and what
            desktops put into every folder, are always known.

    Raises:
        ForeignFilesError: there is anything else, named; or it is a file.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise ForeignFilesError(f"{folder} is a file, not a folder; name another one")
    foreign = list(_find_foreign(folder, "", [name.split("/") for name in known]))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ForeignFilesError(
            f"{folder} holds what this program did not write ({', '.join(foreign[:3])}"
            f"{more}) and is not replaced; move that elsewhere, or name another folder"
        )


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _find_foreign(folder: Path, inside: str, known: list[list[str]]) -> Iterator[str]:
    for path in sorted(list_folder(folder)):
        here = [names for names in known if fnmatchcase(path.name, names[0])]
        if read_partial(path.name) or path.name in _DESKTOPS:
            continue
        if path.is_dir() and not path.is_symlink():
            deeper = [names[1:] for names in here if len(names) > 1]
            if not deeper:
                yield f"{inside}{path.name}/"
            else:
                yield from _find_foreign(path, f"{inside}{path.name}/", deeper)
        elif not any(len(names) == 1 for names in here):
            yield f"{inside}{path.name}"


def remove_known(folder: Path, known: Collection[str]) -> None:
    """Removes a folder and what this program wrote in it, if nothing else is there.

    Raises:
        ForeignFilesError: as `check_known`; nothing was removed then.
        OSError: something cannot be removed.
    """
    check_known(folder, known)
    if folder.is_dir():
        shutil.rmtree(folder)


def replace_folder(new: Path, old: Path, *, known: Collection[str]) -> None:
    """Puts a whole folder in another one's place: old aside, new in, then delete.

    A kill at any point leaves one of both whole, and the next `lock_output` of ``old``
    puts it where it belongs.

    Args:
        new: the folder to move, on the same disk.
        old: its place; a folder there is removed if `check_known` lets it.
        known: what that may hold.

    Raises:
        ForeignFilesError: ``old`` holds anything else; nothing was moved.
        OSError: a folder cannot be moved; ``old`` is as it was. Or not be removed.
    """
    check_known(old, known)
    aside = _aside_path(old)
    replaced = old.is_dir()
    if replaced:
        old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        if replaced:
            aside.rename(old)
        raise
    sync_path(old.parent)
    if replaced:
        shutil.rmtree(aside)


def finish_replacing(path: Path) -> None:
    """Ends what a kill left of `replace_folder`: the old one is put back, or goes."""
    aside = _aside_path(path)
    if aside.is_dir() and not os.path.lexists(path):
        _log.warning("%s: put back; an earlier try to replace it was cut short", path)
        aside.rename(path)
    elif aside.is_dir():
        shutil.rmtree(aside)


def hidden_path(path: Path, ending: str) -> Path:
    """A hidden name beside ``path``: its name and an ending of 60 bytes at most.

    A long name is cut: disks take 255 bytes.
    """
    return path.with_name(f".{shorten(path.name)}{ending}")


def shorten(name: str) -> str:
    """A name, or its beginning and a sum where it is long, for hidden names."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    return f"{data[: _LONGEST - 9].decode('utf-8', 'ignore')}~{zlib.crc32(data):08x}"


def split_name(path: Path) -> tuple[str, str]:
    """First part and suffix of the hidden names of a path."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) < 20 else ""
    return shorten(path.name.removesuffix(suffix)), suffix


def partial_path(path: Path) -> Path:
    """A hidden name beside ``path`` that is nobody else's; a fresh one of a partial."""
    stem, suffix = split_name(path)
    if (found := read_partial(stem)) is not None and not found.suffix:
        stem = found.stem  # known by the output's name, for who clears up
    own = f"{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{stem}.{own}.partial{suffix}")


class PartialName(NamedTuple):
    """What a name that `partial_path` gave says."""

    stem: str
    process: int
    suffix: str


def read_partial(name: str) -> PartialName | None:
    """What a partial's hidden name says; None for any other name."""
    found = _PARTIAL.fullmatch(name)
    return found and PartialName(found[1], int(found[2]), found[3] or "")


def _aside_path(path: Path) -> Path:
    return hidden_path(path, ".replaced")


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file inside it")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path}: exists already; choose another name or allow overwriting"
        )


def sync_path(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's names."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which may have no end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_once(path: Path) -> str:
    """As `hash_file`; while a file stays as it is, it is read once a process."""
    state = path.stat()
    # A date can be set at will, the time of the last change of its entry cannot.
    dates = state.st_mtime_ns, state.st_ctime_ns
    return _hash_state(path.resolve(), state.st_size, state.st_ino, *dates)


@functools.lru_cache(maxsize=64)
def _hash_state(path: Path, *_: int) -> str:
    return hash_file(path)


def get_cache_dir() -> Path:
    """Folder that fetched files are kept in; it need not exist yet.

    ``$DEEPFAKE_JAX_CACHE`` where that is set, else the user's cache folder.
    """
    folder = os.environ.get("DEEPFAKE_JAX_CACHE") or platformdirs.user_cache_dir(
        "deepfake-jax"
    )
    return Path(folder).expanduser().absolute()


def file_crc(path: Path) -> str:
    """CRC-32 of a file's bytes, in hexadecimal."""
    return f"{zlib.crc32(path.read_bytes()):08x}"
