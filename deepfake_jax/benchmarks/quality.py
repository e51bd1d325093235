"""Quality against training time: a real run, judged on its held-out faces on its way.

Time is the run's own clock, as `train --minutes` counts it: compilation, checkpoints,
previews and the run's own judging are in it, reading the face sets and what is judged
here are not. A session that goes on with an interrupted run counts its own compilation
again. What is judged, and how, is what `evaluate` does.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.benchmarks.quality_curve import (
    SWAPS,
    Curve,
    Line,
    find_retrieval_minutes,
    format_curve,
    keep_numbers,
    mean_of_directions,
    plot_curves,
    take_median,
)
from deepfake_jax.benchmarks.quality_request import (
    QualityError,
    check_holdout,
    claim_folder,
    find_faces,
)
from deepfake_jax.benchmarks.report import format_number, format_rows
from deepfake_jax.evaluation.evaluate import find_splits
from deepfake_jax.evaluation.judge import evaluate_faces
from deepfake_jax.evaluation.real_faces import (
    Judge,
    RealFaces,
    load_judge,
    prepare_sets,
)
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.run_folder import CHECKPOINTS
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES, Side

CURVE_NAME, PLOT_NAME = "quality.jsonl", "quality.png"


@dataclass(frozen=True)
class QualityFigures:
    """What `measure_quality` found; of several seeds, medians of their runs.

    Attributes:
        minutes: training time at the last judgement.
        step: likewise.
        identity_transfer: at the end, mean of both directions.
        expression_error: likewise.
        minutes_to_retrieval: of training, to the first judgement from which on 95 % of
            the swaps of each direction are nearer to the target; None if there is none.
        a: figures of A at the end; see `judge.SideFigures`.
        b: of B.
        a_to_b: of A's faces as B at the end; see `judge.SwapFigures`.
        b_to_a: of B's faces as A.
        runs: the first five figures of each seed's run.
        curve: all judgements; see `quality_curve`.
        out: folder of the measurement.
        machine: where.
    """

    minutes: float
    step: int | float
    identity_transfer: float
    expression_error: float
    minutes_to_retrieval: float | None
    a: dict[str, Any]
    b: dict[str, Any]
    a_to_b: dict[str, Any]
    b_to_a: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
    curve: tuple[Line, ...]
    out: str
    machine: Machine


def measure_quality(
    sources: Mapping[Side, Path],
    out: Path,
    config: TrainConfig,
    *,
    judgements: int = 10,
    seeds: Sequence[int] = (0,),
    persons: Mapping[Side, str] | None = None,
    devices: int = 1,
    init: Path | None = None,
) -> QualityFigures:
    """Trains a run a seed into ``out/run_SEED``, and judges it at even times.

    The same call goes on with one that was interrupted; more minutes or other seeds
    add to what is there.

    Args:
        sources: of "a" and "b": a face set, or footage to extract one from.
        out: folder of the measurement, with quality.jsonl and quality.png.
        config: of the run; `minutes` must be set and `holdout` be above 0.
        judgements: how many, evenly over the minutes, the last at their end.
        seeds: of the runs.
        persons: whose faces to extract; by default the person seen most.
        devices: to train on.
        init: another run, whose encoder each run starts with; see `loop.train`.

    Raises:
        QualityError: the folder holds something else, too few faces could be held out,
            or a signal ended the training.
        ValueError: `config` lacks minutes or holdout.
        FaceSetError, ExtractError, AssetError, ConfigError, RunError, TrainingError:
            as of extraction, judging and training.
    """
    if config.minutes is None or not config.holdout or judgements < 1 or not seeds:
        raise ValueError(
            "quality needs config.minutes, a config.holdout above 0, one judgement or "
            f"more and a seed, got {config.minutes}, {config.holdout}, {judgements} "
            f"and {list(seeds)}"
        )
    machine = describe_machine()  # now: the checkout may be another at the end
    judge = load_judge()  # before anything is written: its weights may not be had
    chosen: Mapping[Side, str] = persons or {"a": "main", "b": "main"}
    claim_folder(out, sources, chosen, config, init)
    folders = {
        s: find_faces(sources[s], out / f"faces_{s}", chosen[s]) for s in sources
    }
    sets: dict[Side, FaceSet] = {s: load_faces(folders[s]) for s in SIDES}
    for side, faces in sets.items():
        check_holdout(side, faces, config, seeds)
    curve = Curve(out / CURVE_NAME)
    for seed in seeds:
        run = out / f"run_{seed}"
        seeded = replace(config, seed=seed, steps=None, until="")
        _Watch(run, seeded, sets, curve, judge).train(judgements, devices, init)
    return _sum_up(out, curve, seeds, machine)


class _Watch:
    """Trains the run of one seed and judges it on its way."""

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        sets: Mapping[Side, FaceSet],
        curve: Curve,
        judge: Judge,
    ):
        self._run, self._config, self._sets = run, config, sets
        self._curve, self._judge = curve, judge
        self._real: dict[Side, RealFaces] = {}

    def train(self, judgements: int, devices: int, init: Path | None) -> None:
        """Trains to the end; nothing where that was done before."""
        seed, minutes = self._config.seed, self._config.minutes
        assert minutes is not None
        saved = (list_checkpoints(self._run / CHECKPOINTS) or [0])[-1]
        self._curve.cut(seed, saved)
        last = self._curve.of_seed(seed)[-1:]
        if last and last[0]["step"] == saved and last[0]["minutes"] >= minutes:
            _say(f"seed {seed}: {self._run} has had its {minutes:g} minutes")
            return
        times = [minutes * n / judgements for n in range(1, judgements)]
        a, b = (self._sets[side].folder for side in SIDES)
        result = train(
            a,
            b,
            self._run,
            self._config,
            devices=devices,
            init=init,
            watch=self._look,
            watch_minutes=times,
        )
        if result.interrupted:
            raise QualityError(
                f"{result.interrupted} after {result.seconds / 60:.1f} minutes of "
                f"seed {seed}'s run; the same command goes on from there"
            )

    def _look(self, trained: TrainedRun, seconds: float) -> None:
        if not self._real:
            self._real = prepare_sets(
                self._judge,
                self._sets,
                find_splits(self._run, self._sets),
                crop_size=trained.model.crop_size,
                shift=trained.facts.shift,
            )
        figures = asdict(evaluate_faces(self._judge, self._real, trained))
        seed, out = self._config.seed, self._run.parent
        self._curve.add({"seed": seed, "minutes": seconds / 60, **figures})
        plot_curves(self._curve.lines, out / PLOT_NAME)
        _say(format_curve(self._curve.of_seed(seed)[-1:]))


def _sum_up(
    out: Path, curve: Curve, seeds: Sequence[int], machine: Machine
) -> QualityFigures:
    """The figures of some seeds' runs; the curve and the plot are of these alone."""
    runs, ends, lines = [], [], []
    for seed in seeds:
        run = curve.of_seed(seed)
        end = run[-1]
        runs.append(
            {
                "minutes": end["minutes"],
                "step": end["step"],
                "identity_transfer": mean_of_directions(end, "identity_transfer"),
                "expression_error": mean_of_directions(end, "expression_error"),
                "minutes_to_retrieval": find_retrieval_minutes(run),
            }
        )
        names = (*SIDES, *SWAPS)
        ends.append({name: keep_numbers(end[name]) for name in names})
        lines += run
    plot_curves(lines, out / PLOT_NAME)
    return QualityFigures(
        **take_median(runs),
        **take_median(ends),
        runs=tuple(
            {"seed": seed, **run} for seed, run in zip(seeds, runs, strict=True)
        ),
        curve=tuple(lines),
        out=str(out),
        machine=machine,
    )


def format_quality(result: QualityFigures) -> str:
    """The table of judgements, then the figures of the end, then where."""
    reached, many = result.minutes_to_retrieval, len(result.runs)
    what = "" if many == 1 else f"medians of {many} runs; "
    machine = result.machine
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    rows = [
        ("at the end", f"{what}{result.minutes:.2f} minutes, step {result.step:g}"),
        ("identity transfer", f"{result.identity_transfer:.3f} (mean of both)"),
        (
            "minutes to retrieval",
            "not reached" if reached is None else f"{reached:.2f}",
        ),
    ]
    for name in ("identity_transfer", "retrieval", "expression_error", "sharpness"):
        both = (format_number(swaps[name]) for swaps in (result.a_to_b, result.b_to_a))
        rows.append((name.replace("_", " "), "A to B {}, B to A {}".format(*both)))
    for name in ("mae", "psnr", "ssim", "cos_to_self"):
        both = (format_number(side[name]) for side in (result.a, result.b))
        rows.append((name.replace("_", " "), "A {}, B {}".format(*both)))
    rows += [
        ("judged faces", f"A {result.a['faces']:g}, B {result.b['faces']:g}, held out"),
        ("plot", str(Path(result.out) / PLOT_NAME)),
        ("device", f"{machine.device}, {machine.cores} cores"),
        ("commit", format_number(machine.commit)),
        ("command", machine.command),
        ("versions", versions),
    ]
    return f"{format_curve(result.curve)}\n\n{format_rows(rows)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
