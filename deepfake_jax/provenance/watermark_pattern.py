"""The watermark's pattern: one tile, repeated over a frame whose short side is 360.

The tile is a sum of 480 waves of the same strength. Of 144 the phases are fixed: they
tell where tiles begin, how large they are and whether the picture is mirrored. The
others carry a sign each, 0 or half a turn. All phases come of a hash, so that no
picture can hold them by chance but as coins fall: that is what bounds false alarms.

The pattern is public, as the detector is: who reads this file can remove the mark. It
is there for honest people, and for copies that lose all metadata on their way.
"""

import functools
import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from deepfake_jax.provenance.watermark_code import SIGNS, encode_payload

TILE = 128  # pixels of the canonical frame
SHORT_SIDE = 360  # of the canonical frame: frames of all sizes carry the same picture
PLACES = 144
# Cycles a canonical pixel. Below, pictures are strongest; above, codecs throw away.
_LOWEST = 0.03
_PEAK = 2.2  # deviations
_NAME = b"deepfake-jax watermark 1"


class Waves(NamedTuple):
    """The waves of a tile, those that carry signs first.

    Attributes:
        u: cycles a tile, across.
        v: likewise, down.
        phase: of each, radians.
    """

    u: Int64[np.ndarray, "480"]
    v: Int64[np.ndarray, "480"]
    phase: Float64[np.ndarray, "480"]


@functools.cache
def make_waves() -> Waves:
    """The waves: the lowest allowed ones, in an order and with phases by a hash."""
    side = np.arange(-TILE // 4, TILE // 4)
    v, u = (grid.ravel() for grid in np.meshgrid(side, side, indexing="ij"))
    # A wave and its opposite are one.
    radius = np.hypot(u, v) / TILE
    kept = ((v > 0) | ((v == 0) & (u > 0))) & (radius >= _LOWEST)
    order = np.lexsort((u[kept], v[kept], np.round(radius[kept], 9)))
    count = SIGNS + PLACES
    u, v = u[kept][order][:count], v[kept][order][:count]
    # NumPy's generators may change with its version; this hash never will.
    drawn = hashlib.shake_256(_NAME).digest(8 * count)
    numbers = np.frombuffer(drawn, ">u4").reshape(2, count).astype(np.float64)
    mixed = np.argsort(numbers[0], kind="stable")
    return Waves(u[mixed], v[mixed], numbers[1] / 2**32 * 2 * np.pi)


def draw_tile(payload: int) -> Float32[np.ndarray, "128 128"]:
    """The tile of 32 bits, mean 0 and deviation 1."""
    u, v, phase = make_waves()
    signs = np.ones(len(u))
    signs[:SIGNS] = encode_payload(payload)
    spectrum = np.zeros((TILE, TILE), np.complex128)
    spectrum[v, u] = signs * np.exp(1j * phase)
    tile = np.fft.ifft2(spectrum).real
    # Peaks are seen, and say little more than what is beside them.
    tile = np.clip(tile / tile.std(), -_PEAK, _PEAK)
    return (tile / tile.std()).astype(np.float32)


@functools.lru_cache(maxsize=8)
def draw_canonical(
    payload: int, height: int, width: float
) -> Float32[np.ndarray, "rows columns"]:
    """The pattern over the canonical frame of one of a size in square pixels."""
    scale = SHORT_SIDE / min(height, width)
    rows, columns = round(height * scale), round(width * scale)
    repeats = -(-rows // TILE), -(-columns // TILE)
    tiled = np.tile(draw_tile(payload), repeats)[:rows, :columns]
    pattern = np.ascontiguousarray(tiled)
    pattern.flags.writeable = False
    return pattern
