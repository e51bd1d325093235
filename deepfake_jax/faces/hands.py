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
from dataclasses import dataclass, field
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

_LOOK_EVERY = 8  # frames between two looks for palms
_NEAR = 2.0  # side of the square around a face over the face's, that hands must reach
_LEAST_WINDOW = 72.0  # pixels, of a face of 32; below it fingers have no pixel each
_MOST_FACES = 2  # around which palms are looked for: the largest
_PALM_SCORE, _HOPE = 0.5, 0.4  # from which palms are looked at, now and soon again
_MOST_HOPES = 6  # looks one after the other
# Landmarks' own sureness that there is a hand, to begin and to go on. Where palms were
# found in faces and necks it was up to 0.84, of hands mostly 0.9 to 1.
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


@dataclass
class HandState:
    """All that the next frame's hands depend on; JSON can hold it.

    Attributes:
        hands: of the last frame.
        wait: frames until palms are looked for.
        hopes: looks in a row that all but found one.
        looks: for palms, so far.
    """

    hands: list[list[list[float]]] = field(default_factory=list)
    wait: int = 0
    hopes: int = 0
    looks: int = 0


class _Palm(NamedTuple):
    """A palm that was found.

    Attributes:
        score: in [0, 1].
        window: around its hand.
    """

    score: float
    window: _Window


class HandTracker:
    """Follows the hands of one frame after another.

    Args:
        palms: the palm detector.
        begin: landmarks that tell hands from what looks like them.
        go_on: quicker ones, which follow a hand.
        film: whether frames are neighbours in time; else each is looked at on its own.
    """

    def __init__(self, palms: _Net, begin: _Net, go_on: _Net, *, film: bool = True):
        self._palms, self._begin, self._go_on = palms, begin, go_on
        self._film, self._anchors = film, _make_anchors()

    def find(self, timed: TimedFrame, faces: Sequence[Box], state: HandState) -> Hands:
        """The hands near the faces of a frame.

        Args:
            timed: the frame.
            faces: the faces' boxes.
            state: after the frame before, a new one after a cut; it is changed.
        """
        due = not self._film or state.wait <= 0
        state.wait -= 1
        hands: list[Hand] = []
        for hand in [np.array(hand) for hand in state.hands if self._film]:
            if any(_is_near(hand, face) for face in faces):
                window = _hand_window(hand)
                found = self._see(timed, window, self._go_on, _GO_ON)
                if found is None:  # a fist, or fingers alone
                    found = self._see(timed, window, self._begin, _GO_ON)
                _add_new(hands, found)
        if due and len(hands) < MOST_HANDS:
            self._look_for_more(timed, faces, hands, state)
        state.hands = [hand.tolist() for hand in hands[:MOST_HANDS]]
        return np.stack(hands[:MOST_HANDS]) if hands else no_hands()

    def _look_for_more(
        self,
        timed: TimedFrame,
        faces: Sequence[Box],
        hands: list[Hand],
        state: HandState,
    ) -> None:
        """Looks for palms around the largest faces; says when to look again."""
        known, hope = len(hands), False
        turn = state.looks % len(_AROUND)
        state.looks += 1
        large = sorted(faces, key=lambda face: -max(face[2:]))[:_MOST_FACES]
        for ratio, below in [_AROUND[turn]] if self._film else _AROUND:
            for face in large:
                window = _face_window(face, ratio, below)
                if window.side < _LEAST_WINDOW:
                    continue
                palms = [
                    palm
                    for palm in self._find_palms(timed, window)
                    if _reaches(palm.window, face)
                    and not any(_holds(hand, palm.window) for hand in hands)
                ]
                hope |= bool(palms)
                for palm in [p for p in palms if p.score >= _PALM_SCORE]:
                    found = self._see(timed, palm.window, self._begin, _BEGIN)
                    if found is not None and not _starts_in(found, faces):
                        _add_new(hands, found)
        # Palms are often missed: what may be one is looked at again at once.
        state.hopes = state.hopes + 1 if hope and len(hands) == known else 0
        state.wait = 0 if 0 < state.hopes < _MOST_HOPES else _LOOK_EVERY - 1
        state.hopes %= _MOST_HOPES

    def _see(
        self, timed: TimedFrame, window: _Window, network: _Net, least: float
    ) -> Hand | None:
        """The hand that a window shows; None if the network is not as sure."""
        found = self._look(timed, window, _HAND_SIDE, network)
        if float(found[1][0]) < least:
            return None
        points = found[3 * POINTS].reshape(POINTS, 3)[:, :2] - 0.5
        to_frame = invert_affine(_to_window(window, _HAND_SIDE))
        return round_hundredths(apply_affine(to_frame, points))

    def _find_palms(self, timed: TimedFrame, window: _Window) -> list[_Palm]:
        """Palms that may be seen, the surest first."""
        found = self._look(timed, window, _PALM_SIDE, self._palms)
        scores = found[len(self._anchors)]
        scores = 1 / (1 + np.exp(-np.clip(scores, -50, 50)))
        surest = np.flatnonzero(scores > _HOPE)
        surest = surest[np.argsort(-scores[surest], kind="stable")]
        places = found[18 * len(self._anchors)].reshape(-1, 9, 2)[surest].astype(float)
        middles = places[:, 0] + self._anchors[surest]
        sizes = places[:, 1].max(axis=1)
        to_frame = invert_affine(_to_window(window, _PALM_SIDE))
        palms: list[_Palm] = []
        kept: list[tuple[np.ndarray, float]] = []
        anchors, scores = self._anchors[surest], scores[surest].tolist()
        for middle, size, place, anchor, score in zip(
            middles, sizes, places, anchors, scores, strict=True
        ):
            if any(np.abs(middle - m).max() < max(size, s) / 2 for m, s in kept):
                continue
            kept.append((middle, size))
            wrist, knuckle = apply_affine(to_frame, place[[2, 4]] + anchor - 0.5)
            up = _direction(knuckle - wrist)
            side = size / _PALM_SIDE * window.side
            at = apply_affine(to_frame, middle[None] - 0.5)[0]
            at = at + _PALM_SHIFT * side * up
            palms.append(_Palm(score, _Window(at, _PALM_MARGIN * side, _turn(up))))
        return palms[:MOST_HANDS]

    @staticmethod
    def _look(
        timed: TimedFrame, window: _Window, side: int, network: _Net
    ) -> dict[int, np.ndarray]:
        matrix = _to_window(window, side)
        return network(warp_region(face_region(timed, matrix, side), matrix, side))


def make_hand_tracker(*, film: bool, watch: Stopwatch) -> HandTracker | None:
    """Loads the networks; None, and a line that says so, where they cannot be had.

    Args:
        film: whether frames are neighbours in time, so that hands can be followed.
        watch: takes in the networks' time.
    """
    try:
        nets = [
            watch.wrap("hands", load_litert(get_weights(name).read_bytes()))
            for name in ("palm", "hand", "hand_lite")
        ]
    except (AssetError, ImportError) as error:
        _log.warning(
            "hands before faces are not looked for, as with --no-hands: %s", error
        )
        return None
    return HandTracker(*nets, film=film)


def _to_window(window: _Window, side: int) -> Affine:
    """The matrix from the frame to a window of so many pixels a side."""
    to, scale = ((side - 1) / 2,) * 2, side / window.side
    return similarity(scale, angle=-window.angle, about=window.middle, to=to)


def _face_window(face: Box, ratio: float, below: float) -> _Window:
    side = float(max(face[2:]))
    middle = face[:2] + face[2:] / 2 + [0, below * side]
    return _Window(middle, ratio * side, 0.0)


def _is_near(hand: Hand, face: Box) -> bool:
    """Whether any of a hand lies near a face."""
    off = np.abs(hand - face[:2] - face[2:] / 2).max(axis=1)
    return bool((off < _NEAR / 2 * max(face[2:])).any())


def _reaches(window: _Window, face: Box) -> bool:
    """Whether a window around a hand reaches to where hands are near a face."""
    off = np.abs(window.middle - face[:2] - face[2:] / 2).max()
    return bool(off < _NEAR / 2 * max(face[2:]) + window.side / 4)


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


def _starts_in(hand: Hand, faces: Sequence[Box]) -> bool:
    """Whether a wrist lies in a face: hands come from outside."""
    return any(
        bool((np.abs(hand[0] - face[:2] - face[2:] / 2) < face[2:] / 2).all())
        for face in faces
    )


def _add_new(hands: list[Hand], found: Hand | None) -> None:
    if found is not None and not any(_are_one(found, other) for other in hands):
        hands.append(found)


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
