"""A run's held-out figures against training time: lines, their sum, table and plot.

A *line* is a dict: ``seed``, ``minutes`` of training, ``step``, and ``a``, ``b``,
``a_to_b`` and ``b_to_a`` with the figures of `evaluate.Evaluation`. Lines of one seed
stand together, in the order of their steps.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.files import write_whole
from deepfake_jax.json_files import format_json
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.runs.metrics_file import read_lines
from deepfake_jax.types import DIRECTIONS

# Share of swaps nearer to the target that both directions shall reach.
RETRIEVAL = 0.95
SWAPS = tuple(f"{side}_to_{to}" for side, to in DIRECTIONS)  # keys of a line
Line = dict[str, Any]
# Figure, its title, and where it is as good as it is wanted.
_PANELS = (
    ("identity_transfer", "identity transfer (1: the target's own)", 1.0),
    ("retrieval", "nearer to the target (wanted: 95 %)", RETRIEVAL),
    ("expression_error", "expression error (wanted: below 0.10)", 0.1),
    ("sharpness", "sharpness (1: as real faces)", 1.0),
)
_STYLES = tuple(zip(SWAPS, ("A to B", "B to A"), ("tab:green", "tab:red"), strict=True))


class Curve:
    """The lines of a measurement, which lie in one file."""

    def __init__(self, path: Path):
        """Reads what is there already."""
        self._path = path
        self.lines: list[Line] = read_lines(path)

    def of_seed(self, seed: int) -> list[Line]:
        """The lines of one seed's run."""
        return [line for line in self.lines if line["seed"] == seed]

    def add(self, line: Line) -> None:
        """Takes a line; later ones of its run, and one of the same step, go."""
        self.cut(line["seed"], line["step"] - 1)
        self.lines = sorted([*self.lines, line], key=lambda x: (x["seed"], x["step"]))
        self._write()

    def cut(self, seed: int, step: int) -> None:
        """Drops a run's lines after a step: it was killed, and goes on from there."""
        kept = [x for x in self.lines if x["seed"] != seed or x["step"] <= step]
        if len(kept) < len(self.lines):
            self.lines = kept
            self._write()

    def _write(self) -> None:
        text = "".join(format_json(line) + "\n" for line in self.lines)
        with write_whole(self._path, overwrite=True) as path:
            path.write_text(text, encoding="utf-8")


def find_retrieval_minutes(lines: Sequence[Line]) -> float | None:
    """Minutes to the judgement from which on both directions' retrieval is 95 %.

    The first from which it stays so to the end of the run; None without one.

    Args:
        lines: of one run.
    """
    found = None
    for line in lines:
        reached = min(line[to]["retrieval"] for to in SWAPS) >= RETRIEVAL
        found = None if not reached else line["minutes"] if found is None else found
    return found


def mean_of_directions(line: Line, figure: str) -> float:
    """A figure of the swaps, the mean of both directions."""
    return statistics.mean(line[to][figure] for to in SWAPS)


def take_median(values: Sequence[Any]) -> Any:
    """The median of numbers, or of each number of trees that are built alike.

    None among numbers counts as larger than all, and a median that would be it is None.
    Of truths it is whether all are true.
    """
    first = values[0]
    if isinstance(first, dict):
        return {key: take_median([value[key] for value in values]) for key in first}
    if isinstance(first, bool):
        return all(values)
    middle = statistics.median(math.inf if value is None else value for value in values)
    return None if math.isinf(middle) else middle


def keep_numbers(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures without their parts, which not every run has."""
    return {k: value for k, value in figures.items() if isinstance(value, int | float)}


def format_curve(lines: Sequence[Line]) -> str:
    """A table: a row a judgement, each figure as A to B and B to A."""
    names = ("transfer", "retrieval", "expression", "sharpness")
    head = f"{'seed':>4} {'minutes':>8} {'step':>7}"
    rows = [head + "".join(f"  {name:>13}" for name in names)]
    for line in lines:
        cells = [f"{line['seed']:>4} {line['minutes']:>8.2f} {line['step']:>7}"]
        for (figure, _, _), form in zip(
            _PANELS, (".2f", ".0%", ".3f", ".2f"), strict=True
        ):
            both = (format(line[to][figure], form) for to in SWAPS)
            cells.append("  {:>6} {:>6}".format(*both))
        rows.append("".join(cells))
    return "\n".join(rows)


def plot_curves(lines: Sequence[Line], path: Path) -> None:
    """Draws the four figures of the swaps against minutes, a curve a run, as a PNG."""
    # As in `preview.plot_losses`: slow to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    seeds = list(dict.fromkeys(line["seed"] for line in lines))
    for panel, (name, title, wanted) in enumerate(_PANELS, start=1):
        axes = figure.add_subplot(2, 2, panel)
        axes.axhline(wanted, color="0.5", linestyle="--", linewidth=1)
        for to, label, color in _STYLES:
            for index, seed in enumerate(seeds):
                run = [line for line in lines if line["seed"] == seed]
                axes.plot(
                    [line["minutes"] for line in run],
                    [line[to][name] for line in run],
                    marker=".",
                    color=color,
                    # Later seeds are paler; one entry in the legend stands for all.
                    alpha=1.0 if index == 0 else 0.4,
                    label=label if index == 0 else None,
                )
        low, high = axes.get_ylim()
        # From 0, unless a transfer is below: curves of two runs are compared by eye.
        axes.set(title=title, xlabel="minutes of training", ylim=(min(low, 0.0), high))
        axes.set_xlim(0, None)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    write_picture(path, np.ascontiguousarray(pixels), overwrite=True)
