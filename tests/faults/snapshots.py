"""What stood in a folder before each operation of a process, copied while it went on.

A process that ends at an operation leaves just that: what Python had not yet written is
in neither, and locks of the dead are not held. So one run shows all crash points, where
ending one process at each of them would take as many runs.
"""

import hashlib
import os
import shutil
from pathlib import Path

_TRIES = 5  # native code may rename a file while it is copied


def copy_before(folder: Path, copies: Path, number: int) -> None:
    """Copies a folder to ``copies``, named by the number of an operation."""
    place = copies / f"{number:05d}"
    for left in reversed(range(_TRIES)):
        try:
            shutil.copytree(folder, place, symlinks=True)
            return
        except (OSError, shutil.Error):
            shutil.rmtree(place, ignore_errors=True)
            if not left:
                raise


def sum_folder(folder: Path) -> str:
    """A sum of all names, kinds and contents below a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = os.fsencode(path.relative_to(folder))
        if path.is_symlink():
            data = os.fsencode(os.readlink(path))
        else:
            data = path.read_bytes() if path.is_file() else b"/"
        total.update(name + b"\0" + hashlib.sha256(data).digest())
    return total.hexdigest()
