"""Pictures that show how a run is doing: the preview grid and the loss curve."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.picture_grid import draw_preview
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import SwapParams
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import LOSSES_NAME, METRICS_NAME, PREVIEW_NAME
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.training.clock import Clock, Every
from deepfake_jax.training.history import History
from deepfake_jax.training.judging import is_judgement
from deepfake_jax.training.session import Session
from deepfake_jax.training.state import TrainState
from deepfake_jax.types import Side, other_side, spread

_PREVIEW_FACES = 7
_MOST_SHARE = 0.03  # of the time, for pictures


class ProgressPictures:
    """Draws a run's pictures each so many seconds, in the leader's process.

    Less often where they would take more than a thirtieth of the time.
    """

    def __init__(self, session: Session, history: History, clock: Clock):
        """For a session; the first pictures are due after `preview_seconds`."""
        self._session, self._history, self._clock = session, history, clock
        self._timer = Every(session.config.preview_seconds)
        self._compiled = False

    def is_due(self) -> bool:
        """Whether so many seconds have passed."""
        return self._session.devices.leads and self._timer.is_due()

    def draw(self, step: int, state: TrainState) -> None:
        """Draws ``preview.png``, both sides through both decoders, and ``loss.png``."""
        session = self._session
        if not session.devices.leads:
            return
        self._history.collect()
        start = time.monotonic()
        with self._clock.apart():
            whole = session.devices.get_state(state)
            loss_a, loss_b = self._history.losses.values()
            title = f"step {step}, loss A {loss_a:.4f}, B {loss_b:.4f}"
            params = whole.swap_params
            rows = draw_rows(whole.model, params, session.faces)
            write_picture(session.run / PREVIEW_NAME, draw_preview(rows, title=title))
            metrics = read_metrics(session.run / METRICS_NAME)
            plot_losses(metrics, session.run / LOSSES_NAME)
        if self._compiled:
            self._timer.postpone((time.monotonic() - start) / _MOST_SHARE)
        self._compiled = True


def draw_rows(
    model: Autoencoder, params: SwapParams, sets: Mapping[Side, UInt8[Any, "_ h w 3"]]
) -> list[tuple[str, Any]]:
    """Some faces of each side: real, by their own decoder, by the other's."""
    rows = []
    for side, faces in sets.items():
        crops = crop_faces(choose_examples(faces, _PREVIEW_FACES), model.crop_size)
        rows.append((f"{side.upper()}, real", crops))
        for to in (side, other_side(side)):
            swapper = make_swapper(model, params, to=to, source=side)
            rows.append((f"{side.upper()}, decoder {to.upper()}", swapper(crops)))
    return rows


def choose_examples(faces: UInt8[Any, "n h w 3"], count: int) -> UInt8[Any, "m h w 3"]:
    """Up to `count` faces spread evenly over a set."""
    return faces[spread(len(faces), count)]


def plot_losses(metrics: list[dict[str, Any]], path: Path) -> None:
    """Draws both losses against steps, raw and smoothed, log scale, as a PNG.

    Figures of held-out faces, where there are any, stand in a second panel below.
    """
    # Slow to import, and needed here alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    judgements = [line for line in metrics if is_judgement(line)]
    metrics = [line for line in metrics if not is_judgement(line)]
    panels = 2 if judgements else 1
    figure = Figure(figsize=(7, 4 * panels), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(panels, 1, 1)
    steps = np.array([line["step"] for line in metrics])
    colors = {"loss_a": "tab:blue", "loss_b": "tab:orange"}
    for name, color in (("loss_swap", "tab:green"),):
        if any(line.get(name) for line in metrics):
            colors[name] = color
    for name, color in colors.items():
        # A loss that was no number is written as null: a gap in the curve.
        losses = np.array([line.get(name) for line in metrics], np.float64)
        losses[losses == 0] = np.nan
        axes.plot(steps, losses, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, smooth_curve(losses), color=color, label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    if len(metrics):
        axes.legend()
    if judgements:
        _plot_judgements(figure.add_subplot(2, 1, 2, sharex=axes), judgements)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    write_picture(path, np.ascontiguousarray(pixels))


def _plot_judgements(axes: Any, judgements: list[dict[str, Any]]) -> None:
    """Transfer of identity on the left scale, reconstruction error on the right one."""
    steps = [line["step"] for line in judgements]

    def draw(where: Any, name: str, **style: Any) -> Any:
        # A run may be judged with and without the weights that identity needs.
        values = [line.get(name) for line in judgements]
        known = np.array(values, np.float64)  # None becomes NaN, a gap
        return where.plot(steps, known, marker=".", markersize=4, **style)

    errors, lines = axes, []
    if any("identity_transfer_a_to_b" in line for line in judgements):
        errors = axes.twinx()
        names = (("a_to_b", "A to B", "tab:green"), ("b_to_a", "B to A", "tab:red"))
        for name, label, color in names:
            key = f"identity_transfer_{name}"
            lines += draw(axes, key, label=f"transfer {label}", color=color)
        axes.set(ylabel="identity transfer, held out")
    for side, color in (("a", "tab:blue"), ("b", "tab:orange")):
        style = {"color": color, "linestyle": "--", "linewidth": 1}
        lines += draw(errors, f"mae_{side}", label=f"error {side.upper()}", **style)
    errors.set(ylabel="mean absolute error, held out", ylim=(0, None))
    best = max(judgements, key=lambda line: line["score"])["step"]
    lines.append(axes.axvline(best, color="0.5", linewidth=1, label=f"best: {best}"))
    axes.set(xlabel="step")
    axes.grid(alpha=0.3)
    # On the axes that are drawn last, or the other's curves would cross it.
    # Above them: no corner stays free for all of a run.
    errors.legend(
        lines,
        [line.get_label() for line in lines],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(lines),
        fontsize=8,
        frameon=False,
    )


def smooth_curve(values: Any, *, share: float = 0.05) -> Any:
    """A centred moving mean over `share` of the curve, shorter at its ends.

    Values that are no number are left out; where there is nothing else, the mean is
    none either.
    """
    values = np.asarray(values, np.float64)
    half = int(len(values) * share / 2)
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    count = counts[high] - counts[low]
    mean = (sums[high] - sums[low]) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)
