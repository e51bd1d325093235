"""Searches that are kept: a video that was looked through is not looked through again.

What decides a search decides the name of its file in the cache folder: the video's
content, the options, this program's code that searches and the libraries below it. A
file is written beside and renamed when a search has come to its end, so that several
processes can keep the same one, and each of its parts has a checksum: what is damaged
is as good as not there. Beyond `MOST_BYTES` the searches that nobody has asked for
longest are forgotten. An hour of one face takes about 50 MB.

The content is told by SHA-256 of all of it. Size and time of change would be had at
once, but a video that was written anew within a tick of the clock, or unpacked with its
old date, would be given another one's faces; and a look at some of its parts does not
see a change in the others. The sum takes 0.7 s a GB, decoding that GB minutes.
"""

import functools
import hashlib
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.packed_frames import KeptFrame, pack_frames, unpack_frames
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.files import get_cache_dir, hash_once, partial_path
from deepfake_jax.media.sources import Source
from deepfake_jax.output_lock import clear_partials
from deepfake_jax.version import find_version

_log = logging.getLogger("deepfake_jax")
MOST_BYTES = 1 << 30  # of all that is kept
ENDING = ".search"
_FORMAT = 1
_CHUNK = 256  # frames that are packed together
# Begins each part of a file: what it is, its bytes, their CRC-32, frames and faces.
_PART = struct.Struct("<4sIIII")
_Counts = tuple[int, int]
_FRAMES, _LAST = b"face", b"last"
_ROOMS = ("faces", "imaging", "media")  # whose code decides what is found


@dataclass(frozen=True)
class Findings:
    """What a search found of a whole source.

    Attributes:
        tracks: how many; they are numbered from 0.
        views: their embeddings, as `embedding_to_json` gives them.
        jitter: as `JitterMeter.add_counts` takes them.
    """

    tracks: int
    views: list[dict[str, Any]]
    jitter: list[list[int]]


class KeptSearch:
    """A search that was kept, found whole; to be read once."""

    def __init__(self, file: BinaryIO, findings: Findings):
        self.findings = findings
        self._file = file

    def frames(self, *, first_track: int = 0) -> Iterator[KeptFrame]:
        """The frames that were searched, in order.

        Args:
            first_track: the number that the search's track 0 shall have.
        """
        self._file.seek(0)
        with self._file:
            for kind, payload, counts in _read_parts(self._file):
                if kind == _FRAMES:
                    yield from unpack_frames(payload, counts, first_track)


class SearchNotes:
    """Takes down a search that is under way, to be kept at its end.

    A disk that is full or a folder that may not be written to ends the notes and not
    the search.
    """

    def __init__(
        self, keeper: "SearchKeeper", facts: dict[str, Any], *, first_track: int = 0
    ):
        self._keeper, self._facts, self._first_track = keeper, facts, first_track
        self._waiting: list[KeptFrame] = []
        self._partial = partial_path(keeper.path_of(facts))
        self._file: BinaryIO | None = None
        self._given_up = False

    def add(self, index: int, time: float, faces: Sequence[TrackedFace]) -> None:
        """Notes the faces of a frame."""
        self._waiting.append(KeptFrame(index, time, list(faces)))
        if len(self._waiting) >= _CHUNK:
            self._flush()

    def finish(self, findings: Findings) -> None:
        """Keeps the search; the oldest ones go where there is no room for it."""
        self._flush()
        content = {"format": _FORMAT, "facts": self._facts, **vars(findings)}
        self._write(_LAST, json.dumps(content).encode(), (0, 0))
        with self._or_without():
            if self._file is not None:
                self._file.close()
                os.replace(self._partial, self._keeper.path_of(self._facts))
                self._file = None
                self._keeper.forget_oldest()

    def close(self) -> None:
        """Forgets the notes of a search that did not come to its end."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                self._partial.unlink()

    def _open(self) -> BinaryIO:
        """The file of the notes; made when there is something to note."""
        if self._file is None:
            folder = self._keeper.folder
            folder.mkdir(parents=True, exist_ok=True)
            clear_partials(folder)
            self._file = self._partial.open("wb")
        return self._file

    def _flush(self) -> None:
        if self._waiting:
            *counts, payload = pack_frames(self._waiting, self._first_track)
            self._write(_FRAMES, payload, (counts[0], counts[1]))
            self._waiting.clear()

    def _write(self, kind: bytes, payload: bytes, counts: _Counts) -> None:
        if self._given_up:
            return
        crc = _checksum(kind, payload, counts)
        head = _PART.pack(kind, len(payload), crc, *counts)
        with self._or_without():
            self._open().write(head + payload)

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Goes on without notes where the disk does not take them."""
        try:
            yield
        except OSError as error:
            _log.warning("this search is not kept for the next time: %s", error)
            self._given_up = True
            self.close()


class SearchKeeper:
    """The folder of kept searches.

    Args:
        folder: where they lie; by default ``$DEEPFAKE_JAX_SEARCHES``, or else in the
            cache folder.
        most_bytes: of all of them.
    """

    def __init__(self, folder: Path | None = None, *, most_bytes: int = MOST_BYTES):
        named = os.environ.get("DEEPFAKE_JAX_SEARCHES")
        cache = Path(named) if named else get_cache_dir() / "searches"
        self.folder = cache if folder is None else folder
        self._most_bytes = most_bytes

    def path_of(self, facts: dict[str, Any]) -> Path:
        """The file of the search of some facts."""
        text = json.dumps(facts, sort_keys=True)
        return self.folder / (hashlib.sha256(text.encode()).hexdigest()[:40] + ENDING)

    def find(self, facts: dict[str, Any]) -> KeptSearch | None:
        """The search of these very facts, if it was kept and is whole."""
        path = self.path_of(facts)
        try:
            file = path.open("rb")
        except OSError:
            return None
        try:
            findings = _check(file, facts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            file.close()
            _log.warning(
                "a kept search is damaged (%s); the video is searched again", error
            )
            return None
        with suppress(OSError):  # read-only, or forgotten by another process meanwhile
            os.utime(path)  # asked for last: the last to be forgotten
        return KeptSearch(file, findings)

    def forget_oldest(self) -> None:
        """Removes the searches that nobody asked for longest, down to the limit."""
        ages = []
        for path in self.folder.glob(f"*{ENDING}"):
            with suppress(OSError):
                state = path.stat()
                ages.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in ages)
        for _, size, path in sorted(ages):
            if total <= self._most_bytes:
                return
            with suppress(OSError):  # another process was faster, or reads it
                path.unlink()
            total -= size


def describe_search(
    source: Source,
    config: SearchConfig,
    *,
    every: int,
    part: tuple[float, float | None],
) -> dict[str, Any]:
    """What decides a search of a source; empty where it is not kept.

    Args:
        source: in which to search.
        config: what for.
        every: only each so many-th frame is looked at.
        part: from where and up to where, seconds; None is the end.
    """
    # dlib's model is a file of the user's, and may be another one the next time.
    if source.kind != "video" or config.landmarks == "dlib":
        return {}
    try:
        content = hash_once(source.path)
    except OSError:  # which whoever reads it will explain
        return {}
    return {
        "version": search_version(),
        "source": content,
        "landmarks": config.landmarks,
        "min_score": config.min_score,
        "steady": config.steady,
        "hands": config.hands,
        "every": every,
        "start": part[0],
        "end": part[1],
    }


@functools.cache
def search_version() -> str:
    """What tells this version of the search from others: its code and libraries."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        folder = package_files("deepfake_jax").joinpath(room)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    libraries = (av.__version__, cv2.__version__, np.__version__)
    names = "deepfake-jax", "ai-edge-litert"
    known = [*libraries, *(find_version(name) or "" for name in names)]
    digest.update(json.dumps(known).encode())
    return digest.hexdigest()


def _read_parts(file: BinaryIO) -> Iterator[tuple[bytes, bytes, _Counts]]:
    """The parts of a file up to its last.

    Raises:
        ValueError: a part that is not as it was written, or is not there.
    """
    kind = b""
    while kind != _LAST:
        head = file.read(_PART.size)
        if len(head) < _PART.size:
            raise ValueError("it was cut off")
        kind, length, crc, *counts = _PART.unpack(head)
        counts = counts[0], counts[1]
        # A damaged length must not ask for more memory than there is.
        payload = file.read(min(length, MOST_BYTES))
        if len(payload) != length or _checksum(kind, payload, counts) != crc:
            raise ValueError("a checksum is wrong")
        yield kind, payload, counts


def _checksum(kind: bytes, payload: bytes, counts: _Counts) -> int:
    return zlib.crc32(payload, zlib.crc32(kind + struct.pack("<II", *counts)))


def _check(file: BinaryIO, facts: dict[str, Any]) -> Findings:
    """Reads a file through; gives what its last part says."""
    last = b""
    for _, payload, _ in _read_parts(file):
        last = payload
    content = json.loads(last)
    if content.pop("format") != _FORMAT or content.pop("facts") != facts:
        raise ValueError("it is of something else")
    return Findings(**content)
