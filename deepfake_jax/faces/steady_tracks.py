"""Faces over time: gaps filled, landmarks steadied without lag.

Boxes are (x, y, width, height) and landmarks (x, y), in the frame's pixels. A track is
one face followed through neighbouring frames; it ends at a scene cut.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.jitter_meter import JitterMeter
from deepfake_jax.imaging.affine import (
    apply_affine,
    invert_affine,
    round_hundredths,
    umeyama,
)
from deepfake_jax.imaging.align import frame_to_face_matrix
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.imaging.hand_mask import no_hands
from deepfake_jax.imaging.head_pose import Pose, estimate_pose
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import windows
from deepfake_jax.types import Affine, Hands, Landmarks

SURE = 0.5  # confidence from which landmarks are taken for right
MAX_GAP = 6  # frames; a face lost for longer begins a new track
RADIUS = 8  # frames to each side that may steady one
_SIGMA = 3.5  # frames
# How far a pair's middle may be from the point itself: the noise of the landmarks is
# one to two pixels of the face picture, and fast motion soon exceeds ten. With 2.5 a
# face of noise 1.8 kept 0.54 of its jitter, because its noise was taken for motion.
_TOLERANCE = 4.0  # pixels of the face picture
# The second pass compares the pairs with what the first one gave, which has less noise
# than the point itself: a singer's jitter falls to 0.37 instead of 0.44. A tolerance of
# 6 does as well, but drags where motion begins, by 1 pixel and not by 0.02.
_PASSES = 2

# Corners of the crop that the network sees: what jitters on the screen.
_EDGE = COVERAGE * FACE_SIZE / 2
_ANCHORS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * _EDGE + (FACE_SIZE - 1) / 2


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of one frame, as found.

    Attributes:
        track: number of its track.
        box: x, y, width, height.
        score: the detector's, of this frame or the last that it looked at.
        landmarks: 68 or 5.
        confidence: of the landmarks, in [0, 1].
    """

    track: int
    box: Float64[np.ndarray, "4"]
    score: float
    landmarks: Landmarks
    confidence: float


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """What was found in one frame.

    Attributes:
        index: of the frame in its source.
        time: seconds.
        cut: whether a new scene begins here.
        faces: what was found.
        hands: those near the faces, see `imaging.hand_mask`.
    """

    index: int
    time: float
    cut: bool
    faces: tuple[FoundFace, ...]
    hands: Hands = field(default_factory=no_hands)


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face of one frame, steadied over its track.

    Attributes:
        track: number of its track.
        box: as found, or between those of its neighbours.
        width: of the box as it is shown, in square pixels.
        score: of the detection; 0 in a gap.
        confidence: of the landmarks; in a gap the lower of those around it.
        landmarks: steadied.
        frame_to_face: steadied alignment.
        pose: of the steadied landmarks.
        filled: whether the face was not found here but before and after.
        hands: those near the faces of the frame, not steadied.
    """

    track: int
    box: Float64[np.ndarray, "4"]
    width: float
    score: float
    confidence: float
    landmarks: Landmarks
    frame_to_face: Affine
    pose: Pose
    filled: bool
    hands: Hands = field(default_factory=no_hands)


def box_overlap(first: Float64[Any, "4"], second: Float64[Any, "4"]) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    whole = float(np.prod(first[2:]) + np.prod(second[2:])) - shared
    return shared / whole if whole > 0 else 0.0


def steady_landmarks(
    window: Float[Any, "frames n 2"], tolerance: float, *, joint: bool = False
) -> Float64[np.ndarray, "n 2"]:
    """The middle frame's points, averaged with those of the frames around.

    Frames are taken in pairs, as far before as after, so that a face that moves evenly
    does not lag. A pair whose middle is not where the point itself is has seen motion
    that is not even, and counts the less the more it differs: fast turns pass as they
    are.

    Args:
        window: points of an odd number of frames; NaN where there are none.
        tolerance: difference, in the points' unit, at which a pair counts 0.6.
        joint: weigh all points of a frame by their common difference.

    Reference:
        Tomasi and Manduchi 1998, "Bilateral filtering for gray and color images":
        weights of distance in time and in value, here of symmetric pairs.
    """
    middle = len(window) // 2
    centre = np.asarray(window[middle], np.float64)
    pairs = (window[:middle][::-1] + window[middle + 1 :]) / 2
    gaps = np.flatnonzero(np.isnan(pairs).any(axis=(1, 2)))
    pairs = pairs[: gaps[0]] if len(gaps) else pairs
    distances = np.arange(1, len(pairs) + 1)[:, None, None]
    steady = centre
    for _ in range(_PASSES):
        off = np.sum((pairs - steady) ** 2, axis=2, keepdims=True)
        if joint:
            off = np.broadcast_to(off.mean(axis=1, keepdims=True), off.shape)
        weights = 2 * np.exp(-0.5 * ((distances / _SIGMA) ** 2 + off / tolerance**2))
        steady = (centre + np.sum(weights * pairs, axis=0)) / (1 + weights.sum(axis=0))
    return steady


@dataclass
class _Spot:
    """A face in the window of frames, with the corners of its crop."""

    face: FoundFace
    anchors: Float64[np.ndarray, "4 2"]
    filled: bool = False


_Spots = dict[int, _Spot]  # of one frame, by track


def steady_stream(
    frames: Iterable[tuple[TimedFrame, FrameFaces]],
    *,
    radius: int = RADIUS,
    meter: JitterMeter | None = None,
) -> Iterator[tuple[TimedFrame, FrameFaces, list[TrackedFace]]]:
    """Steadies the tracks of a stream, looking `radius` frames ahead; fills their gaps.

    If the stream raises, what was read is given first and the error after it.

    Args:
        frames: frames and what was found in them, of one source.
        radius: frames to each side; 0 leaves everything as it is.
        meter: takes in every face before and after.
    """
    spotted = _spot_faces(frames, fill=radius > 0)
    for position, (window, middle) in enumerate(windows(spotted, radius)):
        spots = [spots for _, _, spots in window]
        timed, found, here = window[middle]
        faces = []
        for track in sorted(here):
            face, raw, steady = _steady_spot(spots, middle, track, radius)
            face = replace(face, hands=found.hands) if len(found.hands) else face
            # Landmarks that are guesses tremble for reasons of their own.
            if meter is not None and face.confidence >= SURE:
                meter.add(track, position, raw, steady)
            faces.append(face)
        yield timed, found, faces


def _spot_faces(
    frames: Iterable[tuple[TimedFrame, FrameFaces]], *, fill: bool
) -> Iterator[tuple[TimedFrame, FrameFaces, _Spots]]:
    """Frames with their faces by track.

    A gap is filled in frames given before: whoever looks ahead by `RADIUS`, which is
    more than `MAX_GAP`, has not come to them yet.
    """
    recent: deque[_Spots] = deque(maxlen=MAX_GAP + 2)
    for timed, found in frames:
        recent.append({face.track: _make_spot(face) for face in found.faces})
        if fill:
            _fill_gaps(recent)
        yield timed, found, recent[-1]


def _steady_spot(
    spots: list[_Spots], middle: int, track: int, radius: int
) -> tuple[TrackedFace, np.ndarray, np.ndarray]:
    spot = spots[middle][track]
    around: list[_Spot | None] = []
    for at in range(middle - radius, middle + radius + 1):
        inside = 0 <= at < len(spots)
        around.append(spots[at].get(track) if inside else None)
    count = len(spot.face.landmarks)
    landmarks = np.full((len(around), count, 2), np.nan)
    anchors = np.full((len(around), 4, 2), np.nan)
    for row, other in enumerate(around):
        if other is not None and len(other.face.landmarks) == count:
            landmarks[row], anchors[row] = other.face.landmarks, other.anchors
    side = np.linalg.norm(spot.anchors[1] - spot.anchors[0])
    tolerance = _TOLERANCE * float(side) / (COVERAGE * FACE_SIZE)
    steady = steady_landmarks(anchors, tolerance, joint=True)
    shown = round_hundredths(steady_landmarks(landmarks, tolerance))  # as kept
    face = TrackedFace(
        track=track,
        box=spot.face.box,
        width=float(spot.face.box[2]),
        score=0.0 if spot.filled else spot.face.score,
        confidence=spot.face.confidence,
        landmarks=shown,
        frame_to_face=umeyama(steady, _ANCHORS),
        pose=estimate_pose(shown),
        filled=spot.filled,
    )
    return face, spot.anchors, steady


def _make_spot(face: FoundFace, *, filled: bool = False) -> _Spot:
    to_frame = invert_affine(frame_to_face_matrix(face.landmarks))
    return _Spot(face, apply_affine(to_frame, _ANCHORS), filled)


def _fill_gaps(recent: Sequence[_Spots]) -> None:
    """Puts faces between a track's newest and the one before, if that is near."""
    newest = recent[-1]
    for track, spot in newest.items():
        seen = [track in spots for spots in reversed(recent)]
        gap = seen.index(True, 1) - 1 if any(seen[1:]) else 0
        for step in range(1, gap + 1):
            before = recent[-2 - gap][track].face
            face = _between(before, spot.face, step / (gap + 1))
            recent[-2 - gap + step][track] = _make_spot(face, filled=True)


def _between(before: FoundFace, after: FoundFace, share: float) -> FoundFace:
    return FoundFace(
        track=before.track,
        box=round_hundredths((1 - share) * before.box + share * after.box),
        score=0.0,
        landmarks=(1 - share) * before.landmarks + share * after.landmarks,
        # As sure as the less sure of the two: between guesses there is no face.
        confidence=min(before.confidence, after.confidence),
    )
