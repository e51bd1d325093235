"""Frames in order to faces in tracks: detect, follow, find landmarks, embed.

A face that was found is followed from frame to frame by its landmarks, at a tenth of
the detector's cost; the detector looks again every few frames, wherever a face was lost
and after every cut. Boxes are (x, y, width, height) and landmarks (x, y), in the
frame's pixels, rounded to hundredths: what is recorded is what is worked with, so that
an interrupted run goes on exactly as it would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.detection import Detection, Searcher, search_sides
from deepfake_jax.faces.identity import CropEmbedder, Embedding, cut_embedding_crop
from deepfake_jax.faces.landmark_networks import (
    Landmarker,
    Shape,
    window_of_box,
    window_of_landmarks,
)
from deepfake_jax.faces.scene_cuts import Thumbnail, is_cut, make_thumbnail
from deepfake_jax.faces.steady_tracks import MAX_GAP, FoundFace, FrameFaces, box_overlap
from deepfake_jax.faces.track_state import (
    FULL_EVERY,
    LINK_OVERLAP,
    Chain,
    FinderState,
    Taken,
    differs,
    guess_shape,
    link_chains,
    make_face,
    move_chain,
    moved_box,
    part_doubles,
    strays,
)
from deepfake_jax.imaging.face_template import five_points
from deepfake_jax.imaging.head_pose import estimate_pose
from deepfake_jax.media.frame_parts import Region, cut_region
from deepfake_jax.media.video_reader import TimedFrame
from deepfake_jax.types import Face

# Detections below the user's threshold may go on with a track, never begin one.
LINK_SCORE = 0.4
DETECT_EVERY = 3  # frames, while every face is followed by its landmarks
EMBED_EVERY = 32  # frames between embeddings of a track
_WIDE_EVERY = 4  # detections between those at full width, for newcomers
_MANY_EMBEDDINGS = 4  # of a track, from where on only every fourth time is used
_BASE_SIDE = 640
_SIDES = (320, 384, 448, 512, 640, 960, 1280, 1920)
_FACE_AT_SEARCH = 36  # pixels; YuNet is sure of faces this wide
_FOLLOW_SCORE = 0.8  # landmark confidence that proves a face where none was detected
_GOOD_SCORE = 0.5  # landmark confidence below which another window is tried
_RETRY_EVERY = 5  # doubtful looks at a track between full fits
_UNSEEN_ROUNDS = 3  # detections that may miss a followed face before it is let go


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
        taken: list[Taken] = []
        pairs = link_chains(state.chains, detections or [])
        for chain in state.chains:
            detection = pairs.get(id(chain))
            found = self._go_on(
                timed, chain, detection, searched=detections is not None
            )
            if found is not None:
                taken.append((chain, *found))
        taken, lost = part_doubles(taken)
        # Or the two would take turns in showing one face. Where the detector has not
        # looked, one may have slipped off its own face and shall find back to it.
        if detections is not None:
            state.chains = [chain for chain in state.chains if id(chain) not in lost]
        used = {id(detection) for _, detection, _ in taken}
        for detection in detections or []:
            if id(detection) not in used and detection.score >= self._min_score:
                if all(differs(detection, chain) for chain, _, _ in taken):
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
        chain: Chain,
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
            astray = strays(shape, detection)
            if shape.score < _GOOD_SCORE or astray:
                chain.doubts += 1
                if chain.doubts % _RETRY_EVERY == 1:
                    shape = self._fit(timed, detection)
                elif astray:
                    shape = guess_shape(detection)
            return detection, shape
        chain.unseen += searched
        moved = moved_box(chain, shape.points)
        kept = shape.score >= _FOLLOW_SCORE and chain.unseen <= _UNSEEN_ROUNDS
        kept = kept and box_overlap(moved, np.array(chain.box)) >= LINK_OVERLAP
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
        if shape.score < _GOOD_SCORE or strays(shape, detection):
            window = window_of_landmarks(detection.landmarks)
            other = self._landmark(region, window)
            shape = max(shape, other, key=lambda s: (not strays(s, detection), s.score))
        if strays(shape, detection):
            return guess_shape(detection)
        if not self._follow:
            return shape
        # The first window stands as the detector's rough points do; two looks more
        # bring the mesh within 1 px (of 256) of where it stays.
        for _ in range(2):
            again = self._landmark(region, window_of_landmarks(shape.points))
            if again.score < min(shape.score, _GOOD_SCORE) or strays(again, detection):
                break
            shape = again
        return shape

    def _begin(
        self, timed: TimedFrame, detection: Detection
    ) -> tuple[Chain, Detection, Shape | None]:
        chain = Chain(self.state.next_track, detection.box.tolist(), 0.0, [])
        self.state.next_track += 1
        self.state.chains.append(chain)
        return chain, detection, self._fit(timed, detection)

    def _settle(
        self,
        timed: TimedFrame,
        taken: Sequence[Taken],
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
            face = make_face(chain, detection, shape)
            move_chain(chain, face)
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


def _centre(box: Float[Any, "4"]) -> Float64[np.ndarray, "2"]:
    return box[:2] + box[2:] / 2


def _region_of(timed: TimedFrame, points: Float[Any, "n 2"]) -> Region:
    """The part of a frame that a window around landmarks can reach."""
    low, high = points.min(axis=0), points.max(axis=0)
    # Five points span less than half of what 68 do.
    margin = (0.75 if len(points) == 68 else 1.8) * float((high - low).max())
    return cut_region(timed, np.concatenate([low - margin, high - low + 2 * margin]))
