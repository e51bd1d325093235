"""Tracks that are still running: their state, and which of a frame's faces is whose.

Boxes are (x, y, width, height) and landmarks (x, y), in the frame's pixels. What a
running track holds is plain values, which JSON can keep.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.hands import HandState
from deepfake_jax.faces.landmark_networks import Shape
from deepfake_jax.faces.steady_tracks import FoundFace, box_overlap
from deepfake_jax.imaging.affine import round_hundredths
from deepfake_jax.imaging.align import complete_landmarks
from deepfake_jax.imaging.region import Detection

FULL_EVERY = 6  # frames between searches at all sizes, while no face is found
LINK_OVERLAP = 0.3
# Widths of a box that the middle of its landmarks may be off. Measured: 0.06 to 0.13 of
# faces turned by up to 45 degrees, 0.23 in profile, 0.26 to 0.76 of slipped ones.
_STRAY = 0.25
_SAME_FACE = 0.4  # overlap from which two finds in one frame are one face


@dataclass
class RunningTrack:
    """A track that is still running.

    Where its face becomes another person's a new part begins, whose `identity` is the
    mean of its embeddings.
    """

    number: int
    box: list[float]
    score: float
    landmarks: list[list[float]]
    confidence: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)
    missing: int = 0
    unseen: int = 0
    doubts: int = 0
    part: int = 0
    identity: list[float] = field(default_factory=list)


@dataclass
class FinderState:
    """All that the next frames depend on, but the last thumbnail; JSON can hold it."""

    next_track: int = 0
    frames: int = 0
    flushes: int = 0
    since_detect: int = 0
    since_full: int = FULL_EVERY
    rounds: int = 0
    tracks: list[RunningTrack] = field(default_factory=list)
    hands: HandState = field(default_factory=HandState)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FinderState":
        """The state that `to_json` gave."""
        tracks = [
            RunningTrack(**{**track, "velocity": tuple(track["velocity"])})
            for track in values["tracks"]
        ]
        hands = HandState(**values["hands"])
        return cls(**{**values, "tracks": tracks, "hands": hands})


# A track, and the detection (if any) and landmarks of its face in the frame at hand.
Taken = tuple[RunningTrack, Detection | None, Shape]


def link_tracks(
    tracks: Sequence[RunningTrack], detections: Sequence[Detection]
) -> dict[int, Detection]:
    """The detection of each track by its number, best overlaps first, each once."""
    overlaps = sorted(
        (
            (box_overlap(np.array(track.box), detection.box), i, j)
            for i, track in enumerate(tracks)
            for j, detection in enumerate(detections)
        ),
        key=lambda triple: (-triple[0], triple[1], triple[2]),
    )
    pairs: dict[int, Detection] = {}
    used: set[int] = set()
    for overlap, i, j in overlaps:
        if overlap < LINK_OVERLAP:
            break
        if tracks[i].number not in pairs and j not in used:
            pairs[tracks[i].number] = detections[j]
            used.add(j)
    return pairs


def strays(shape: Shape, detection: Detection) -> bool:
    """Whether landmarks are not of the face that was detected but of one beside it."""
    landmarks, box = shape.landmarks, detection.box
    middle = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2
    off = float(np.linalg.norm(middle - (box[:2] + box[2:] / 2)))
    return off > _STRAY * float(box[2])


def guess_shape(detection: Detection) -> Shape:
    """The mean face where a detection has its five landmarks, with no confidence."""
    return Shape(landmarks=complete_landmarks(detection.landmarks), score=0.0)


def part_doubles(taken: list[Taken]) -> tuple[list[Taken], set[int]]:
    """Of two tracks that met on one face, the one that the detector saw, or older.

    Gives the tracks that stay, and the numbers of those that end.
    """
    order = sorted(taken, key=lambda item: (item[1] is None, item[0].number))
    kept: list[Taken] = []
    for item in order:
        if not any(_are_one(item, other) for other in kept):
            kept.append(item)
    staying = {track.number for track, _, _ in kept}
    lost = {track.number for track, _, _ in taken} - staying
    return sorted(kept, key=lambda item: item[0].number), lost


def _are_one(first: Taken, second: Taken) -> bool:
    boxes = _box_now(first), _box_now(second)
    if box_overlap(*boxes) >= _SAME_FACE:
        return True
    # A mesh can slip from its own box onto the face beside it.
    apart = first[2].landmarks.mean(axis=0) - second[2].landmarks.mean(axis=0)
    least = float(min(boxes[0][2], boxes[1][2]))
    return float(np.linalg.norm(apart)) < 0.3 * least


def _box_now(item: Taken) -> Float64[np.ndarray, "4"]:
    track, detection, shape = item
    if detection is not None:
        return detection.box
    return moved_box(track, shape.landmarks)


def drop_doubles(detections: Sequence[Detection]) -> list[Detection]:
    """Of detections of one face, as those after different turns, the surest."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if all(box_overlap(detection.box, d.box) < _SAME_FACE for d in kept):
            kept.append(detection)
    return kept


def differs(detection: Detection, track: RunningTrack) -> bool:
    """Whether a detection is of another face than a track's."""
    return box_overlap(detection.box, np.array(track.box)) < _SAME_FACE


def make_face(
    track: RunningTrack, detection: Detection | None, shape: Shape
) -> FoundFace:
    """A track's face of this frame, its numbers rounded as they are recorded."""
    if detection is not None:
        box, score = detection.box, detection.score
    else:
        box, score = moved_box(track, shape.landmarks), track.score
    return FoundFace(
        track=track.number,
        box=round_hundredths(box),
        score=round(float(score), 3),
        landmarks=round_hundredths(shape.landmarks),
        confidence=round(shape.score, 3),
    )


def move_track(track: RunningTrack, face: FoundFace) -> None:
    """Puts a track where its face is now, and notes how far that was to go."""
    before = np.array(track.landmarks)
    shift = np.zeros(2)
    if len(before) and not track.missing:
        shift = face.landmarks.mean(axis=0) - before.mean(axis=0)
    track.velocity = (round(float(shift[0]), 3), round(float(shift[1]), 3))
    track.box, track.score = face.box.tolist(), face.score
    track.confidence = face.confidence
    track.landmarks = face.landmarks.tolist()


def moved_box(
    track: RunningTrack, landmarks: Float[Any, "n 2"]
) -> Float64[np.ndarray, "4"]:
    """A track's box, moved and scaled as its landmarks were."""
    before, box = np.array(track.landmarks), np.array(track.box)
    scale = float(np.linalg.norm(landmarks - landmarks.mean(axis=0)))
    scale /= max(float(np.linalg.norm(before - before.mean(axis=0))), 1e-6)
    corner = landmarks.mean(axis=0) + scale * (box[:2] - before.mean(axis=0))
    return np.concatenate([corner, scale * box[2:]])
