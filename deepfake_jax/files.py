"""Files appear whole or not at all: write beside, fsync, rename."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs


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


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def get_cache_dir() -> Path:
    """Folder that fetched files are kept in; it need not exist yet.

    ``$DEEPFAKE_JAX_CACHE`` where that is set, else the user's cache folder.
    """
    folder = os.environ.get("DEEPFAKE_JAX_CACHE") or platformdirs.user_cache_dir(
        "deepfake-jax"
    )
    return Path(folder).expanduser().absolute()


def encode_line(values: dict[str, Any]) -> str:
    """Values as a line of JSON that ends with their checksum."""
    values = {key: value for key, value in values.items() if key != "check"}
    return (
        json.dumps({**values, "check": line_check(values)}, ensure_ascii=False) + "\n"
    )


def line_check(values: dict[str, Any]) -> str:
    """CRC-32 of a line's values without ``check``, in hexadecimal."""
    values = {key: value for key, value in values.items() if key != "check"}
    text = json.dumps(values, ensure_ascii=False, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def parse_checked(line: bytes) -> dict[str, Any] | None:
    """A line's values; None if it is damaged or was cut off."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(values, dict)
    return values if whole and values.get("check") == line_check(values) else None


def file_crc(path: Path) -> str:
    """CRC-32 of a file's bytes, in hexadecimal."""
    return f"{zlib.crc32(path.read_bytes()):08x}"
