"""Tracks to people: one vote a track, numbers by how much is seen of each person."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.identity import (
    SAME_PERSON,
    Embedding,
    cluster_persons,
    make_embedder,
    match_persons,
    mean_embedding,
)
from deepfake_jax.faces.track_views import TrackEmbedding
from deepfake_jax.media.pictures import read_picture

# Over this many tracks (a large folder of pictures), those that are plainly of one
# person are joined in groups first: the exact clustering takes a square of memory.
_MOST_TRACKS = 3000


_MARGIN = 0.1  # by which a part is liker somebody else than its own track's other part
_STRANGERS = 0.15  # cosine below which two parts of a track are two people in any case


class PersonError(ValueError):
    """Nobody in the footage is the one asked for; the text says who is there."""


Part = tuple[int, int]  # a track, and which part of it: its face may change


@dataclass
class TrackParts:
    """Tracks cut where their face becomes another person's.

    Attributes:
        cuts: of a track, the frames with which its second and further parts begin.
        frames: in how many frames each part was found.
        together: pairs of parts that were seen in one frame.
    """

    cuts: dict[int, list[int]] = field(default_factory=dict)
    frames: Counter[Part] = field(default_factory=Counter)
    together: set[tuple[Part, Part]] = field(default_factory=set)

    def find(self, track: int, frame: int) -> Part:
        """The part of a track that a frame is in."""
        return track, bisect_right(self.cuts.get(track, ()), frame)

    def count(self, frame: int, tracks: Iterable[int]) -> None:
        """Counts the tracks that were found in a frame."""
        parts = [self.find(track, frame) for track in tracks]
        self.frames.update(parts)
        self.together.update(combinations(parts, 2))


@dataclass(frozen=True)
class People:
    """Who is who in some footage.

    Attributes:
        person_of: person of each part of a track, from 1.
        means: mean embedding of each person.
        frames: in how many frames each person was found.
        parts: the tracks' parts.
    """

    person_of: dict[Part, int]
    means: dict[int, Embedding]
    frames: dict[int, int]
    parts: TrackParts

    def find_person(self, track: int, frame: int) -> int:
        """The person that a track shows in a frame; 0 if nobody knows."""
        return self.person_of.get(self.parts.find(track, frame), 0)


def sort_people(embeddings: Iterable[TrackEmbedding], parts: TrackParts) -> People:
    """Sorts tracks into people, numbered by how many frames they were found in.

    Nothing else decides: what is later kept of them, by size or sharpness, does not.

    Args:
        embeddings: views of tracks, each with a weight.
        parts: of those tracks, and where they were found; others take no part.
    """
    sums: dict[Part, np.ndarray] = {}
    weights: dict[Part, float] = {}
    for view in embeddings:
        key = view.track, view.part
        if not parts.frames[key]:
            continue
        vector = view.weight * view.vector.astype(np.float64)
        sums[key] = sums.get(key, 0) + vector
        weights[key] = weights.get(key, 0.0) + view.weight
    alone = _join_parts(sums)
    groups = [alone[i : i + _MOST_TRACKS] for i in range(0, len(alone), _MOST_TRACKS)]
    merged: list[list[Part]] = []
    for group in groups:
        merged += _cluster(group, sums, weights, parts.together, 0.5)
    merged = _cluster(merged, sums, weights, parts.together, None)
    counts = [sum(parts.frames[part] for part in members) for members in merged]
    order = sorted(range(len(merged)), key=lambda i: (-counts[i], merged[i][0]))
    people = People({}, {}, {}, parts)
    for number, index in enumerate(order, start=1):
        people.frames[number] = counts[index]
        total = sum(sums[part] for part in merged[index])
        people.means[number] = mean_embedding(np.asarray(total, np.float32)[None])
        people.person_of.update(dict.fromkeys(merged[index], number))
    return people


def _join_parts(sums: Mapping[Part, np.ndarray]) -> list[list[Part]]:
    """Parts of a track that nothing tells apart, each with the one before.

    A face that turns away or is covered is unlike itself; it is another person only if
    it is like somebody else who was seen, or like the one before not at all.
    """
    keys = sorted(sums)
    units = {k: sums[k] / max(float(np.linalg.norm(sums[k])), 1e-12) for k in keys}
    groups: list[list[Part]] = []
    for key in keys:
        before = groups[-1] if groups else []
        if not before or before[-1][0] != key[0]:
            groups.append([key])
            continue
        alike = float(units[before[-1]] @ units[key])
        others = [k for k in keys if k[0] != key[0]]
        for mine in (before[-1], key):
            likest = max((float(units[mine] @ units[k]) for k in others), default=-1.0)
            if likest >= SAME_PERSON and likest > alike + _MARGIN:
                groups.append([key])
                break
        else:
            if alike < _STRANGERS:
                groups.append([key])
            else:
                before.append(key)
    return groups


def _cluster(
    groups: list[list[Part]],
    sums: Mapping[Part, np.ndarray],
    weights: Mapping[Part, float],
    pairs: set[tuple[Part, Part]],
    threshold: float | None,
) -> list[list[Part]]:
    if not groups:
        return []
    means = np.stack([np.sum([sums[t] for t in group], axis=0) for group in groups])
    weight = np.array([sum(weights[t] for t in group) for group in groups])
    lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    owner = {part: i for i, group in enumerate(groups) for part in group}
    apart = np.zeros((len(groups), len(groups)), bool)
    for first, second in pairs:
        if first in owner and second in owner:
            i, j = owner[first], owner[second]
            apart[i, j] = apart[j, i] = i != j
    options = {} if threshold is None else {"threshold": threshold}
    labels = cluster_persons(
        (means / lengths).astype(np.float32), weights=weight, together=apart, **options
    )
    joined: dict[int, list[Part]] = {}
    for group, label in zip(groups, labels.tolist(), strict=True):
        joined.setdefault(label, []).extend(group)
    return [sorted(group) for group in joined.values()]


def read_references(
    pictures: Sequence[str], *, option: str
) -> Float32[np.ndarray, "n 128"]:
    """The embeddings of the largest face of each picture.

    Raises:
        PersonError: a picture without a face.
        PictureError: a file that is no picture.
    """
    if not pictures:
        return np.zeros((0, 128), np.float32)
    detect, embed = make_detector(), make_embedder()
    vectors = []
    for path in pictures:
        frame = read_picture(Path(path))
        detections = detect(frame)
        if not detections:
            raise PersonError(
                f"no face in {option} {path}; give a clear picture of them"
            )
        vectors.append(embed(frame, detections[0]))
    return np.stack(vectors)


def choose_persons(
    people: People,
    person: str,
    wanted: Float32[np.ndarray, "n 128"],
    unwanted: Float32[np.ndarray, "m 128"],
) -> list[int]:
    """The persons that some options name, the one seen most first.

    Args:
        people: who is there.
        person: ``each``, ``all``, ``main`` or a number; where `wanted` is given, that
            decides instead.
        wanted: embeddings of whom to keep.
        unwanted: embeddings of whom to leave out.

    Raises:
        PersonError: there is nobody like that.
    """
    numbers = sorted(people.means)
    if person.isdecimal() and not len(wanted):
        if int(person) not in people.means:
            raise PersonError(
                f"--person {person}: this footage shows "
                f"{'one person' if len(numbers) == 1 else f'{len(numbers)} people'}, "
                "numbered from 1; nothing was written"
            )
        return [int(person)]
    if len(wanted):
        numbers = sorted(match_persons(people.means, wanted))
        if not numbers:
            best = max(
                (float((wanted @ mean).max()) for mean in people.means.values()),
                default=0.0,
            )
            raise PersonError(
                f"none of the {len(people.means)} people in this footage looks like "
                f"the --person or --reference given (best cosine {best:.2f}, needed "
                "0.36); nothing was written. Give another picture of them, or extract "
                "everybody and look at people.png"
            )
    if len(unwanted):
        against = match_persons(people.means, unwanted)
        numbers = [
            n
            for n in numbers
            if n not in against
            or (
                len(wanted)
                and _likest(people, n, wanted) > _likest(people, n, unwanted)
            )
        ]
        if not numbers:
            raise PersonError(
                "everybody in this footage looks like a --not-reference picture; "
                "nothing was written"
            )
    return numbers[:1] if person == "main" and not len(wanted) else numbers


def _likest(people: People, person: int, vectors: np.ndarray) -> float:
    return float((vectors @ people.means[person]).max())
