"""The watermark out of pictures: whatever their size, cut, mirrored or coded again.

A picture's fine structure, evened out, is taken apart into waves. For each size that
the canonical frame may have had, and mirrored or not, the waves whose phases are fixed
say where the tiles would begin and how well that fits: `place`, in standard deviations
of what chance gives. A wave counts by its phase and not by its strength, and the
pattern's phases come of a hash: in a picture that holds no mark each is as good as
drawn at random, whatever it shows. So chance is known: the sum of independent cosines
stays below z deviations but in exp(-z^2 / 2) of all cases (Hoeffding).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Complex, Float, Float32, UInt8

from deepfake_jax.provenance.watermark_code import (
    BITS,
    SIGNS,
    decode_payload,
    encode_payload,
)
from deepfake_jax.provenance.watermark_pattern import SHORT_SIDE, TILE, make_waves

_WORKING = 720  # pixels; no copy is looked at with a longer short side
# The canonical frame may be this many times as large as the picture: below 1 where
# borders were cut off, above where there is something around it.
_SIZES = (0.38, 2.6)
_STEP = 0.005  # a wave across a whole frame turns by a third from one to the next
_CANDIDATES, _BESIDE = 24, 50
_BATCH = 64  # sizes at once
SURE = 1e-8  # bound of false alarms of one look
_LIMIT = 3.0  # a wave stronger than so many times its surroundings counts no more

_Spectrum = Complex[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class WatermarkFound:
    """What was found of a watermark.

    Attributes:
        found: whether there is one.
        payload: its 32 bits as eight hexadecimal digits; "" where they cannot be read.
        place: how well the tiles fit, deviations of chance.
        chance: an upper bound of the probability that a picture without a mark looks
            so, by all that was tried.
        size: of the canonical frame against the picture.
        mirrored: whether the picture is.
        frames: how many were looked at.
    """

    found: bool = False
    payload: str = ""
    place: float = 0.0
    chance: float = 1.0
    size: float = 1.0
    mirrored: bool = False
    frames: int = 0

    def describe(self) -> str:
        """In a few words."""
        if not self.found:
            return "no watermark found"
        name = f"watermark {self.payload}" if self.payload else "a watermark"
        changes = ", mirrored" if self.mirrored else ""
        if abs(self.size - 1) > 0.02:
            changes += ", cut" if self.size < 1 else ", inside a larger picture"
        return f"{name}{changes}"


class _Guess(NamedTuple):
    """Where the pattern may lie: across and down, cycles of the picture a cycle."""

    score: float
    across: float
    down: float
    mirrored: bool
    dx: float
    dy: float


def even_out(luma: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, "h w"]:
    """A picture's fine structure, as strong everywhere; at most `_WORKING` pixels."""
    short = min(luma.shape)
    if short > _WORKING:
        scale = _WORKING / short
        size = round(luma.shape[1] * scale), round(luma.shape[0] * scale)
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    unit = max(min(luma.shape) / SHORT_SIDE, 0.4)
    grey = luma.astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 3.0 * unit)
    around = cv2.GaussianBlur(np.abs(fine), (0, 0), 6.0 * unit) + 1.0
    # Once to compare with what is normal there, and once more because where a picture
    # is busy the mark is hardly stronger and all else is.
    return np.clip(fine / around, -2.5, 2.5) / around


def find_watermark(
    pictures: Sequence[Float32[np.ndarray, "_h _w"]], *, thorough: bool = True
) -> WatermarkFound:
    """Looks for the watermark in pictures of one size that were cut alike.

    Args:
        pictures: as `even_out` gives them.
        thorough: try all sizes, and not only that of a whole frame.
    """
    mean = np.mean(pictures, axis=0) if len(pictures) > 1 else pictures[0]
    if min(mean.shape) < 24:
        return WatermarkFound(frames=len(pictures))
    spectrum = _transform(mean)
    unit = SHORT_SIDE / min(mean.shape)
    sizes = np.array([1.0])
    if thorough:
        low, high = map(math.log, _SIZES)
        sizes = np.exp(np.arange(low, high, _STEP))
    tried = 2 * TILE * TILE * len(sizes)
    guesses = [
        guess
        for part in np.array_split(unit * sizes, -(-len(sizes) // _BATCH))
        for mirrored in (False, True)
        for guess in _place(spectrum, part, mirrored=mirrored)
    ]
    guesses.sort(key=lambda guess: -guess.score)
    best = WatermarkFound(frames=len(pictures))
    for guess in itertools.islice(_thin_out(guesses), _CANDIDATES):
        found = _judge(spectrum, _refine(spectrum, guess), tried, unit, len(pictures))
        if (found.found, found.place) > (best.found, best.place):
            best = found
        if found.found and found.payload:
            break
    return best


def _thin_out(guesses: Sequence[_Guess]) -> Iterator[_Guess]:
    """The guesses without those of nearly the same size as an earlier one."""
    taken: list[_Guess] = []
    for guess in guesses:
        near = [each.across for each in taken if each.mirrored == guess.mirrored]
        if all(abs(math.log(guess.across / other)) > 1.5 * _STEP for other in near):
            taken.append(guess)
            yield guess


def _transform(picture: Float32[np.ndarray, "h w"]) -> _Spectrum:
    """The waves of a picture around its middle, twice as fine as it resolves."""
    height, width = picture.shape
    window = np.outer(_taper(height), _taper(width))
    rows, columns = (cv2.getOptimalDFTSize(2 * side) for side in (height, width))
    padded = np.zeros((rows, columns), np.float32)
    padded[:height, :width] = picture * window
    # With the middle at 0, phases change slowly from wave to wave.
    padded = np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))
    return np.fft.fft2(padded)


def _taper(length: int) -> Float[np.ndarray, "n"]:
    edge = max(2, length // 16)
    ramp = np.ones(length)
    rise = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2
    ramp[:edge], ramp[-edge:] = rise, rise[::-1]
    return ramp


def _sample(
    spectrum: _Spectrum, across: Float[Any, "..."], down: Float[Any, "..."]
) -> Complex[np.ndarray, "..."]:
    """The waves of so many cycles a pixel, between those that were computed."""
    rows, columns = spectrum.shape
    x, y = across * columns, down * rows
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    left, right = left % columns, (left + 1) % columns
    top, low = top % rows * columns, (top + 1) % rows * columns
    flat = spectrum.ravel()
    upper = flat[top + left] * (1 - dx) + flat[top + right] * dx
    lower = flat[low + left] * (1 - dx) + flat[low + right] * dx
    return upper * (1 - dy) + lower * dy


def _read_waves(
    spectrum: _Spectrum,
    across: Float[Any, "..."] | float,
    down: Float[Any, "..."] | float,
    *,
    mirrored: bool,
    first: int = 0,
) -> Complex[np.ndarray, "... n"]:
    """The pattern's waves in a picture, against what lies around each, phases undone.

    Args:
        spectrum: of the picture.
        across: canonical pixels a pixel.
        down: likewise.
        mirrored: whether it is.
        first: leaves out those before.
    """
    u, v, phase = (each[first:] for each in make_waves())
    across, down = (np.asarray(each)[..., None] / TILE for each in (across, down))
    u, v = u * across * (-1 if mirrored else 1), v * down
    seen = _sample(spectrum, u, v)
    around = np.zeros(seen.shape, np.float32)
    for dx, dy in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
        around += np.abs(_sample(spectrum, u + dx * across, v + dy * down))
    strength = np.abs(seen)
    counted = np.minimum(strength / np.maximum(around / 4, 1e-9), _LIMIT)
    # What lies beyond the picture's own waves is nothing.
    counted *= (np.abs(u) < 0.5) & (np.abs(v) < 0.5)
    return seen * (counted / np.maximum(strength, 1e-9)) * np.exp(-1j * phase)


def _place(
    spectrum: _Spectrum, units: Float[np.ndarray, "n"], *, mirrored: bool
) -> list[_Guess]:
    """For each size of tiles where they would begin, and how well they fit.

    Args:
        spectrum: of the picture.
        units: canonical pixels a pixel.
        mirrored: whether it is.
    """
    u, v, _ = (each[SIGNS:] for each in make_waves())
    waves = _read_waves(spectrum, units, units, mirrored=mirrored, first=SIGNS)
    # Every second place will do: no wave is shorter than 7 pixels.
    side = TILE // 2
    grid = np.zeros((len(units), side, side), np.complex64)
    grid[:, v, u] = waves
    fits = np.fft.ifft2(grid).real.reshape(len(units), -1) * side * side
    best = fits.argmax(axis=1)
    power = np.sqrt((np.abs(waves) ** 2).sum(axis=1) / 2) + 1e-9
    scores = fits.max(axis=1) / power
    return [
        _Guess(
            float(score), unit, unit, mirrored, 2.0 * (at % side), 2.0 * (at // side)
        )
        for score, unit, at in zip(scores, units.tolist(), best.tolist(), strict=True)
    ]


def _turn(
    guess: _Guess, spectrum: _Spectrum, *, first: int = 0
) -> Complex[np.ndarray, "n"]:
    """The pattern's waves as they would be had tiles begun where it is guessed."""
    u, v, _ = (each[first:] for each in make_waves())
    waves = _read_waves(
        spectrum, guess.across, guess.down, mirrored=guess.mirrored, first=first
    )
    return waves * np.exp(2j * np.pi / TILE * (u * guess.dx + v * guess.dy))


def _fit(guess: _Guess, spectrum: _Spectrum) -> float:
    placed = _turn(guess, spectrum, first=SIGNS)
    power = math.sqrt(float((np.abs(placed) ** 2).sum()) / 2) + 1e-9
    return float(np.real(placed).sum()) / power


def _refine(spectrum: _Spectrum, guess: _Guess) -> _Guess:
    """The guess nearby that fits best, between the sizes and places that were tried."""
    steps = {"across": _STEP / 3, "down": _STEP / 3, "dx": 0.8, "dy": 0.8}
    for _ in range(3):
        for name, step in steps.items():
            value = getattr(guess, name)
            by = step if name in ("dx", "dy") else step * value
            tries = [guess._replace(**{name: value + n * by}) for n in (-2, -1, 1, 2)]
            fits = [_fit(each, spectrum) for each in tries]
            if max(fits) > guess.score:
                best = tries[int(np.argmax(fits))]
                guess = best._replace(score=max(fits))
        steps = {name: step / 2 for name, step in steps.items()}
    return guess


def _bound(score: float) -> float:
    """Of the probability that chance alone fits so well."""
    return math.exp(-(max(score, 0.0) ** 2) / 2)


def _judge(
    spectrum: _Spectrum, guess: _Guess, tried: int, unit: float, frames: int
) -> WatermarkFound:
    waves = _turn(guess, spectrum)
    payload = decode_payload(np.real(waves[:SIGNS]))
    # What `_refine` tries beside counts as tried, too.
    chance = min(1.0, _BESIDE * tried * _bound(guess.score))
    if payload is not None:
        # No less than for the best of all 2^32 that could be there.
        signed = np.real(waves[:SIGNS]) * encode_payload(payload)
        power = math.sqrt(float((np.abs(waves[:SIGNS]) ** 2).sum()) / 2) + 1e-9
        score = float(signed.sum()) / power
        chance *= min(_CANDIDATES * 2.0**-16, 2.0**BITS * _bound(score))
    return WatermarkFound(
        found=chance < SURE,
        payload="" if payload is None else f"{payload:08x}",
        place=round(guess.score, 2),
        chance=chance,
        size=round(guess.across / unit, 4),
        mirrored=guess.mirrored,
        frames=frames,
    )
