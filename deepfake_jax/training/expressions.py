"""Expressions that footage does not show: faces whose features are moved a little.

A decoder draws what its person did. Where A opens the mouth further than B ever did,
puts it to one side or blinks, B's decoder has seen nothing like it. So mouths, jaws,
lids and brows of training faces are moved, in what the network sees and in what it is
to draw alike: it learns to read such places, and to draw B's features there.

A moved face is the face resampled: its pixel p comes from p + d(p). The field d is a
sum of moves, each a polynomial and a ramp in the smooth window of an ellipse; ramps
open or close what lies between two lines, as lids and lips are. Moves are numbers,
drawn on the host and applied wherever pairs are cut; places are in the face's pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

MOVES = 8  # the mouth, the jaw, both eyes' lids, both brows, both irises
# Of a move: the window's middle, two, and radii, two; the line where its ramp begins
# and the ramp's length; across: by how much, and in proportion to the place in the
# window; down: by how much, in proportion, to the square, and along the ramp.
NUMBERS = 12
_AMOUNTS = slice(6, 12)
_MOUTH, _JAW, _BROWS = 0, 1, (4, 5)
_EYES = ((2, 6, slice(36, 42)), (3, 7, slice(42, 48)))  # lids, iris, landmarks
_INNER_LIPS = slice(61, 64), slice(65, 68)  # landmarks of the upper, of the lower one
_LEAST_GAP = 2.0  # pixels between lips that count as open
_INVERSIONS = 6
_COARSE = 4  # pixels between those by which a window is found
_NEARLY = 1.3  # squared radius of what is taken for it, as pixels between count, too

_Some = Callable[[float], Bool[np.ndarray, "n"]]
_Moves = Float64[np.ndarray, "n 8 12"]
_Landmarks68 = Float64[np.ndarray, "n 68 2"]


def draw_expressions(
    rng: np.random.Generator, landmarks: Float64[np.ndarray, "n 68 2"], *, share: float
) -> Float32[np.ndarray, "n 8 12"]:
    """Draws how the features of n faces are moved.

    Amounts are normal, but for lids, which a third of the faces closes by more or less.
    Most of the moved faces have more than one feature moved.

    Args:
        rng: source of randomness.
        landmarks: of the faces, in their pixels.
        share: of the faces whose features are moved.
    """
    n = len(landmarks)
    here = rng.random(n) < share

    def some(chance: float) -> Bool[np.ndarray, "n"]:
        return here & (rng.random(n) < chance)

    moves = np.zeros((n, MOVES, NUMBERS))
    moves[:, :, 2:4] = moves[:, :, 5] = 1  # nothing is divided by zero
    _draw_mouth(rng, moves, landmarks, some)
    _draw_eyes(rng, moves, landmarks, some)
    _draw_brows(rng, moves, landmarks, some)
    return moves.astype(np.float32)


def _draw_mouth(
    rng: np.random.Generator, moves: _Moves, landmarks: _Landmarks68, some: _Some
) -> None:
    n = len(moves)
    apart = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=1)
    width = np.linalg.norm(landmarks[:, 54] - landmarks[:, 48], axis=1) / 2
    width = np.maximum(width, 0.2 * apart)
    middle = landmarks[:, 48:].mean(axis=1)
    # To a side, wider, up and down, slanted, corners up and down.
    spread = np.array([0.14, 0.2, 0.06, 0.16, 0.3])
    amounts = width[:, None] * spread * rng.standard_normal((n, 5))
    moves[:, _MOUTH, :2] = middle
    moves[:, _MOUTH, 2:4] = width[:, None] * [2.0, 1.7]
    moves[:, _MOUTH, 6:11] = amounts * some(0.7)[:, None]
    # What is between open lips gets longer or shorter, and the chin goes with it.
    upper, lower = (landmarks[:, part, 1].mean(1) for part in _INNER_LIPS)
    gap = np.maximum(lower - upper, 0)
    longer = gap * (np.exp(rng.normal(0.15, 0.5, n)).clip(0.35, 2.2) - 1)
    longer = np.clip(longer, 1 - gap, 0.5 * width)
    longer *= some(0.6) & (gap > _LEAST_GAP)
    moves[:, _JAW, 0] = middle[:, 0]
    moves[:, _JAW, 1] = lower + 0.5 * width
    moves[:, _JAW, 2:4] = width[:, None] * [2.0, 2.2]
    moves[:, _JAW, 4], moves[:, _JAW, 5] = upper, np.maximum(gap + longer, 1)
    moves[:, _JAW, 11] = -longer


def _draw_eyes(
    rng: np.random.Generator, moves: _Moves, landmarks: _Landmarks68, some: _Some
) -> None:
    n, on = len(moves), some(0.6)
    closes = rng.random(n) < 0.35
    shut = np.where(closes, rng.uniform(0.2, 0.95, n), rng.normal(0, 0.12, n))
    # Both look the same way.
    look = np.array([0.12, 0.04]) * rng.standard_normal((n, 2)) * some(0.5)[:, None]
    for lids, iris, part in _EYES:
        eye = landmarks[:, part]
        upper, lower = eye[:, 1:3, 1].mean(1), eye[:, 4:6, 1].mean(1)
        gap = np.maximum(lower - upper, 1)
        width = np.linalg.norm(eye[:, 3] - eye[:, 0], axis=1)
        down = gap * (shut + rng.normal(0, 0.04, n)).clip(-0.4, 0.95) * on
        move = moves[:, iris]
        move[:, :2], move[:, 2] = eye.mean(axis=1), 0.55 * np.maximum(width, 1)
        move[:, 3] = np.maximum(gap, 0.25 * width) * 0.9
        move[:, [6, 8]] = width[:, None] * look
        move = moves[:, lids]
        move[:, :2], move[:, 2:4] = eye.mean(axis=1), np.maximum(width, 1)[:, None]
        # Above the upper lid all goes down, below the lower one nothing does.
        move[:, 4], move[:, 5] = upper + down, np.maximum(gap - down, 0.3)
        move[:, 8], move[:, 11] = -down, down


def _draw_brows(
    rng: np.random.Generator, moves: _Moves, landmarks: _Landmarks68, some: _Some
) -> None:
    n, on = len(moves), some(0.6)[:, None]
    both = rng.normal(0, 0.09, n)
    for place, first in zip(_BROWS, (17, 22), strict=True):
        brow = landmarks[:, first : first + 5]
        width = np.linalg.norm(brow[:, 4] - brow[:, 0], axis=1).clip(1)
        # Across, up and down, slanted.
        amounts = np.array([0.04, 0.03, 0.05]) * rng.standard_normal((n, 3))
        amounts[:, 1] += both
        move = moves[:, place]
        move[:, :2], move[:, 2:4] = brow.mean(axis=1), width[:, None] * [0.9, 0.55]
        move[:, [6, 8, 9]] = width[:, None] * amounts * on


def displace(x: Any, y: Any, move: Any) -> tuple[Any, Any]:
    """What one move adds to places: how much further right and down pixels come from.

    Args:
        x: of places, in the face's pixels; NumPy's or JAX's.
        y: likewise, of one shape with them.
        move: its 12 numbers; each may be an array that goes with the places.
    """
    u, v = (x - move[0]) / move[2], (y - move[1]) / move[3]
    window = (1 - u * u - v * v).clip(0) ** 2
    ramp = ((y - move[4]) / move[5]).clip(0, 1)
    across = move[6] + move[7] * u
    down = move[8] + (move[9] + move[10] * u) * u + move[11] * ramp
    return window * across, window * down


def moves_anything(moves: Float32[np.ndarray, "n 8 12"]) -> Bool[np.ndarray, "n"]:
    """Which faces have a feature moved."""
    return np.any(moves[:, :, _AMOUNTS] != 0, axis=(1, 2))


def move_places(
    places: Float32[np.ndarray, "2 k h w"], moves: Float32[np.ndarray, "8 12"]
) -> None:
    """Moves the places in a face that its pictures' pixels come from, where they lie.

    Args:
        places: x and y, smooth over each of k pictures.
        moves: of the face.
    """
    x, y = places
    coarse = x[:, ::_COARSE, ::_COARSE], y[:, ::_COARSE, ::_COARSE]
    total = np.zeros_like(places)
    for move in moves[moves[:, _AMOUNTS].any(axis=1)].tolist():
        rows, columns = _find_window(*coarse, move)
        found = displace(x[:, rows, columns], y[:, rows, columns], move)
        for axis in (0, 1):
            total[axis, :, rows, columns] += found[axis]
    places += total


def _find_window(
    x: Float32[np.ndarray, "k h w"], y: Float32[np.ndarray, "k h w"], move: list[float]
) -> tuple[slice, slice]:
    """The rows and columns that a window covers in any of k pictures.

    Args:
        x: the places of every fourth pixel.
        y: likewise.
        move: whose window.
    """
    u, v = (x - move[0]) / move[2], (y - move[1]) / move[3]
    inside = (u * u + v * v < _NEARLY).any(axis=0)
    found = [np.flatnonzero(np.any(part, axis=1)) for part in (inside, inside.T)]
    if not len(found[0]):
        return slice(0), slice(0)
    rows, columns = (
        slice(max(0, _COARSE * (int(part[0]) - 1)), _COARSE * (int(part[-1]) + 2))
        for part in found
    )
    return rows, columns


def move_landmarks(
    landmarks: Float64[np.ndarray, "n p 2"], moves: Float32[np.ndarray, "n 8 12"]
) -> Float64[np.ndarray, "n p 2"]:
    """Where the landmarks of faces lie when their features are moved.

    A pixel at p comes from p + d(p), so what was at q is now at p = q - d(p), found by
    repetition: within a third of a pixel in six rounds.
    """
    moved = landmarks.copy()
    (some,) = np.nonzero(moves_anything(moves))
    start, numbers = landmarks[some], np.moveaxis(moves[some], 0, -1)[..., None]
    places = start
    for _ in range(_INVERSIONS):
        found = [displace(places[..., 0], places[..., 1], move) for move in numbers]
        # Half of the way: ramps are steep, and whole steps would go to and fro.
        places = (places + start - np.stack(np.sum(found, axis=0), axis=-1)) / 2
    moved[some] = places
    return moved
