"""The folders that the page may see: every path of a request is resolved within them.

Links are followed before the check, so that none leads out. Hidden files and folders
are neither listed nor given out, and of files only footage is.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_jax.media.file_kinds import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    natural_key,
)
from deepfake_jax.studio.texts import RequestError

_LONGEST = 4096  # of a path, on all common disks
_LONGEST_NAME = 255
_MOST = 2000  # entries of a folder that are listed


@dataclass(frozen=True)
class Roots:
    """Folders, resolved; a path outside of all is refused."""

    folders: tuple[Path, ...]

    def resolve(self, text: Any, *, field: str = "") -> Path:
        """A path of a request, with links and dots resolved; it need not exist.

        Raises:
            RequestError: no text, no path, or one outside of the folders.
        """
        plain = isinstance(text, str) and 0 < len(text) < _LONGEST and "\0" not in text
        if not plain or not text.strip():
            raise RequestError("no_path", field=field)
        try:
            path = (self.folders[0] / text).resolve()
        except (OSError, RuntimeError, ValueError):  # a circle of links, a long name
            raise RequestError("no_path", field=field) from None
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
            raise RequestError("no_path", field=field)
        if not any(path.is_relative_to(folder) for folder in self.folders):
            allowed = ", ".join(map(str, self.folders))
            raise RequestError("outside", field=field, status=403, roots=allowed)
        return path

    def find_file(self, text: Any, *, field: str = "") -> Path:
        """A picture or video of a request.

        Raises:
            RequestError: it is outside, hidden, no footage, or not there.
        """
        path = self.resolve(text, field=field)
        if not is_footage(path) or self._is_hidden(path):
            raise RequestError("no_footage", field=field, status=403, name=path.name)
        if not path.is_file():
            raise RequestError("no_file", field=field, status=404, name=path.name)
        return path

    def find_source(self, text: Any, *, field: str = "") -> Path:
        """A picture, a video or a folder of them.

        Raises:
            RequestError: as `find_file`; a folder that has no pictures and no videos.
        """
        path = self.resolve(text, field=field)
        if not path.is_dir():
            return self.find_file(text, field=field)
        folder = self.find_folder(text, field=field)
        if not count_footage(folder):
            raise RequestError("empty_folder", field=field, name=folder.name)
        return folder

    def find_folder(self, text: Any, *, field: str = "") -> Path:
        """A folder of a request.

        Raises:
            RequestError: it is outside, hidden, or not there.
        """
        path = self.resolve(text, field=field)
        if self._is_hidden(path):
            raise RequestError("no_folder", field=field, status=403, name=path.name)
        if not path.is_dir():
            raise RequestError("no_folder", field=field, status=404, name=path.name)
        return path

    def list_folder(self, text: Any) -> dict[str, Any]:
        """What a folder holds that can be chosen; of no text, the folders themselves.

        Raises:
            RequestError: as `find_folder`; it may not be read.
        """
        if not text:
            return {"path": "", "parent": None, "folders": list(map(_name, self))}
        folder = self.find_folder(text)
        try:
            entries = sorted(folder.iterdir(), key=natural_key)
        except OSError:
            raise RequestError("unreadable", status=403, name=folder.name) from None
        inside = [path for path in entries if self._may_see(path)][:_MOST]
        return {
            "path": str(folder),
            "parent": "" if folder in self.folders else str(folder.parent),
            "folders": [_name(path) for path in inside if path.is_dir()],
            "files": [_describe(p) for p in inside if p.is_file() and is_footage(p)],
            "more": len(entries) > _MOST,
        }

    def __iter__(self) -> Any:
        return iter(self.folders)

    def _may_see(self, path: Path) -> bool:
        if path.name.startswith("."):
            return False
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            return False
        inside = any(real.is_relative_to(folder) for folder in self.folders)
        return inside and not self._is_hidden(real)

    def _is_hidden(self, path: Path) -> bool:
        """Whether a part of the path below its root begins with a dot."""
        roots = [folder for folder in self.folders if path.is_relative_to(folder)]
        return all(
            any(part.startswith(".") for part in path.relative_to(root).parts)
            for root in roots
        )


def make_roots(folders: Sequence[Path]) -> Roots:
    """The folders that the page may see.

    Raises:
        ValueError: one is no folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"--root {folder} is no folder; name one with your footage, or make it"
            )
    return Roots(tuple(dict.fromkeys(folder.resolve() for folder in folders)))


def is_footage(path: Path) -> bool:
    """Whether a file's name is that of a picture or a video."""
    return path.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)


def count_footage(folder: Path) -> int:
    """How many pictures and videos lie right in a folder."""
    try:
        inside = [path for path in folder.iterdir() if is_footage(path)]
    except OSError:
        return 0
    return sum(not path.name.startswith(".") for path in inside)


def is_film(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _name(path: Path) -> dict[str, str]:
    return {"name": path.name or str(path), "path": str(path)}


def _describe(path: Path) -> dict[str, Any]:
    kind = "video" if is_film(path) else "picture"
    return {**_name(path), "kind": kind, "size": path.stat().st_size}
