"""Whom a track shows: its best views, embedded, and where its face becomes another's.

A track may pass from one face to another: where two people cross, or one walks before
the other. Every few frames a picture of each face is kept until the next embedding. If
that differs from who the track showed before, these pictures tell when it changed.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.identity import (
    EMBEDDING_SIDE,
    SAME_PERSON,
    CropEmbedder,
    Embedding,
    cut_embedding_crop,
    mean_embedding,
)
from deepfake_jax.faces.steady_tracks import SURE, FoundFace
from deepfake_jax.faces.track_state import RunningTrack
from deepfake_jax.imaging.affine import umeyama
from deepfake_jax.imaging.face_template import ARCFACE_LANDMARKS, five_landmarks
from deepfake_jax.imaging.head_pose import estimate_pose
from deepfake_jax.media.frame_parts import face_region
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.types import Face

_SAMPLE_EVERY = 4  # frames
# Cosine below which a view makes one look closer: a person's own views fall below it
# now and then, another's are hardly ever above.
_DOUBTFUL = 0.5
_DECIMALS = 5  # of what is kept, so that an interrupted run goes on with the same


@dataclass(frozen=True)
class TrackEmbedding:
    """Who a part of a track shows; `weight` says how good the view was.

    Attributes:
        track: number of the track.
        part: which part of it, from 0.
        begins: index of the frame with which the part begins, where it is told first
            here; else -1.
        weight: about 1 for a large face that looks into the camera.
        vector: its embedding.
    """

    track: int
    part: int
    begins: int
    weight: float
    vector: Embedding


def shift_track(view: TrackEmbedding, by: int) -> TrackEmbedding:
    """The same of a track of another number."""
    return replace(view, track=view.track + by)


@dataclass(frozen=True, eq=False)
class _View:
    crop: Face
    weight: float
    frame: int


@dataclass
class _Views:
    """Pictures of a track's face since the last embedding; it may have ended since."""

    track: RunningTrack
    best: _View
    samples: list[_View] = field(default_factory=list)


class TrackViews:
    """Collects views of tracks; those of frames that were embedded are forgotten."""

    def __init__(self, embed: CropEmbedder):
        self._embed = embed
        self._views: dict[int, _Views] = {}

    def clear(self) -> None:
        """Forgets all that was collected."""
        self._views.clear()

    def add(self, timed: TimedFrame, face: FoundFace, track: RunningTrack) -> None:
        """Keeps a face's picture if none was better, or if a sample is due."""
        weight = _weigh(timed, face)
        views = self._views.get(face.track)
        # A little better is not worth another cut.
        better = views is None or weight > 1.1 * views.best.weight
        # Guesses differ from view to view, and looking closer at them tells nothing.
        due = face.confidence >= SURE and timed.index % _SAMPLE_EVERY == 0
        if not better and not due:
            return
        five = five_landmarks(face.landmarks)
        # No more of the frame becomes RGB than the crop shows.
        seen = face_region(timed, umeyama(five, ARCFACE_LANDMARKS), EMBEDDING_SIDE)
        crop = cut_embedding_crop(seen, five)
        view = _View(crop, round(weight, 4), timed.index)
        views = self._views.setdefault(face.track, _Views(track, view))
        if better:
            views.best = view
        if due:
            views.samples.append(view)

    def embed(self) -> list[TrackEmbedding]:
        """Embeds what was collected of each track; where it changed a part begins."""
        found, crowded = list[TrackEmbedding](), len(self._views) > 1
        for views in self._views.values():
            found += self._embed_track(views, crowded=crowded)
        self.clear()
        return found

    def _embed_track(self, views: _Views, *, crowded: bool) -> list[TrackEmbedding]:
        track = views.track
        vectors = [self._embed(views.best.crop)]
        # Among several people the best view may be of before they met.
        if crowded and views.samples:
            vectors.append(self._embed(views.samples[-1].crop))
        known = [np.array(track.identity, np.float32)] if track.identity else []
        stack = np.stack([*known, *vectors])
        if (stack @ stack.T).min() < _DOUBTFUL and len(views.samples) > 1:
            cut = self._find_change(known, views.samples)
            if cut is not None:
                return _begin_part(track, views.samples, *cut)
        return [_note(track, -1, views.best.weight, vectors[0])]

    def _find_change(
        self, known: list[Embedding], samples: list[_View]
    ) -> tuple[int, Float32[np.ndarray, "n 128"]] | None:
        """From which sample on the face is another's, and all samples' embeddings."""
        vectors = np.stack([self._embed(sample.crop) for sample in samples])
        first = 0 if known else 1
        gains = []
        for at in range(first, len(samples)):
            left = mean_embedding(np.stack([*known, *vectors[:at]]))
            right = mean_embedding(vectors[at:])
            gain = float((vectors[:at] @ left).sum() + (vectors[at:] @ right).sum())
            gains.append((gain, at, float(left @ right)))
        _, at, alike = max(gains)
        return (at, vectors) if alike < SAME_PERSON else None


def _begin_part(
    track: RunningTrack,
    samples: list[_View],
    at: int,
    vectors: Float32[np.ndarray, "n 128"],
) -> list[TrackEmbedding]:
    notes = []
    if at:
        weight = max(sample.weight for sample in samples[:at])
        notes.append(_note(track, -1, weight, mean_embedding(vectors[:at])))
    before = samples[at - 1].frame + 1 if at else samples[at].frame
    begins = (before + samples[at].frame + 1) // 2
    track.part, track.identity = track.part + 1, []
    weight = max(sample.weight for sample in samples[at:])
    notes.append(_note(track, begins, weight, mean_embedding(vectors[at:])))
    return notes


def _note(
    track: RunningTrack, begins: int, weight: float, vector: Embedding
) -> TrackEmbedding:
    """A view of the track's part, which takes it into its mean."""
    vector = np.round(vector, _DECIMALS)
    known = np.array(track.identity or np.zeros_like(vector))
    mean = mean_embedding((3 * known + vector)[None].astype(np.float32))
    track.identity = [round(float(value), _DECIMALS) for value in mean]
    return TrackEmbedding(track.number, track.part, begins, weight, vector)


def _weigh(timed: TimedFrame, face: FoundFace) -> float:
    """How good a view of a face is: large, sure, and looking into the camera."""
    pose = estimate_pose(face.landmarks)
    yaw, pitch = np.radians([pose.yaw, pose.pitch])
    facing = max(0.05, float(np.cos(yaw) * np.cos(pitch)))
    size = min(1.0, float(face.box[2]) / 80) * (0.1 if timed.damaged else 1.0)
    return face.score * (0.1 + face.confidence) * facing**2 * size
