"""Tracked faces to picture files and record lines, appended while frames come in."""

import dataclasses
import os
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.face_quality import find_fault, measure_quality
from deepfake_jax.face_sets.face_record import FaceRecord, encode_record, make_record
from deepfake_jax.face_sets.face_set import DROPPED_NAME, RECORD_NAME
from deepfake_jax.face_sets.set_files import PEOPLE_SHEET, PERSON_FOLDER
from deepfake_jax.faces.footage_search import SearchedFrame
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.files import file_crc
from deepfake_jax.imaging.affine import affine_scale, round_hundredths
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.imaging.png import encode_png
from deepfake_jax.imaging.region import warp_region
from deepfake_jax.json_files import parse_checked
from deepfake_jax.media.frame_parts import face_region
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.types import Face

UNSORTED_NAME = f".{RECORD_NAME}.unsorted"


class FaceWriter:
    """Writes each face's picture and its line; what an earlier run wrote is reused.

    Attributes:
        kept_of: the frames of each track of which faces were written.
        dropped: faces left out, by reason; they have a line and no picture.
        source_of: number of the source that each track is of.
    """

    def __init__(
        self,
        folder: Path,
        config: ExtractConfig,
        sources: Sequence[str],
        watch: Stopwatch,
    ):
        self.kept_of: dict[int, array[int]] = {}
        self.dropped: Counter[str] = Counter()
        self.source_of: dict[int, int] = {}
        self._folder, self._config, self._sources = folder, config, sources
        self._warp = watch.wrap("align", _cut_face)
        self._measure = watch.wrap("quality", measure_quality)
        self._write_face = watch.wrap("encode", _write_face)
        self._path = folder / RECORD_NAME
        self._end = 0
        self._old = _read_old(self._path)
        self._file = self._path.open("a", encoding="utf-8", newline="\n")

    def close(self) -> None:
        """Ends the record; the disk has it then."""
        if self._old is not None:
            self._cut_off()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def write(self, found: SearchedFrame) -> None:
        """Writes the faces of a frame; those that are not good enough as lines only."""
        for face in found.faces:
            name = f"{found.source:03d}_{found.timed.index:06d}_{face.track:04d}.png"
            record = self._take_old(name)
            if record is None:
                record = self._make(name, found, face)
                self._file.write(encode_record(record))
            self.source_of[face.track] = found.source
            if record.dropped:
                self.dropped[record.dropped] += 1
            else:
                self.kept_of.setdefault(face.track, array("l")).append(
                    found.timed.index
                )

    def _make(self, name: str, found: SearchedFrame, face: TrackedFace) -> FaceRecord:
        timed = found.timed
        picture = self._warp(timed, face)
        quality = self._measure(face, picture)
        fault = find_fault(quality, self._config) or ""
        fault = "damaged frame" if timed.damaged else fault
        crc = "" if fault else self._write_face(self._folder / name, picture)
        return FaceRecord(
            file=name,
            source=self._sources[found.source],
            frame=timed.index,
            time=round(timed.time, 6),
            box=tuple(round_hundredths(face.box).tolist()),
            score=face.score,
            landmarks=tuple(map(tuple, round_hundredths(face.landmarks).tolist())),
            frame_to_face=tuple(map(tuple, np.round(face.frame_to_face, 8).tolist())),
            size=round(FACE_SIZE / affine_scale(face.frame_to_face), 2),
            track=face.track,
            filled=face.filled,
            picture=crc,
            dropped=fault,
            source_number=found.source,
            hands=tuple(tuple(map(tuple, hand)) for hand in face.hands.tolist()),
            **dataclasses.asdict(quality),
        )

    def _take_old(self, name: str) -> FaceRecord | None:
        """An earlier run's line of this very face, if its picture is still whole."""
        if self._old is None:
            return None
        found = next(self._old, None)
        if found is not None:
            record, end = found
            path = self._folder / name
            whole = record.dropped or (
                path.exists() and file_crc(path) == record.picture
            )
            if record.file == name and whole:
                self._end = end
                return record
        self._cut_off()
        return None

    def _cut_off(self) -> None:
        """Forgets what an earlier run wrote from here on."""
        self._old = None
        os.truncate(self._path, self._end)


def _cut_face(timed: TimedFrame, face: TrackedFace) -> Face:
    region = face_region(timed, face.frame_to_face, FACE_SIZE)
    return warp_region(region, face.frame_to_face, FACE_SIZE)


def _write_face(path: Path, face: Face) -> str:
    """Writes a picture in one piece; gives the CRC-32 of its bytes."""
    content = encode_png(face)
    part = path.with_name(f".{path.name}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # writing raises without one
        raise
    return f"{zlib.crc32(content):08x}"


def _read_old(path: Path) -> Iterator[tuple[FaceRecord, int]] | None:
    """An earlier run's good lines, each with where it ends in the file."""
    if not path.exists():
        return None
    size = path.stat().st_size

    def read() -> Iterator[tuple[FaceRecord, int]]:
        end = 0
        with path.open("rb") as file:
            while end < size:
                line = file.readline()
                values = parse_checked(line)
                if values is None:
                    return
                end += len(line)
                yield make_record(values), end

    return read()


def recall_pictures(folder: Path) -> None:
    """Undoes a sorting by person that was cut short: all back to one place."""
    (folder / DROPPED_NAME).unlink(missing_ok=True)
    (folder / PEOPLE_SHEET).unlink(missing_ok=True)
    if (folder / UNSORTED_NAME).exists():
        # Else what stands there is a set's record, of which a part may be missing.
        (folder / UNSORTED_NAME).replace(folder / RECORD_NAME)
    for inner in folder.glob(f"{PERSON_FOLDER}*"):
        for picture in inner.glob("*.png"):
            picture.replace(folder / picture.name)
        for rest in inner.iterdir():
            rest.unlink()
        inner.rmdir()
