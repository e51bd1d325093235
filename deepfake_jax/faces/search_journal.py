"""What an extraction has found so far, on disk, so that a killed one can go on.

A file of lines of JSON, each with a checksum: first what the journal is of, then every
frame that was searched, and every few frames a checkpoint with the finder's state and
the embeddings since the last. What stands after the last good checkpoint is done again.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.faces.steady_tracks import FoundFace, FrameFaces
from deepfake_jax.faces.track_views import TrackEmbedding
from deepfake_jax.json_files import encode_line, parse_checked

JOURNAL_NAME = "journal.jsonl"


class SearchJournal:
    """The journal of one extraction: read as far as it goes, then appended to.

    Args:
        folder: where it lies.
        facts: what it must be of: sources and options. A journal of anything else is
            begun anew.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]):
        self._path = folder / JOURNAL_NAME
        self.resumed_frames, end = _measure(self._path, facts)
        self.resumed = end > 0
        if self.resumed:
            os.truncate(self._path, end)
        else:
            self._path.write_text(encode_line(facts), encoding="utf-8", newline="\n")
        self._old = self._read()
        self._next = next(self._old, None)
        # No newline translation: the checkpoint's place is counted in bytes.
        self._file = self._path.open("a", encoding="utf-8", newline="\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def take(self) -> dict[str, Any] | None:
        """The next line of the earlier run; None when all have been taken."""
        line = self._next
        if line is not None:
            self._next = next(self._old, None)
        return line

    def peek(self, source: int) -> dict[str, Any] | None:
        """The line that `take` would give, if it is of that source."""
        line = self._next
        return (
            line if line is not None and line.get("source", source) == source else None
        )

    def append(self, values: dict[str, Any], *, sync: bool = False) -> None:
        """Adds a line; `sync` waits until the disk has it."""
        self._file.write(encode_line(values))
        if sync:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.resumed:
            return
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            file.readline()
            while file.tell() < size:
                yield parse_checked(file.readline()) or {}


def count_frames(folder: Path) -> int:
    """How many frames the journal in a folder has; 0 where there is none."""
    path = folder / JOURNAL_NAME
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.startswith(b'{"frame"') for line in file)


def _measure(path: Path, facts: dict[str, Any]) -> tuple[int, int]:
    """Frames up to the last good checkpoint, and where it ends in the file."""
    if not path.exists():
        return 0, 0
    frames = done = end = 0
    with path.open("rb") as file:
        first = file.readline()
        head = parse_checked(first)
        if head is None or {k: v for k, v in head.items() if k != "check"} != facts:
            return 0, 0
        position = len(first)
        for line in file:
            values = parse_checked(line)
            if values is None:
                break
            position += len(line)
            frames += "faces" in values
            if "state" in values:
                done, end = frames, position
    return done, end


def frame_to_json(found: FrameFaces, source: int = 0) -> dict[str, Any]:
    """What was found in a frame of a source as plain values."""
    return {
        "frame": found.index,
        "source": source,
        "time": found.time,
        "cut": found.cut,
        "faces": [
            {
                "track": face.track,
                "box": face.box.tolist(),
                "score": face.score,
                "confidence": face.confidence,
                "landmarks": face.landmarks.tolist(),
            }
            for face in found.faces
        ],
        "hands": found.hands.tolist(),
    }


def frame_from_json(values: dict[str, Any]) -> FrameFaces:
    """What `frame_to_json` was given."""
    faces = tuple(
        FoundFace(
            track=face["track"],
            box=np.array(face["box"], np.float64),
            score=face["score"],
            landmarks=np.array(face["landmarks"], np.float64).reshape(-1, 2),
            confidence=face["confidence"],
        )
        for face in values["faces"]
    )
    hands = np.array(values.get("hands", []), np.float64).reshape(-1, 21, 2)
    return FrameFaces(values["frame"], values["time"], values["cut"], faces, hands)


def embedding_to_json(view: TrackEmbedding) -> dict[str, Any]:
    """An embedding as plain values."""
    values = [round(float(value), 5) for value in view.vector]
    return {**asdict(view), "vector": values}


def embedding_from_json(values: dict[str, Any]) -> TrackEmbedding:
    """What `embedding_to_json` was given, rounded."""
    vector = np.array(values["vector"], np.float32)
    return TrackEmbedding(**{**values, "vector": vector})
