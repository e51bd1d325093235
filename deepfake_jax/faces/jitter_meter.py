"""How much the alignments of faces tremble from frame to frame."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE


@dataclass
class JitterMeter:
    """Measures how much alignments tremble: the median of a second difference.

    The second difference of even motion is zero; divided by the root of six it is the
    deviation of independent noise in each frame. Unit: pixels of the face picture.
    Memory is bounded: counts of hundredths of a pixel.
    """

    _counts: Float64[np.ndarray, "2 2001"] = field(
        default_factory=lambda: np.zeros((2, 2001))
    )
    _last: dict[int, tuple[int, deque[Any]]] = field(default_factory=dict)

    def add(
        self, track: int, position: int, raw: np.ndarray, steady: np.ndarray
    ) -> None:
        """Takes in a track's corners in the frame, before and after steadying."""
        at, rows = self._last.get(track, (position - 1, deque(maxlen=3)))
        if at != position - 1:
            rows.clear()
        rows.append((raw, steady))
        self._last = {k: v for k, v in self._last.items() if v[0] >= position - 1}
        self._last[track] = position, rows
        if len(rows) < 3:
            return
        side = np.linalg.norm(rows[1][1][1] - rows[1][1][0]) / (COVERAGE * FACE_SIZE)
        for kind in (0, 1):
            a, b, c = (row[kind] for row in rows)
            tremble = np.sqrt(np.mean(np.sum((a - 2 * b + c) ** 2, axis=1)) / 2 / 6)
            bin_ = min(2000, int(100 * tremble / max(side, 1e-9)))
            self._counts[kind, bin_] += 1

    def counts(self) -> Counter[tuple[int, int]]:
        """How often each kind was so many hundredths of a pixel."""
        kinds, bins = np.nonzero(self._counts)
        often = self._counts[kinds, bins].astype(int)
        places = zip(kinds.tolist(), bins.tolist(), strict=True)
        return Counter(dict(zip(places, often.tolist(), strict=True)))

    def add_counts(self, counts: Iterable[Sequence[int]]) -> None:
        """Takes in another meter's counts: kind, hundredths and how often."""
        for kind, bin_, often in counts:
            self._counts[kind, bin_] += often

    def medians(self) -> tuple[float | None, float | None]:
        """Jitter before and after; None where no face was seen in three frames."""
        if not self._counts.sum():
            return None, None
        half = self._counts.sum(axis=1, keepdims=True) / 2
        bins = np.argmax(np.cumsum(self._counts, axis=1) >= half, axis=1)
        return tuple(round((float(b) + 0.5) / 100, 3) for b in bins)  # type: ignore[return-value]
