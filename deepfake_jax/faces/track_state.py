"""Tracks that are still running: their state, and which of a frame's faces is whose.

Boxes are (x, y, width, height) and landmarks (x, y), in the frame's pixels. A chain is
a track of which more may come; what it holds is plain values, which JSON can keep.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.detection import Detection
from deepfake_jax.faces.landmark_networks import Shape
from deepfake_jax.faces.steady_tracks import FoundFace, box_overlap
from deepfake_jax.imaging.affine import apply_affine, invert_affine, umeyama
from deepfake_jax.imaging.face_template import template_points

FULL_EVERY = 6  # frames between searches at all sizes, while no face is found
LINK_OVERLAP = 0.3
# Widths of a box that the middle of its landmarks may be off. Measured: 0.06 to 0.13 of
# faces turned by up to 45 degrees, 0.23 in profile, 0.26 to 0.76 of slipped ones.
_STRAY = 0.25
_SAME_FACE = 0.4  # overlap from which two finds in one frame are one face


@dataclass
class Chain:
    """A track that is still running."""

    track: int
    box: list[float]
    score: float
    landmarks: list[list[float]]
    velocity: tuple[float, float] = (0.0, 0.0)
    missing: int = 0
    unseen: int = 0
    embeddings: int = 0
    doubts: int = 0


@dataclass
class FinderState:
    """All that the next frames depend on, but the last thumbnail; JSON can hold it."""

    next_track: int = 0
    frames: int = 0
    flushes: int = 0
    since_detect: int = 0
    since_full: int = FULL_EVERY
    rounds: int = 0
    chains: list[Chain] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FinderState":
        """The state that `to_json` gave."""
        chains = [
            Chain(**{**chain, "velocity": tuple(chain["velocity"])})
            for chain in values["chains"]
        ]
        return cls(**{**values, "chains": chains})


# A track, and the detection and landmarks of its face in the frame at hand.
Taken = tuple[Chain, Detection | None, Shape | None]


def link_chains(
    chains: Sequence[Chain], detections: Sequence[Detection]
) -> dict[int, Detection]:
    """The detection of each track, best overlaps first, each used once."""
    overlaps = sorted(
        (
            (box_overlap(np.array(chain.box), detection.box), i, j)
            for i, chain in enumerate(chains)
            for j, detection in enumerate(detections)
        ),
        key=lambda triple: (-triple[0], triple[1], triple[2]),
    )
    pairs: dict[int, Detection] = {}
    used: set[int] = set()
    for overlap, i, j in overlaps:
        if overlap < LINK_OVERLAP:
            break
        if id(chains[i]) not in pairs and j not in used:
            pairs[id(chains[i])] = detections[j]
            used.add(j)
    return pairs


def strays(shape: Shape, detection: Detection) -> bool:
    """Whether landmarks are not of the face that was detected but of one beside it."""
    points, box = shape.points, detection.box
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    off = float(np.linalg.norm(middle - (box[:2] + box[2:] / 2)))
    return off > _STRAY * float(box[2])


def guess_shape(detection: Detection) -> Shape:
    """The mean face where a detection has its five points, with no confidence."""
    five = template_points(count=5)
    to_frame = invert_affine(umeyama(detection.landmarks, five))
    return Shape(points=apply_affine(to_frame, template_points(count=68)), score=0.0)


def part_doubles(
    taken: list[Taken],
) -> tuple[list[Taken], set[int]]:
    """Of two tracks that met on one face, the one that the detector saw, or older.

    Gives the tracks that stay, and the ids of those that end.
    """
    order = sorted(taken, key=lambda item: (item[1] is None, item[0].track))
    kept: list[Taken] = []
    for item in order:
        if not any(_are_one(item, other) for other in kept):
            kept.append(item)
    staying = {id(chain) for chain, _, _ in kept}
    lost = {id(chain) for chain, _, _ in taken} - staying
    return sorted(kept, key=lambda item: item[0].track), lost


def _are_one(
    first: Taken,
    second: Taken,
) -> bool:
    boxes = _box_now(first), _box_now(second)
    if box_overlap(*boxes) >= _SAME_FACE:
        return True
    if first[2] is None or second[2] is None:
        return False
    # A mesh can slip from its own box onto the face beside it.
    apart = first[2].points.mean(axis=0) - second[2].points.mean(axis=0)
    least = float(min(boxes[0][2], boxes[1][2]))
    return float(np.linalg.norm(apart)) < 0.3 * least


def _box_now(
    item: Taken,
) -> Float64[np.ndarray, "4"]:
    chain, detection, shape = item
    if detection is not None:
        return detection.box
    return np.array(chain.box) if shape is None else moved_box(chain, shape.points)


def differs(detection: Detection, chain: Chain) -> bool:
    """Whether a detection is of another face than a track's."""
    return box_overlap(detection.box, np.array(chain.box)) < _SAME_FACE


def make_face(
    chain: Chain, detection: Detection | None, shape: Shape | None
) -> FoundFace:
    """A track's face of this frame, its numbers rounded as they are recorded."""
    if detection is not None:
        box, score = detection.box, detection.score
    else:
        assert shape is not None, "a face is detected, or followed by its landmarks"
        box, score = moved_box(chain, shape.points), chain.score
    points = detection.landmarks if detection is not None else np.zeros((0, 2))
    confidence = 1.0
    if shape is not None:
        points, confidence = shape.points, shape.score
    return FoundFace(
        track=chain.track,
        box=np.round(box, 2),
        score=round(float(score), 3),
        landmarks=np.round(points, 2),
        confidence=round(confidence, 3),
    )


def move_chain(chain: Chain, face: FoundFace) -> None:
    """Puts a track where its face is now, and notes how far that was to go."""
    before = np.array(chain.landmarks)
    shift = np.zeros(2)
    if len(before) and not chain.missing:
        shift = face.landmarks.mean(axis=0) - before.mean(axis=0)
    chain.velocity = (round(float(shift[0]), 3), round(float(shift[1]), 3))
    chain.box, chain.score = face.box.tolist(), face.score
    chain.landmarks = face.landmarks.tolist()


def moved_box(chain: Chain, points: Float[Any, "n 2"]) -> Float64[np.ndarray, "4"]:
    """A track's box, moved and scaled as its landmarks were."""
    before, box = np.array(chain.landmarks), np.array(chain.box)
    scale = float(np.linalg.norm(points - points.mean(axis=0)))
    scale /= max(float(np.linalg.norm(before - before.mean(axis=0))), 1e-6)
    corner = points.mean(axis=0) + scale * (box[:2] - before.mean(axis=0))
    return np.concatenate([corner, scale * box[2:]])
