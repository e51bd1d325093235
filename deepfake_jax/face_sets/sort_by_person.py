"""An extraction's faces to face sets: one a person, or one for all."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.face_sets.contact_sheets import Row, Tile, draw_sheet
from deepfake_jax.face_sets.face_record import (
    FaceRecord,
    encode_record,
    make_record,
    read_lines,
)
from deepfake_jax.face_sets.face_set import DROPPED_NAME, RECORD_NAME
from deepfake_jax.face_sets.face_writer import UNSORTED_NAME
from deepfake_jax.face_sets.set_files import PEOPLE_SHEET, PERSON_FOLDER
from deepfake_jax.faces.identity import mean_embedding
from deepfake_jax.faces.people import People
from deepfake_jax.json_files import encode_line
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.progress import count
from deepfake_jax.types import spread

_BUFFER = 500  # lines of all persons that wait to be written


@dataclass(frozen=True)
class PersonSet:
    """A person's place in the result: number, faces, and the folder of their set."""

    number: int
    faces: int
    folder: str


def sort_out(
    folder: Path,
    header: dict[str, Any],
    people: People,
    chosen: list[int],
    *,
    short: set[int],
    one: bool,
    out: Path,
    dropped: Counter[str],
) -> list[PersonSet]:
    """Sorts the pictures and lines of a folder into sets, inside that folder.

    Args:
        folder: pictures and ``faces.jsonl`` of all faces, without a header.
        header: for the sets' records.
        people: whose face each track is.
        chosen: persons to keep; the pictures of others are removed.
        short: tracks that are too short to be kept, whosever they are.
        one: whether all of them go into one set.
        out: where the folder will be when it is done, for the result.
        dropped: counts the faces of others.
    """
    several = len(chosen) > 1 and not one
    places = {n: folder / f"{PERSON_FOLDER}{n}" if several else folder for n in chosen}
    source = folder / RECORD_NAME
    unsorted = folder / UNSORTED_NAME
    source.replace(unsorted)
    writer = _SetWriter(header, people, places, together=one and len(chosen) > 1)
    # From a copy of the name, so that a kill in between leaves all lines somewhere.
    for _, line in read_lines(unsorted):
        record = make_record(line)
        person = people.find_person(record.track, record.frame)
        if person not in places or record.track in short:
            if not record.dropped:
                (folder / record.file).unlink(missing_ok=True)
                dropped["other person"] += record.track not in short
            continue
        writer.add(replace(record, person=person))
    writer.finish()
    unsorted.unlink()
    if several:
        write_picture(folder / PEOPLE_SHEET, draw_people(writer.samples, people))
    final = {n: out / place.relative_to(folder) for n, place in places.items()}
    return [
        PersonSet(n, writer.counts[n], str(final[n]))
        for n in chosen
        if writer.counts[n]
    ]


class _SetWriter:
    """Appends lines to the records of several sets, a few at a time."""

    def __init__(
        self,
        header: dict[str, Any],
        people: People,
        places: dict[int, Path],
        *,
        together: bool,
    ):
        self.counts: Counter[int] = Counter()
        self.samples: dict[int, list[Path]] = {}
        self._places = places
        self._waiting: list[tuple[Path, str]] = []
        for person, place in places.items():
            place.mkdir(exist_ok=True)
            head = dict(header)
            if not together:
                mean = mean_embedding(people.means[person][None]).astype(np.float64)
                head["identity"] = np.round(mean, 6).tolist()
                head["person"] = person
            path = place / RECORD_NAME
            path.write_text(encode_line(head), encoding="utf-8", newline="\n")
        self._header = header

    def add(self, record: FaceRecord) -> None:
        """Moves a face's picture to its person's set and notes its line."""
        place = self._places[record.person]
        if record.dropped:
            path = place / DROPPED_NAME
            if not path.exists():
                head = encode_line(self._header)
                path.write_text(head, encoding="utf-8", newline="\n")
        else:
            path = place / RECORD_NAME
            if place != self._places_root:
                (self._places_root / record.file).replace(place / record.file)
            self.counts[record.person] += 1
            self._sample(record.person, place / record.file)
        self._waiting.append((path, encode_record(record)))
        if len(self._waiting) >= _BUFFER:
            self._flush()

    @property
    def _places_root(self) -> Path:
        first = next(iter(self._places.values()))
        return first.parent if first.name.startswith(PERSON_FOLDER) else first

    def finish(self) -> None:
        """Writes what waits and has the disk keep it."""
        self._flush()
        for place in set(self._places.values()):
            with (place / RECORD_NAME).open("a") as file:
                os.fsync(file.fileno())

    def _flush(self) -> None:
        lines: dict[Path, list[str]] = {}
        for path, line in self._waiting:
            lines.setdefault(path, []).append(line)
        for path, some in lines.items():
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(some)
        self._waiting.clear()

    def _sample(self, person: int, path: Path) -> None:
        """Keeps a bounded number of pictures a person, spread over all of theirs."""
        samples = self.samples.setdefault(person, [])
        if self.counts[person] % max(
            1, 2 ** ((self.counts[person] // 64).bit_length())
        ):
            return
        samples.append(path)
        if len(samples) > 64:
            del samples[::2]


def draw_people(samples: dict[int, list[Path]], people: People) -> np.ndarray:
    """The contact sheet that shows who is who: a row a person."""
    rows = []
    for number in sorted(samples):
        paths = samples[number]
        tiles = [
            Tile(paths[i], paths[i].name.split("_")[1]) for i in spread(len(paths), 10)
        ]
        title = f"person {number}   seen in {count(people.frames[number], 'frame')}"
        rows.append(Row(title, tiles))
    return draw_sheet(rows)
