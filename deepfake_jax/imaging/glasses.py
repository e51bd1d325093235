"""Glasses: which of a person's pictures show them, and where their frame lies in one.

A swap draws the other person's eyes, and would cut glasses off where its mask ends.
What is kept of them is the frame: around each eye a closed line that is brighter, or
darker, than what lies on both of its sides, a line from lens to lens, and one to each
temple. Lids, brows and folds of skin are such lines, too, but none of them runs all
around an eye at one distance. Distances are shares of that between the eyes' middles.

Reference:
    Amini et al. 1990, "Using dynamic programming for solving variational problems in
    vision", of finding the best line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from deepfake_jax.imaging.landmark_masks import check_landmarks
from deepfake_jax.types import Face, Landmarks, Mask

RAYS = 60  # directions from an eye's middle: from its temple on, downwards, all around
_NEAREST, _FARTHEST, _STEPS = 0.16, 0.66, 51  # of a rim from there, and in how many
_STEP = (_FARTHEST - _NEAREST) / (_STEPS - 1)
# An eye lies above its lens's middle: a rim is no nearer than this below it, where lids
# have folds, and no farther than that above it, where brows are.
_BELOW_FROM, _ABOVE_TO = 0.26, 0.36
# How far from a line its sides are looked at. Wide bright lines are cheeks'.
_BESIDE = (0.02, 0.035, 0.055, 0.085, 0.12)
_BRIGHT_TO = 0.055
# Below the eyes, where people without glasses have least. Levels by which rims stand
# out there, and how much more than other places do: 3.5 to 3.7 and 7 to 9 times of one
# man with thin bright rims, at most 1.5 and 5.5 of seven people without glasses.
_BELOW = slice(RAYS // 12, 5 * RAYS // 12 + 1)
_PLAIN, _DISTINCT = 2.3, 3.0
_ENOUGH = 8.0  # levels of one picture; more would outvote many without
_NEARLY = 0.75
_STRONGEST = 6.0  # multiples of what is usual at which a line counts no more
# Of a rim from where it usually lies, at which that costs so many levels, or its usual
# contrast: a head that turns has lenses of two widths.
_BEND, _HELD = 0.05, 3.0
# Shares of the usual contrast at which a frame's rim begins to show and is sure.
_FAINT, _SURE = 0.2, 0.45
_REACH, _STRAY = 0.6, 0.14  # of a temple's line, and how far up or down it may lie
_POINTS = 32  # of such a line
_STRAYING = 0.02  # levels that a pixel up or down costs
_BRIDGE = slice(RAYS // 2 + 3, RAYS // 2 + 8)  # of a rim, where the nose's line begins
_TEMPLE = slice(RAYS - 5, RAYS)  # likewise the temple's
_WIDTH, _MARGIN = 0.7, 0.015  # of a line, of `beside`; and of the mask on both sides
_SHIFT = 4  # binary digits of the points' fractions as OpenCV draws them
_LAPS = 2  # around a closed line, so that its end meets its beginning

_Grey = Float32[np.ndarray, "height width"]
Points = Float64[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Glasses:
    """A person's glasses, as they usually lie.

    Attributes:
        rims: how far a rim is from its eye's middle, in `RAYS` directions; both lenses
            are alike, mirrored.
        contrast: levels by which it is brighter than its sides; below 0 it is darker.
        beside: how far from its lines their sides show them plainly.
    """

    rims: tuple[float, ...]
    contrast: float
    beside: float


class _Eyes(NamedTuple):
    """Where both eyes are: middles, the axes of each, their distance in pixels."""

    middles: Float64[np.ndarray, "2 2"]
    outwards: Float64[np.ndarray, "2 2"]
    down: Float64[np.ndarray, "2"]
    apart: float


def find_glasses(
    faces: Sequence[Face], landmarks: Sequence[Landmarks]
) -> Glasses | None:
    """The glasses that a person wears in most pictures; None without any.

    Args:
        faces: of one person, uint8 RGB; a few dozen are enough.
        landmarks: 68 of each face, in its pixels.

    Raises:
        ValueError: landmarks are not 68.
    """
    if not faces:
        return None
    greys = [_grey(face) for face in faces]
    eyes = [_find_eyes(points) for points in landmarks]
    rays = [_cast_rays(grey, own) for grey, own in zip(greys, eyes, strict=True)]
    found: list[Glasses] = []
    for beside in _BESIDE:
        each = np.concatenate([_stand_out(own, beside) for own in rays])
        for sign in (-1, 1) if beside <= _BRIGHT_TO else (-1,):
            near = _widen(np.maximum(sign * each, 0))
            usually = np.minimum(near, _ENOUGH).mean(0)
            line = _follow((usually + _possible())[None], closed=True)[0]
            along = usually[np.arange(RAYS), line]
            weakest = float(np.percentile(along[_BELOW], 10))
            usual = float(np.median(usually[_BELOW]))
            if weakest < max(_PLAIN, _DISTINCT * usual):
                continue
            levels = near.mean(0)[np.arange(RAYS), line]
            contrast = sign * float(np.median(levels[_BELOW]))
            rims = np.round(_NEAREST + _STEP * line, 3).tolist()
            found.append(Glasses(tuple(rims), contrast, beside))
    if not found:
        return None
    # The nearest sides that see nearly all of it say how wide a line is.
    best = max(abs(glasses.contrast) for glasses in found)
    return next(glasses for glasses in found if abs(glasses.contrast) > _NEARLY * best)


def glasses_mask(
    face: Face, landmarks: Landmarks, glasses: Glasses, mask_size: int
) -> Mask:
    """1 where the frame of a person's glasses is in a picture, softly 0 elsewhere.

    Args:
        face: uint8 RGB, square.
        landmarks: 68, in its pixels.
        glasses: the person's.
        mask_size: side of the mask, which covers the same square.

    Raises:
        ValueError: landmarks are not 68.
    """
    grey, eyes = _grey(face), _find_eyes(landmarks)
    rays = np.sign(glasses.contrast) * _stand_out(
        _cast_rays(grey, eyes), glasses.beside
    )
    usual = abs(glasses.contrast)
    radii = _NEAREST + _STEP * np.arange(_STEPS)
    strayed = (radii[None] - np.array(glasses.rims)[:, None]) / _BEND
    score = np.clip(rays, 0, 2 * usual) - min(usual, _HELD) * strayed**2 + _possible()
    line = _follow(score, closed=True)
    along = np.take_along_axis(rays, line[..., None], 2)[..., 0]
    plain = np.median(along[:, _BELOW], axis=1)
    shown = _tell(np.maximum(plain, plain.mean()), usual)  # one lens vouches for both
    mask = np.zeros((mask_size, mask_size), np.float32)
    if not shown.any():
        return mask
    rims = _place(eyes, _smooth(_NEAREST + _STEP * line))
    lines = [(rim, True, own) for rim, own in zip(rims, shown, strict=True)]
    for points, level in _find_arms(grey, eyes, rims, glasses.beside):
        lines.append((points, False, min(_tell(level, usual), shown.max())))
    ratio = mask_size / len(face)
    thickness = (_WIDTH * glasses.beside + 2 * _MARGIN) * eyes.apart * ratio
    for points, closed, own in lines:
        drawn = np.zeros((mask_size, mask_size), np.uint8)
        # Pixels' middles lie at halves.
        places = ((points + 0.5) * ratio - 0.5) * 2**_SHIFT
        cv2.polylines(
            drawn,
            [np.rint(places).astype(np.int32)],
            closed,
            255,
            max(1, round(thickness)),
            cv2.LINE_AA,
            _SHIFT,
        )
        mask = np.maximum(mask, drawn * np.float32(own / 255))
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, _MARGIN / 2 * eyes.apart * ratio))


@cache
def _possible() -> Float64[np.ndarray, "rays steps"]:
    """0 where a rim can be, very little elsewhere."""
    height = np.sin(np.arange(RAYS) * (2 * np.pi / RAYS))[:, None]
    radii = _NEAREST + _STEP * np.arange(_STEPS)[None]
    wrong = ((height > 0.3) & (radii < _BELOW_FROM)) | (
        (height < -0.3) & (radii > _ABOVE_TO)
    )
    return np.where(wrong, -1e6, 0.0)


def _widen(
    levels: Float32[np.ndarray, "n rays steps"],
) -> Float32[np.ndarray, "n rays steps"]:
    """Of each place and the next ones on both sides the most.

    A thin line lies a little differently in each picture.
    """
    padded = np.pad(levels, ((0, 0), (0, 0), (1, 1)))
    return np.maximum(levels, np.maximum(padded[..., 2:], padded[..., :-2]))


def _tell(plain: Any, usual: float) -> Any:
    """How surely a line of so much contrast is one of the frame's, 0 to 1."""
    return np.clip((plain / usual - _FAINT) / (_SURE - _FAINT), 0, 1)


def _grey(face: Face) -> _Grey:
    return cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _find_eyes(landmarks: Landmarks) -> _Eyes:
    landmarks = check_landmarks(landmarks)
    middles = np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0)])
    across = middles[1] - middles[0]
    apart = max(float(np.linalg.norm(across)), 1e-6)
    across = across / apart
    down = np.array([-across[1], across[0]])
    return _Eyes(middles, np.stack([-across, across]), down, apart)


def _place(eyes: _Eyes, radii: Float[np.ndarray, "2 rays"]) -> list[Points]:
    """Points at so many shares from each eye, in pixels of the picture."""
    away = eyes.apart * _directions(eyes) * radii[..., None]
    return list(eyes.middles[:, None] + away)


def _directions(eyes: _Eyes) -> Float64[np.ndarray, "2 rays 2"]:
    angles = (np.arange(RAYS) * (2 * np.pi / RAYS))[None, :, None]
    return np.cos(angles) * eyes.outwards[:, None] + np.sin(angles) * eyes.down


def _cast_rays(grey: _Grey, eyes: _Eyes) -> Float32[np.ndarray, "2 rays steps"]:
    """A picture along rays from each eye."""
    radii = eyes.apart * (_NEAREST + _STEP * np.arange(_STEPS))
    away = _directions(eyes)[:, :, None] * radii[None, None, :, None]
    places = eyes.middles[:, None, None] + away
    return _sample(grey, places.reshape(2 * RAYS, _STEPS, 2)).reshape(2, RAYS, _STEPS)


def _sample(
    grey: _Grey, places: Float[np.ndarray, "n m 2"]
) -> Float32[np.ndarray, "n m"]:
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    return cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _stand_out(
    lines: Float32[np.ndarray, "*n steps"], beside: float, step: float = _STEP
) -> Float32[np.ndarray, "*n steps"]:
    """By how much places are brighter, or darker, than both of their sides.

    Args:
        lines: levels along lines.
        beside: how far away the sides are.
        step: from one level to the next.
    """
    steps = max(1, round(beside / step))
    edges = [(0, 0)] * (lines.ndim - 1) + [(steps, steps)]
    padded = np.pad(lines, edges, mode="edge")
    before, after = lines - padded[..., : -2 * steps], lines - padded[..., 2 * steps :]
    least = np.minimum(np.abs(before), np.abs(after))
    return np.where(before * after > 0, np.sign(before) * least, 0)


def _follow(
    score: Float[np.ndarray, "b n places"], *, closed: bool
) -> Int[np.ndarray, "b n"]:
    """The line of the highest sum, from place to place or the next ones beside it."""
    many, count, places = score.shape
    laps = np.concatenate([score] * (_LAPS if closed else 1), axis=1)
    rows = laps.shape[1]
    # With a place on both sides that no line goes through.
    sums = np.full((rows, many, places + 2), -np.inf)
    sums[0, :, 1:-1] = laps[:, 0]
    for row in range(1, rows):
        before, best = sums[row - 1], sums[row, :, 1:-1]
        np.maximum(before[:, :-2], before[:, 1:-1], out=best)
        np.maximum(best, before[:, 2:], out=best)
        best += laps[:, row]
    line, which = [sums[-1].argmax(1)], np.arange(many)[:, None]
    for row in range(rows - 2, -1, -1):
        beside = line[-1][:, None] + np.array([-1, 0, 1])
        line.append(line[-1] + sums[row, which, beside].argmax(1) - 1)
    found = np.stack(line[::-1], axis=1) - 1
    if not closed:
        return found
    half = count // 2  # the middle of two laps knows what comes before and after
    return np.roll(found[:, half : half + count], half, axis=1)


def _smooth(radii: Float[np.ndarray, "2 rays"]) -> Float[np.ndarray, "2 rays"]:
    weights = (0.1, 0.2, 0.4, 0.2, 0.1)
    rolled = [np.roll(radii, shift, axis=1) for shift in range(-2, 3)]
    return np.tensordot(weights, rolled, 1)


def _find_arms(
    grey: _Grey, eyes: _Eyes, rims: Sequence[Points], beside: float
) -> list[tuple[Points, float]]:
    """The plainest lines to both temples and over the nose; and how plain, levels."""
    apart, across = eyes.apart, eyes.outwards[1]
    temples = [rim[_TEMPLE].mean(0) for rim in rims]
    nose = [rim[_BRIDGE].mean(0) for rim in rims]
    starts = np.stack([*temples, nose[0]])
    ways = np.array([-_REACH * apart, _REACH * apart, (nose[1] - nose[0]) @ across])
    along = ways[:, None] * np.linspace(0, 1, _POINTS)
    stray = max(1, round(_STRAY * apart))
    offsets = np.arange(-stray, stray + 1)
    # [lines, points, offsets, 2]
    places = (
        starts[:, None, None]
        + along[:, :, None, None] * across
        + offsets[None, None, :, None] * eyes.down
    )
    levels = _sample(grey, places.reshape(-1, len(offsets), 2))
    plain = np.abs(_stand_out(levels, beside * apart, 1.0))
    plain = plain.reshape(len(starts), _POINTS, -1)
    most = _STRONGEST * plain.mean((1, 2), keepdims=True)
    score = np.minimum(plain, most) - _STRAYING * np.abs(offsets)
    score[:, 0, np.abs(offsets) > max(1, beside * apart)] = -np.inf
    line = _follow(score, closed=False)
    return [
        (own[np.arange(_POINTS), at], float(np.median(levels[np.arange(_POINTS), at])))
        for own, levels, at in zip(places, plain, line, strict=True)
    ]
