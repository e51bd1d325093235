"""Tracks to people: one vote a track, numbers by how much is seen of each person."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.face_finder import TrackEmbedding
from deepfake_jax.faces.identity import (
    Embedding,
    cluster_persons,
    make_embedder,
    match_persons,
    mean_embedding,
)
from deepfake_jax.media.pictures import read_picture

# Over this many tracks (a large folder of pictures), those that are plainly of one
# person are joined in groups first: the exact clustering takes a square of memory.
_MOST_TRACKS = 3000


class PersonError(ValueError):
    """Nobody in the footage is the one asked for; the text says who is there."""


@dataclass(frozen=True)
class People:
    """Who is who in some footage.

    Attributes:
        person_of: person of each track, from 1.
        means: mean embedding of each person.
        frames: in how many frames each person was found.
    """

    person_of: dict[int, int]
    means: dict[int, Embedding]
    frames: dict[int, int]


def sort_people(
    embeddings: Iterable[TrackEmbedding],
    frames: Mapping[int, int],
    together: Iterable[tuple[int, int]],
) -> People:
    """Sorts tracks into people, numbered by how many frames they were found in.

    Nothing else decides: what is later kept of them, by size or sharpness, does not.

    Args:
        embeddings: views of tracks, each with a weight.
        frames: how many frames each track was found in; others take no part.
        together: pairs of tracks that were seen in one frame.
    """
    sums: dict[int, np.ndarray] = {}
    weights: dict[int, float] = {}
    for view in embeddings:
        if not frames.get(view.track):
            continue
        part = view.weight * view.vector.astype(np.float64)
        sums[view.track] = sums.get(view.track, 0) + part
        weights[view.track] = weights.get(view.track, 0.0) + view.weight
    tracks = sorted(sums)
    groups = [tracks[i : i + _MOST_TRACKS] for i in range(0, len(tracks), _MOST_TRACKS)]
    pairs = set(together)
    merged: list[list[int]] = []
    for group in groups:
        merged += _cluster([[t] for t in group], sums, weights, pairs, 0.5)
    merged = _cluster(merged, sums, weights, pairs, None)
    counts = [sum(frames[track] for track in members) for members in merged]
    order = sorted(range(len(merged)), key=lambda i: (-counts[i], merged[i][0]))
    people = People({}, {}, {})
    for number, index in enumerate(order, start=1):
        people.frames[number] = counts[index]
        total = sum(sums[track] for track in merged[index])
        people.means[number] = mean_embedding(np.asarray(total, np.float32)[None])
        people.person_of.update(dict.fromkeys(merged[index], number))
    return people


def _cluster(
    groups: list[list[int]],
    sums: Mapping[int, np.ndarray],
    weights: Mapping[int, float],
    pairs: set[tuple[int, int]],
    threshold: float | None,
) -> list[list[int]]:
    if not groups:
        return []
    means = np.stack([np.sum([sums[t] for t in group], axis=0) for group in groups])
    weight = np.array([sum(weights[t] for t in group) for group in groups])
    lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    owner = {track: i for i, group in enumerate(groups) for track in group}
    apart = np.zeros((len(groups), len(groups)), bool)
    for first, second in pairs:
        if first in owner and second in owner:
            i, j = owner[first], owner[second]
            apart[i, j] = apart[j, i] = i != j
    options = {} if threshold is None else {"threshold": threshold}
    labels = cluster_persons(
        (means / lengths).astype(np.float32), weights=weight, together=apart, **options
    )
    joined: dict[int, list[int]] = {}
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
    return np.stack(vectors) if vectors else np.zeros((0, 128), np.float32)


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
                f"--person {person}: this footage shows {len(numbers)} people, "
                f"numbered from 1; nothing was written"
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
