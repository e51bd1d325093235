"""Progress on long work: a bar on a terminal, plain lines elsewhere; words for both.

With ``DEEPFAKE_JAX_PROGRESS=json`` in the environment the lines are JSON objects, for
a program that started the command: ``progress`` (what is done: search, train, convert),
``done``, ``total`` (null where nobody knows), ``unit``, ``rate`` (units a second),
``left`` (seconds, null where nobody knows) and ``note``.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 10.0  # between plain lines, so that a log stays readable
JSON_SECONDS = 0.5  # between JSON lines, which a program shows as they come
VARIABLE = "DEEPFAKE_JAX_PROGRESS"


class Progress:
    """Counts work done and shows rate and time left on stderr.

    Use as a context manager. On a terminal it is tqdm's bar; else a line every
    `LINE_SECONDS` and one at the end.
    """

    def __init__(
        self, label: str, *, total: int | float | None = None, unit: str = "it"
    ):
        self._label, self._total, self._unit = label, total, unit
        self._done = 0.0
        self._note = ""
        self._start = self._last = time.monotonic()
        self._initial = 0.0
        self._printed = 0.0  # how much was done at the last plain line
        self._bar: Any = None
        self._as_json = os.environ.get(VARIABLE) == "json"
        self._pause = JSON_SECONDS if self._as_json else LINE_SECONDS
        if self._as_json:
            self._print_line()  # it has begun
        elif sys.stderr.isatty():
            self._bar = tqdm(
                desc=label, total=total, unit=unit, dynamic_ncols=True, leave=True
            )

    def begin_at(self, done: int | float) -> None:
        """Says how much was done before this session; the rate leaves it out."""
        self._done = self._initial = done
        if self._bar is not None:
            self._bar.initial = self._bar.n = done
            self._bar.refresh()

    def update_to(self, done: int | float, note: str = "") -> None:
        """Sets how much is done, with a note such as the current loss."""
        self._done = done
        self._note = note or self._note
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last >= self._pause:
            self._print_line()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self._done != self._printed:
            self._print_line()

    def _print_line(self) -> None:
        self._printed = self._done
        self._last = time.monotonic()
        seconds = self._last - self._start
        rate = (self._done - self._initial) / seconds if seconds > 0 else 0.0
        if self._as_json:
            print(self._format_json(rate), file=sys.stderr, flush=True)
            return
        parts = [f"{self._done:.0f}"]
        if self._total:
            parts[0] += f"/{self._total:.0f}"
        parts[0] += f" {self._unit}"
        if self._unit != "s":
            parts.append(f"{rate:.1f} {self._unit}/s")
        if self._total and rate > 0 and self._done < self._total:
            left = (self._total - self._done) / rate
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        if self._note:
            parts.append(self._note)
        print(f"{self._label}: {', '.join(parts)}", file=sys.stderr, flush=True)

    def _format_json(self, rate: float) -> str:
        left = None
        if self._total and rate > 0:
            left = round(max(0.0, self._total - self._done) / rate, 1)
        line = {
            "progress": self._label,
            "done": round(self._done, 2),
            "total": self._total,
            "unit": self._unit,
            "rate": round(rate, 3),
            "left": left,
            "note": self._note,
        }
        return json.dumps(line)


def count(number: int, noun: str) -> str:
    """A number and its noun, as "1 face" or "1,200 faces"; the plural takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def list_shares(shares: Mapping[str, float]) -> str:
    """Names and percentages, the largest first."""
    largest = sorted(shares.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in largest)
