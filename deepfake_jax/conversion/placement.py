"""Which faces of some footage to swap, and where they lie in each frame.

They come from the search that extraction makes too, or from an extraction's record in
its stead. A face takes 0.5 kB, so that an hour of one face takes 50 MB.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.faces.hands import MOST_HANDS
from deepfake_jax.faces.identity import Embedding
from deepfake_jax.faces.people import (
    People,
    PersonError,
    choose_persons,
    read_references,
)
from deepfake_jax.faces.steady_tracks import SURE
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.imaging.hand_mask import no_hands
from deepfake_jax.media.sources import Source, parse_part
from deepfake_jax.types import Affine, Hands, Landmarks

_log = logging.getLogger("deepfake_jax")
_NONE = np.zeros((0, 128), np.float32)
_FINENESS = 64  # steps a pixel of a stored landmark
_HAND_FINENESS = 4  # likewise of a hand's, which may reach far out of the picture
_UNKNOWN = -32768
_CHUNK = 1024  # rows that are collected before they become an array
ROW = np.dtype(
    [
        ("source", np.int32),
        ("frame", np.int32),
        ("track", np.int32),
        ("person", np.int32),
        ("width", np.float32),  # of the face in its frame
        ("frame_to_face", np.float64, (2, 3)),
        ("landmarks", np.int16, (68, 2)),  # 64ths of the face picture's pixels
        ("hands", np.int16, (MOST_HANDS, 21, 2)),  # quarters of these
    ]
)


@dataclass(frozen=True, eq=False)
class PlacedFace:
    """A face to swap.

    Attributes:
        track: number of its track; it lasts over neighbouring frames of one source.
        frame_to_face: its alignment to a face picture of `FACE_SIZE`.
        landmarks: 68 of them in the pixels of that picture, None where only five are
            known.
        hands: those near it, likewise.
    """

    track: int
    frame_to_face: Affine
    landmarks: Landmarks | None
    hands: Hands = field(default_factory=no_hands)


class Placement:
    """Faces of sources and frames, to look up by their numbers.

    Args:
        table: a row a face, see `ROW`.
        largest: whether only the largest face of each frame counts.
    """

    def __init__(self, table: np.ndarray, *, largest: bool = False):
        rows = table[np.lexsort((table["width"], table["frame"], table["source"]))]
        keys = _make_key(rows["source"], rows["frame"])
        if largest and len(rows):
            last = np.append(keys[1:] != keys[:-1], True)
            rows, keys = rows[last], keys[last]
        self._rows, self._keys = rows, keys

    @property
    def table(self) -> np.ndarray:
        """Its rows; a placement made of them is the same."""
        return self._rows

    def find(self, source: int, frame: int) -> list[PlacedFace]:
        """The faces to swap in a frame, the largest last."""
        key = _make_key(np.int64(source), np.int64(frame))
        first, end = np.searchsorted(self._keys, [key, key + 1]).tolist()
        return [_unpack(row) for row in self._rows[first:end]]

    def sides(self) -> Float64[np.ndarray, "n"]:
        """Side in its frame, pixels, of each face's whole face picture."""
        linear = self._rows["frame_to_face"][:, :, :2]
        return FACE_SIZE / np.sqrt(np.abs(np.linalg.det(linear)))

    def __len__(self) -> int:
        return len(self._rows)


def _make_key(source: Any, frame: Any) -> Any:
    return (np.asarray(source, np.int64) << 32) | np.asarray(frame, np.int64)


def _unpack(row: Any) -> PlacedFace:
    landmarks = row["landmarks"] / _FINENESS if has_landmarks(row) else None
    known = row["hands"][:, 0, 0] != _UNKNOWN
    hands = row["hands"][known] / _HAND_FINENESS
    return PlacedFace(int(row["track"]), row["frame_to_face"].copy(), landmarks, hands)


def has_landmarks(row: Any) -> bool:
    """Whether a row knows 68 landmarks; of five alone it holds none."""
    return bool(row["landmarks"][0, 0] != _UNKNOWN)


def pack_landmarks(landmarks: Landmarks, matrix: Affine) -> Any:
    """Landmarks, given in the frame's pixels, as a row holds them."""
    if len(landmarks) != 68:
        return np.full((68, 2), _UNKNOWN, np.int16)
    limit = -_UNKNOWN - 1
    placed = np.rint(apply_affine(matrix, landmarks) * _FINENESS)
    return np.clip(placed, -limit, limit).astype(np.int16)


def pack_hands(hands: Hands, matrix: Affine) -> Any:
    """Hands, given in the frame's pixels, as a row holds them."""
    packed = np.full((MOST_HANDS, 21, 2), _UNKNOWN, np.int16)
    for row, hand in zip(packed, hands, strict=False):
        limit = -_UNKNOWN - 1
        placed = np.rint(apply_affine(matrix, hand) * _HAND_FINENESS)
        row[:] = np.clip(placed, -limit, limit)
    return packed


def stack_rows(rows: Iterator[tuple[Any, ...]]) -> np.ndarray:
    """Rows as one array; a tuple of each would take ten times the memory."""
    parts, waiting = [np.zeros(0, ROW)], list[tuple[Any, ...]]()
    for row in rows:
        waiting.append(row)
        if len(waiting) == _CHUNK:
            parts.append(np.array(waiting, ROW))
            waiting.clear()
    return np.concatenate([*parts, np.array(waiting, ROW)])


def make_search(config: ConvertConfig, identity: Embedding | None) -> FootageSearch:
    """Loads the networks that look for the faces of a config.

    Where people are told apart by how much is seen of them, all of the source is
    searched and not the part between ``--start`` and ``--end`` alone: a number means
    the same person whatever the part.
    """
    counts = config.person == "auto" and identity is None or config.person.isdecimal()
    wanted = replace(config, start="", end="") if counts else config
    return FootageSearch(wanted, cut_from_whole=True)


def place_faces(
    sources: list[Source],
    config: ConvertConfig,
    identity: Embedding | None,
    *,
    search: FootageSearch | None = None,
) -> Placement:
    """Searches footage for the faces that a config asks for.

    Args:
        sources: a video, or pictures.
        config: whom to swap, and how to find them.
        identity: the person that the run's faces show, where it knows.
        search: by which to look, as `make_search` makes it; by default a new one.

    Raises:
        PersonError: the person asked for is not there.
        VideoError, PictureError: the only source cannot be read.
    """
    wanted = read_wanted(config)
    search = search or make_search(config, identity)
    start, end = parse_part(config.start, config.end)

    def rows() -> Iterator[tuple[Any, ...]]:
        with closing(search.search(sources, pictures=False)) as stream:
            for found in stream:
                time = found.timed.time
                if sources[found.source].kind == "video":
                    if time < (start or 0.0) or (end is not None and time >= end):
                        continue
                for face in found.faces:
                    if face.confidence >= SURE:
                        matrix = face.frame_to_face
                        packed = pack_landmarks(face.landmarks, matrix)
                        hands = pack_hands(face.hands, matrix)
                        place = (found.source, found.timed.index, face.track, 0)
                        yield *place, face.width, matrix, packed, hands

    table = stack_rows(rows())
    people = search.sort_people()
    places = zip(table["track"].tolist(), table["frame"].tolist(), strict=True)
    table["person"] = [people.find_person(*place) for place in places]
    chosen = choose_faces(table, people, config, identity, wanted)
    return Placement(chosen, largest=config.person != "all")


def read_wanted(config: ConvertConfig) -> Float32[np.ndarray, "n 128"]:
    """The embedding of the person whose picture a config names, if it does."""
    known = ("auto", "largest", "all")
    plain = config.person in known or config.person.isdecimal()
    return read_references([] if plain else [config.person], option="--person")


def choose_faces(
    table: np.ndarray,
    people: People,
    config: ConvertConfig,
    identity: Embedding | None,
    wanted: Float32[np.ndarray, "n 128"],
) -> np.ndarray:
    """The rows of the persons that a config asks for; `wanted` as of `read_wanted`.

    Raises:
        PersonError: the person asked for is not there.
    """
    if config.person not in ("all", "largest"):
        persons = _choose_persons(people, config, identity, wanted)
        table = table[np.isin(table["person"], persons)]
    return table


def _choose_persons(
    people: People,
    config: ConvertConfig,
    identity: Embedding | None,
    wanted: np.ndarray,
) -> list[int]:
    """Persons to swap; none where the person of the run is not there."""
    if not people.means:
        return []
    if config.person != "auto":
        return choose_persons(people, config.person, wanted, _NONE)
    if identity is None:
        _log.warning(
            "the run knows no person's face; swapping the person seen most often"
        )
        return choose_persons(people, "main", _NONE, _NONE)
    try:
        return choose_persons(people, "auto", identity[None], _NONE)
    except PersonError:
        return []
