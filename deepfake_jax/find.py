"""Frames in order to faces in tracks: detect, follow, find landmarks, embed.

A face that was found is followed from frame to frame by its landmarks, at a tenth of
the detector's cost; the detector looks again every few frames, wherever a face was lost
and after every cut. Boxes are (x, y, width, height) and landmarks (x, y), in the
frame's pixels, rounded to hundredths: what is recorded is what is worked with, so that
an interrupted run goes on exactly as it would have.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.detect import Detection, Searcher, search_sides
from deepfake_jax.identity import CropEmbedder, Embedding, cut_embedding_crop
from deepfake_jax.landmarks import (
    Landmarker,
    Shape,
    window_of_box,
    window_of_landmarks,
)
from deepfake_jax.meanface import five_points
from deepfake_jax.pose import estimate_pose
from deepfake_jax.region import Region, cut_region
from deepfake_jax.scene import Thumbnail, is_cut, make_thumbnail
from deepfake_jax.track import MAX_GAP, FoundFace, FrameFaces, box_overlap
from deepfake_jax.types import Face
from deepfake_jax.video import TimedFrame

# Detections below the user's threshold may go on with a track, never begin one.
LINK_SCORE = 0.4
DETECT_EVERY = 3  # frames, while every face is followed by its landmarks
FULL_EVERY = 6  # frames between searches at all sizes, while no face is found
EMBED_EVERY = 32  # frames between embeddings of a track
_WIDE_EVERY = 4  # detections between those at full width, for newcomers
_MANY_EMBEDDINGS = 4  # of a track, from where on only every fourth time is used
_BASE_SIDE = 640
_SIDES = (320, 384, 448, 512, 640, 960, 1280, 1920)
_FACE_AT_SEARCH = 36  # pixels; YuNet is sure of faces this wide
_FOLLOW_SCORE = 0.8  # landmark confidence that proves a face where none was detected
_GOOD_SCORE = 0.5  # landmark confidence below which another window is tried
_RETRY_EVERY = 5  # doubtful looks at a track between full fits
_LINK_OVERLAP = 0.3
_SAME_FACE = 0.4  # overlap from which two finds in one frame are one face
_UNSEEN_ROUNDS = 3  # detections that may miss a followed face before it is let go


@dataclass
class _Chain:
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
    chains: list[_Chain] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FinderState":
        """The state that `to_json` gave."""
        chains = [
            _Chain(**{**chain, "velocity": tuple(chain["velocity"])})
            for chain in values["chains"]
        ]
        return cls(**{**values, "chains": chains})


@dataclass(frozen=True, eq=False)
class _Candidate:
    """The best view of a track since the last embedding."""

    crop: Face
    weight: float
    frame: int


@dataclass(frozen=True)
class TrackEmbedding:
    """Who a track shows, seen at one frame; `weight` says how good the view was."""

    track: int
    frame: int
    weight: float
    vector: Embedding


class FaceFinder:
    """Finds and follows the faces of one source after another.

    Args:
        search: the detector, set to `LINK_SCORE` or below.
        landmark: the landmarks; None for the detector's five points.
        embed: what tells people apart; None where nobody asks.
        min_score: least score of a detection that begins a track.
        min_size: least width of a face's box, pixels.
        follow: whether landmarks prove that a face is there (a mesh's do).
    """

    def __init__(
        self,
        search: Searcher,
        landmark: Landmarker | None,
        embed: CropEmbedder | None,
        *,
        min_score: float,
        min_size: float,
        follow: bool = True,
    ):
        self.state = FinderState()
        self._search, self._landmark, self._embed = search, landmark, embed
        self._min_score, self._min_size = min_score, min_size
        self._follow = follow and landmark is not None
        self._thumbnail: Thumbnail | None = None
        self._candidates: dict[int, _Candidate] = {}

    def start_source(self) -> None:
        """Ends all tracks: what follows has nothing to do with what was before."""
        self._thumbnail = None
        self._candidates.clear()
        self.state = FinderState(next_track=self.state.next_track)

    def restore(self, state: FinderState, last: TimedFrame | None) -> None:
        """Goes on from a state; `last` is the frame that it was taken after."""
        self.state = state
        self._candidates.clear()
        self._thumbnail = None if last is None else make_thumbnail(last)

    def look(self, timed: TimedFrame) -> FrameFaces:
        """The faces of the next frame of a source."""
        thumbnail, state = make_thumbnail(timed), self.state
        cut = self._thumbnail is not None and is_cut(self._thumbnail, thumbnail)
        self._thumbnail = thumbnail
        if cut:
            state.chains.clear()
            state.since_full = FULL_EVERY
        detections, small = None, 0
        if self._must_detect():
            detections, small = self._detect(timed)
        taken: list[tuple[_Chain, Detection | None, Shape | None]] = []
        pairs = _link(state.chains, detections or [])
        for chain in state.chains:
            detection = pairs.get(id(chain))
            found = self._go_on(
                timed, chain, detection, searched=detections is not None
            )
            if found is not None:
                taken.append((chain, *found))
        taken, lost = _without_doubles(taken)
        # Or the two would take turns in showing one face.
        state.chains = [chain for chain in state.chains if id(chain) not in lost]
        used = {id(detection) for _, detection, _ in taken}
        for detection in detections or []:
            if id(detection) not in used and detection.score >= self._min_score:
                if all(_differs(detection, chain) for chain, _, _ in taken):
                    taken.append(self._begin(timed, detection))
        return self._settle(timed, taken, cut=cut, small=small)

    def flush(self) -> list[TrackEmbedding]:
        """Embeds the best view of each track since the last time."""
        state = self.state
        state.flushes += 1
        chains = {chain.track: chain for chain in state.chains}
        results = []
        for track, candidate in self._candidates.items():
            chain = chains.get(track)
            many = chain is not None and chain.embeddings >= _MANY_EMBEDDINGS
            if self._embed is None or (many and state.flushes % 4):
                continue
            if chain is not None:
                chain.embeddings += 1
            vector = self._embed(candidate.crop)
            weight = candidate.weight
            results.append(TrackEmbedding(track, candidate.frame, weight, vector))
        self._candidates.clear()
        return results

    def _must_detect(self) -> bool:
        state = self.state
        state.since_detect += 1
        chains = state.chains
        lost = any(chain.missing for chain in chains)
        due = state.since_detect >= DETECT_EVERY
        if self._follow and chains and not lost and not due:
            return False
        state.since_detect = 0
        return True

    def _detect(self, timed: TimedFrame) -> tuple[list[Detection], int]:
        """Detections large enough, and how many were not."""
        state = self.state
        state.rounds += 1
        sides = [_BASE_SIDE]
        if state.chains and state.rounds % _WIDE_EVERY:
            sides = [self._side_for(timed), _BASE_SIDE]
        state.since_full += 1
        if not state.chains and state.since_full >= FULL_EVERY:
            sides += [_SIDES[-1], 256]
            state.since_full = 0

        def sure(timed: TimedFrame, side: int) -> list[Detection]:
            found = self._search(timed, side)
            good = any(d.score >= self._min_score for d in found)
            return found if good or state.chains else []

        detections = search_sides(sure, timed, sides)
        large = [d for d in detections if d.box[2] >= self._min_size]
        small = [d for d in detections if d.box[2] < self._min_size]
        return large, sum(d.score >= self._min_score for d in small)

    def _side_for(self, timed: TimedFrame) -> int:
        """The least side at which the smallest face in sight is found safely."""
        width = min(chain.box[2] for chain in self.state.chains)
        wanted = _FACE_AT_SEARCH * max(timed.size) / max(width, 1.0)
        return next((side for side in _SIDES if side >= wanted), _SIDES[-1])

    def _go_on(
        self,
        timed: TimedFrame,
        chain: _Chain,
        detection: Detection | None,
        *,
        searched: bool,
    ) -> tuple[Detection | None, Shape | None] | None:
        """Where a track's face is in this frame; None if it is not seen."""
        if self._landmark is None or not self._follow:
            if detection is None:
                return None
            return detection, self._fit(timed, detection)
        expected = np.array(chain.landmarks) + chain.velocity
        if detection is not None:
            shift = detection.box[:2] + detection.box[2:] / 2
            shift = shift - _centre(np.array(chain.box))
            # Where box and motion disagree by much, the box has seen the frame.
            off = np.abs(shift - np.array(chain.velocity)).max()
            if off > 0.25 * chain.box[2]:
                expected = np.array(chain.landmarks) + shift
        region = _region_of(timed, expected)
        shape = self._landmark(region, window_of_landmarks(expected))
        if detection is not None:
            chain.unseen = 0
            # A face that the mesh does not know stays so for a while; asking it four
            # times in every frame would be most of the work of a crowd scene.
            if shape.score < _GOOD_SCORE:
                chain.doubts += 1
                if chain.doubts % _RETRY_EVERY == 1:
                    shape = self._fit(timed, detection)
            return detection, shape
        chain.unseen += searched
        moved = _box_of(chain, shape.points)
        kept = shape.score >= _FOLLOW_SCORE and chain.unseen <= _UNSEEN_ROUNDS
        kept = kept and box_overlap(moved, np.array(chain.box)) >= _LINK_OVERLAP
        return (None, shape) if kept else None

    def _fit(self, timed: TimedFrame, detection: Detection) -> Shape | None:
        """Landmarks of a face that only the detector has seen."""
        if self._landmark is None:
            return None
        box = detection.box
        margin = 0.75 * max(box[2], box[3])
        region = cut_region(
            timed, np.concatenate([box[:2] - margin, box[2:] + 2 * margin])
        )
        shape = self._landmark(region, window_of_box(box, detection.landmarks))
        if shape.score < _GOOD_SCORE:
            window = window_of_landmarks(detection.landmarks)
            other = self._landmark(region, window)
            shape = max(shape, other, key=lambda s: s.score)
        if not self._follow:
            return shape
        # The first window stands as the detector's rough points do; two looks more
        # bring the mesh within 1 px (of 256) of where it stays.
        for _ in range(2):
            again = self._landmark(region, window_of_landmarks(shape.points))
            if again.score < min(shape.score, _GOOD_SCORE):
                break
            shape = again
        return shape

    def _begin(
        self, timed: TimedFrame, detection: Detection
    ) -> tuple[_Chain, Detection, Shape | None]:
        chain = _Chain(self.state.next_track, detection.box.tolist(), 0.0, [])
        self.state.next_track += 1
        self.state.chains.append(chain)
        return chain, detection, self._fit(timed, detection)

    def _settle(
        self,
        timed: TimedFrame,
        taken: Sequence[tuple[_Chain, Detection | None, Shape | None]],
        *,
        cut: bool,
        small: int,
    ) -> FrameFaces:
        """Moves the tracks to where their faces are and drops those long lost."""
        state, faces = self.state, []
        seen = {id(chain) for chain, _, _ in taken}
        for chain in state.chains:
            chain.missing = 0 if id(chain) in seen else chain.missing + 1
        state.chains = [chain for chain in state.chains if chain.missing <= MAX_GAP]
        for chain, detection, shape in taken:
            face = _make_face(chain, detection, shape)
            _move(chain, face)
            faces.append(face)
            self._consider(timed, face)
        state.frames += 1
        return FrameFaces(timed.index, round(timed.time, 6), cut, small, tuple(faces))

    def _consider(self, timed: TimedFrame, face: FoundFace) -> None:
        """Keeps a face's picture for the next embedding if none was better."""
        if self._embed is None:
            return
        pose = estimate_pose(face.landmarks)
        facing = max(
            0.05, np.cos(np.radians(pose.yaw)) * np.cos(np.radians(pose.pitch))
        )
        size = min(1.0, face.box[2] / 80)
        weight = float(face.score * (0.1 + face.confidence) * facing**2 * size)
        best = self._candidates.get(face.track)
        # A little better is not worth another cut.
        if best is not None and weight <= 1.1 * best.weight:
            return
        points = face.landmarks
        five = five_points(points) if len(points) == 68 else points
        region = _region_of(timed, points)
        crop = cut_embedding_crop(region, five)
        self._candidates[face.track] = _Candidate(crop, round(weight, 4), timed.index)


def _link(
    chains: Sequence[_Chain], detections: Sequence[Detection]
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
        if overlap < _LINK_OVERLAP:
            break
        if id(chains[i]) not in pairs and j not in used:
            pairs[id(chains[i])] = detections[j]
            used.add(j)
    return pairs


def _without_doubles(
    taken: list[tuple[_Chain, Detection | None, Shape | None]],
) -> tuple[list[tuple[_Chain, Detection | None, Shape | None]], set[int]]:
    """Of two tracks that met on one face, the one that the detector saw, or older.

    Gives the tracks that stay, and the ids of those that end.
    """
    order = sorted(taken, key=lambda item: (item[1] is None, item[0].track))
    kept: list[tuple[_Chain, Detection | None, Shape | None]] = []
    for item in order:
        if not any(_are_one(item, other) for other in kept):
            kept.append(item)
    staying = {id(chain) for chain, _, _ in kept}
    lost = {id(chain) for chain, _, _ in taken} - staying
    return sorted(kept, key=lambda item: item[0].track), lost


def _are_one(
    first: tuple[_Chain, Detection | None, Shape | None],
    second: tuple[_Chain, Detection | None, Shape | None],
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
    item: tuple[_Chain, Detection | None, Shape | None],
) -> Float64[np.ndarray, "4"]:
    chain, detection, shape = item
    if detection is not None:
        return detection.box
    return np.array(chain.box) if shape is None else _box_of(chain, shape.points)


def _differs(detection: Detection, chain: _Chain) -> bool:
    return box_overlap(detection.box, np.array(chain.box)) < _SAME_FACE


def _make_face(
    chain: _Chain, detection: Detection | None, shape: Shape | None
) -> FoundFace:
    if detection is not None:
        box, score = detection.box, detection.score
    else:
        assert shape is not None, "a face is detected, or followed by its landmarks"
        box, score = _box_of(chain, shape.points), chain.score
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


def _move(chain: _Chain, face: FoundFace) -> None:
    before = np.array(chain.landmarks)
    shift = np.zeros(2)
    if len(before) and not chain.missing:
        shift = face.landmarks.mean(axis=0) - before.mean(axis=0)
    chain.velocity = (round(float(shift[0]), 3), round(float(shift[1]), 3))
    chain.box, chain.score = face.box.tolist(), face.score
    chain.landmarks = face.landmarks.tolist()


def _box_of(chain: _Chain, points: Float[Any, "n 2"]) -> Float64[np.ndarray, "4"]:
    """A track's box, moved and scaled as its landmarks were."""
    before, box = np.array(chain.landmarks), np.array(chain.box)
    scale = float(np.linalg.norm(points - points.mean(axis=0)))
    scale /= max(float(np.linalg.norm(before - before.mean(axis=0))), 1e-6)
    corner = points.mean(axis=0) + scale * (box[:2] - before.mean(axis=0))
    return np.concatenate([corner, scale * box[2:]])


def _centre(box: Float[Any, "4"]) -> Float64[np.ndarray, "2"]:
    return box[:2] + box[2:] / 2


def _region_of(timed: TimedFrame, points: Float[Any, "n 2"]) -> Region:
    """The part of a frame that a window around landmarks can reach."""
    low, high = points.min(axis=0), points.max(axis=0)
    # Five points span less than half of what 68 do.
    margin = (0.75 if len(points) == 68 else 1.8) * float((high - low).max())
    return cut_region(timed, np.concatenate([low - margin, high - low + 2 * margin]))
