"""Hands near faces: found by their palms, then followed by their landmarks.

Hands are points in the frame's pixels, see `imaging.hand_mask`. Palms are looked for
every few frames and only around faces; a hand once found is followed in every frame,
also where its palm is hidden or out of the picture.

Reference:
    Zhang et al. 2020, "MediaPipe Hands: on-device real-time hand tracking": both
    networks, the windows that they look at, and going on from a hand's own landmarks.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.litert_networks import load_litert
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.affine import (
    apply_affine,
    invert_affine,
    round_hundredths,
    similarity,
)
from deepfake_jax.imaging.hand_mask import no_hands
from deepfake_jax.imaging.region import warp_region
from deepfake_jax.media.frame_parts import face_region
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.types import Affine, Hands

POINTS = 21
MOST_HANDS = 2  # in a frame
Hand = Float64[np.ndarray, "21 2"]
Box = Float64[np.ndarray, "4"]

_LOOK_EVERY = 3  # frames between two looks for palms
_LEAST_WINDOW = 72.0  # pixels, of a face of 32; below it fingers have no pixel each
_MOST_FACES = 2  # around which palms are looked for: the largest
_PALM_SCORE = 0.5
# Landmarks' own sureness that there is a hand, to begin and to go on. Where palms were
# found in faces and necks it was up to 0.82 (once, of 60), of hands mostly 0.9 to 1.
_BEGIN, _GO_ON = 0.9, 0.6
# Windows for palms, one look each in turns: sides over a face's, and how far below the
# face's middle they stand. A large hand is found in the narrow one, others in the wide.
_AROUND = ((2.2, 0.0), (3.5, 0.3))
_PALM_SIDE, _HAND_SIDE = 192, 224  # pixels; what the networks take
# Windows around hands: sides over the palm's box or the landmarks', and how far, in
# these, they stand towards the fingers.
_PALM_MARGIN, _PALM_SHIFT = 2.6, 0.5
_HAND_MARGIN, _HAND_SHIFT = 2.0, 0.1
# Joints that tell where a hand is: its fingers' ends would make the window jump.
_STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_SAME = 0.35  # of a hand's size, within which two are one

_log = logging.getLogger("deepfake_jax")
_Net = Callable[[np.ndarray], dict[int, np.ndarray]]


class _Window(NamedTuple):
    """A square that a network looks at.

    Attributes:
        middle: in the frame's pixels.
        side: likewise.
        angle: radians by which the hand is turned clockwise from upright.
    """

    middle: Float64[np.ndarray, "2"]
    side: float
    angle: float


class HandTracker:
    """Follows the hands of one frame after another.

    Args:
        palms: the palm detector.
        landmarks: the hand's landmarks.
        every: frames between two looks for palms; with 1 each looks everywhere.
    """

    def __init__(self, palms: _Net, landmarks: _Net, *, every: int = _LOOK_EVERY):
        self._palms, self._landmarks, self._every = palms, landmarks, every
        self._anchors = _make_anchors()

    def find(
        self, timed: TimedFrame, faces: Sequence[Box], before: Hands, frame: int
    ) -> Hands:
        """The hands near the faces of a frame.

        Args:
            timed: the frame.
            faces: the faces' boxes.
            before: the hands of the frame before; none after a cut.
            frame: how many were looked at before.
        """
        hands: list[Hand] = []
        looks, now = divmod(frame, self._every)
        windows = [[_face_window(face, *each) for face in faces] for each in _AROUND]
        for hand in before:
            if any(_is_near(hand, window) for window in windows[-1]):
                self._add(hands, timed, _hand_window(hand), _GO_ON)
        turns = windows if self._every == 1 else [windows[looks % len(windows)]]
        for around in turns if now == 0 else []:
            for window in sorted(around, key=lambda window: -window.side)[:_MOST_FACES]:
                if window.side >= _LEAST_WINDOW and len(hands) < MOST_HANDS:
                    for palm in self._find_palms(timed, window):
                        if not any(_holds(hand, palm) for hand in hands):
                            self._add(hands, timed, palm, _BEGIN, faces)
        return np.stack(hands[:MOST_HANDS]) if hands else no_hands()

    def _add(
        self,
        hands: list[Hand],
        timed: TimedFrame,
        window: _Window,
        least: float,
        faces: Sequence[Box] = (),
    ) -> None:
        """Adds the hand that a window shows, if there is one and it is a new one.

        A hand whose wrist lies in one of the faces is none: it comes from outside.
        """
        found = self._look(timed, window, _HAND_SIDE, self._landmarks)
        points, matrix = found[3 * POINTS].reshape(POINTS, 3)[:, :2], _to_window(window)
        if float(found[1][0]) < least:
            return
        hand = apply_affine(invert_affine(matrix(_HAND_SIDE)), points - 0.5)
        if any((np.abs(hand[0] - f[:2] - f[2:] / 2) < f[2:] / 2).all() for f in faces):
            return
        if not any(_are_one(hand, other) for other in hands):
            hands.append(round_hundredths(hand))

    def _find_palms(self, timed: TimedFrame, window: _Window) -> list[_Window]:
        """Windows around the hands whose palms are seen, the surest first."""
        found = self._look(timed, window, _PALM_SIDE, self._palms)
        scores = found[len(self._anchors)]
        surest = np.flatnonzero(scores > np.log(_PALM_SCORE / (1 - _PALM_SCORE)))
        surest = surest[np.argsort(-scores[surest], kind="stable")]
        places = found[18 * len(self._anchors)].reshape(-1, 9, 2)[surest].astype(float)
        middles = places[:, 0] + self._anchors[surest]
        sizes = places[:, 1].max(axis=1)
        to_frame = invert_affine(_to_window(window)(_PALM_SIDE))
        palms: list[_Window] = []
        kept: list[tuple[np.ndarray, float]] = []
        for middle, size, place, anchor in zip(
            middles, sizes, places, self._anchors[surest], strict=True
        ):
            if any(np.abs(middle - m).max() < max(size, s) / 2 for m, s in kept):
                continue
            kept.append((middle, size))
            wrist, knuckle = apply_affine(to_frame, place[[2, 4]] + anchor - 0.5)
            up = _direction(knuckle - wrist)
            side = size / _PALM_SIDE * window.side
            at = apply_affine(to_frame, middle[None] - 0.5)[0]
            at = at + _PALM_SHIFT * side * up
            palms.append(_Window(at, _PALM_MARGIN * side, _turn(up)))
        return palms[:MOST_HANDS]

    @staticmethod
    def _look(
        timed: TimedFrame, window: _Window, side: int, network: _Net
    ) -> dict[int, np.ndarray]:
        matrix = _to_window(window)(side)
        return network(warp_region(face_region(timed, matrix, side), matrix, side))


def make_hand_tracker(*, film: bool, watch: Stopwatch) -> HandTracker | None:
    """Loads the networks; None, and a line that says so, where they cannot be had.

    Args:
        film: whether frames are neighbours in time, so that hands can be followed.
        watch: takes in the networks' time.
    """
    try:
        nets = [
            load_litert(get_weights(name).read_bytes()) for name in ("palm", "hand")
        ]
    except (AssetError, ImportError) as error:
        _log.warning("hands before faces are not looked for: %s", error)
        return None
    palms, landmarks = (watch.wrap("hands", net) for net in nets)
    return HandTracker(palms, landmarks, every=_LOOK_EVERY if film else 1)


def _to_window(window: _Window) -> Callable[[int], Affine]:
    """The matrix from the frame to a window of so many pixels a side."""

    def matrix(side: int) -> Affine:
        to = ((side - 1) / 2,) * 2
        scale, middle = side / window.side, window.middle
        return similarity(scale, angle=-window.angle, about=middle, to=to)

    return matrix


def _face_window(face: Box, ratio: float, below: float) -> _Window:
    side = float(max(face[2:]))
    middle = face[:2] + face[2:] / 2 + [0, below * side]
    return _Window(middle, ratio * side, 0.0)


def _is_near(hand: Hand, window: _Window) -> bool:
    """Whether any of a hand lies in a window."""
    off = np.abs(hand - window.middle).max(axis=1)
    return bool((off < window.side / 2).any())


def _hand_window(hand: Hand) -> _Window:
    """Where a hand is looked for that was there a frame before."""
    fingers = ((hand[6] + hand[14]) / 2 + hand[10]) / 2
    up = _direction(fingers - hand[0])
    across = np.array([-up[1], up[0]])
    along = hand[_STEADY] @ np.stack([across, up], axis=1)
    low, high = along.min(axis=0), along.max(axis=0)
    (x, y), size = (low + high) / 2, high - low
    middle = x * across + (y + _HAND_SHIFT * size[1]) * up
    return _Window(middle, _HAND_MARGIN * float(max(size.max(), 4.0)), _turn(up))


def _holds(hand: Hand, palm: _Window) -> bool:
    """Whether a hand that is followed lies where a palm was found."""
    off = float(np.linalg.norm(hand.mean(axis=0) - palm.middle))
    return off < _SAME * float(np.ptp(hand, axis=0).max())


def _are_one(hand: Hand, other: Hand) -> bool:
    size = float(np.ptp(other, axis=0).max())
    return float(np.linalg.norm(hand - other, axis=1).mean()) < _SAME * size


def _direction(way: Float64[np.ndarray, "2"]) -> Float64[np.ndarray, "2"]:
    return way / max(float(np.linalg.norm(way)), 1e-6)


def _turn(up: Float64[np.ndarray, "2"]) -> float:
    """By how much a direction is turned clockwise from the picture's own up."""
    return float(np.arctan2(up[0], -up[1]))


def _make_anchors() -> Float[Any, "2016 2"]:
    """Middles of the cells that the palm detector speaks of, in its pixels."""
    rows = []
    for cells, each in ((24, 2), (12, 6)):
        line = (np.arange(cells) + 0.5) * (_PALM_SIDE / cells)
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        rows.append(np.repeat(grid, each, axis=0))
    return np.concatenate(rows)
