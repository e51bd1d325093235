"""A student against its teacher, and against its own network trained without one.

The student learns for some minutes, then the same network alone takes as many steps on
the same faces, and all three are judged on the faces that the teacher held out, as
`evaluate` does.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.benchmarks.quality_curve import keep_numbers
from deepfake_jax.benchmarks.quality_request import QualityError
from deepfake_jax.evaluation.evaluate import find_splits
from deepfake_jax.evaluation.judge import FaceFigures, evaluate_faces
from deepfake_jax.evaluation.real_faces import RealFaces, load_judge, prepare_sets
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.models.network import count_parameters
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.run_folder import read_run_config
from deepfake_jax.runs.swapper import Swapper, make_swapper
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.distillation import distill, student_config
from deepfake_jax.training.loop import TrainResult, train
from deepfake_jax.types import SIDES, Side


@dataclass(frozen=True)
class Contestant:
    """One of the runs that are compared; figures are means of both directions.

    Attributes:
        parameters: of encoder and both decoders.
        size_mb: of all that a swap reads, in float32, 1e6 bytes.
        minutes: of training; None of the teacher.
        step: updates.
        identity_transfer: see `likeness.Likeness`.
        retrieval: of the worse direction.
        expression_error: see `expression.Expression`.
        following: likewise.
        sharpness: see `fidelity.sharpness`.
        faces_per_second: swapped as `convert` does, all but finding and pasting them.
        a_to_b: all figures of A's faces as B; see `judge.SwapFigures`.
        b_to_a: of B's faces as A.
    """

    parameters: int
    size_mb: float
    minutes: float | None
    step: int
    identity_transfer: float
    retrieval: float
    expression_error: float
    following: float
    sharpness: float
    faces_per_second: float
    a_to_b: dict[str, float]
    b_to_a: dict[str, float]


@dataclass(frozen=True)
class DistillFigures:
    """What `measure_distill` found.

    Attributes:
        share_of_transfer: the student's identity transfer over the teacher's.
        share_of_size: of `size_mb`, likewise.
        alone_share: as `share_of_transfer`, of the network trained alone.
        teacher: the run to learn from.
        student: who learned from it.
        alone: the same network, as many steps without it.
        out: folder of both runs.
        machine: where.
    """

    share_of_transfer: float
    share_of_size: float
    alone_share: float
    teacher: Contestant
    student: Contestant
    alone: Contestant
    out: str
    machine: Machine


def measure_distill(
    teacher: Path,
    out: Path,
    config: TrainConfig,
    *,
    minutes: float,
    width: int | None = None,
    rounds: int = 5,
    devices: int = 1,
) -> DistillFigures:
    """Trains ``out/student`` and ``out/alone``, and judges them and the teacher.

    The same call goes on with one that was interrupted.

    Args:
        teacher: folder of the trained run; it must have held out faces of both sides.
        out: folder of the two runs.
        config: of the network alone; that of the student follows from it.
        minutes: of the student's training.
        width: of both; None takes the widest of a tenth of the teacher's parameters.
        rounds: of timing; the median counts.
        devices: to train on.

    Raises:
        QualityError: the teacher held out no faces, or a signal ended the training.
        FaceSetError, AssetError, ConfigError, RunError, CheckpointError, TrainingError:
            as of distilling, training and judging.
    """
    machine = describe_machine()
    judge = load_judge()
    taught = load_run(teacher)
    folders = {side: find_set(teacher, side) for side in SIDES}
    sets: dict[Side, FaceSet] = {side: load_faces(folders[side]) for side in SIDES}
    splits = find_splits(teacher, sets)
    if not all(len(split.held) for split in splits.values()):
        raise QualityError(
            f"{teacher} held out no faces to compare by; train a teacher with a "
            "--holdout above 0"
        )
    small = student_config(taught, config, width=width)
    small = replace(small, steps=None, minutes=minutes)
    student = distill(teacher, out / "student", small, devices=devices)
    _check_end(student)
    same = _match_student(config, small.model.width, student.step, teacher)
    a, b = folders["a"], folders["b"]
    alone = train(a, b, out / "alone", same, devices=devices)
    _check_end(alone)
    size, shift = taught.model.crop_size, taught.facts.shift
    real = prepare_sets(judge, sets, splits, crop_size=size, shift=shift)
    runs = [taught, load_run(out / "student"), load_run(out / "alone")]
    rates = _time_swaps([make_finished(run) for run in runs], real, rounds)
    times = [None, student.seconds / 60, alone.seconds / 60]
    found = [
        _describe(run, evaluate_faces(judge, real, run), rate, spent)
        for run, rate, spent in zip(runs, rates, times, strict=True)
    ]
    transfers = [each.identity_transfer for each in found]
    return DistillFigures(
        share_of_transfer=transfers[1] / transfers[0],
        share_of_size=found[1].size_mb / found[0].size_mb,
        alone_share=transfers[2] / transfers[0],
        teacher=found[0],
        student=found[1],
        alone=found[2],
        out=str(out),
        machine=machine,
    )


def _match_student(
    config: TrainConfig, width: int, steps: int, teacher: Path
) -> TrainConfig:
    """What trains the student's network alone as long, on the same faces.

    The same faces are held out as of the teacher, and the same drawn for a step.
    """
    known = read_run_config(teacher) or TrainConfig()
    return replace(
        config,
        model=replace(config.model, width=width),
        steps=steps,
        minutes=None,
        holdout=known.holdout,
        seed=known.seed,
    )


def _check_end(result: TrainResult) -> None:
    if result.interrupted:
        raise QualityError(
            f"{result.interrupted} after {result.seconds / 60:.1f} minutes of "
            "training; the same command goes on from there"
        )


def make_finished(run: TrainedRun) -> Swapper:
    """A run's swapper of A's faces as B, as `convert` uses it."""
    return make_swapper(run.model, run.params, to="b", source="a")


def _time_swaps(
    swappers: list[Swapper], real: Mapping[Side, RealFaces], rounds: int
) -> list[float]:
    """Faces a second of each, in turns, medians; compilation is apart."""
    crops = real["a"].crops
    seconds: list[list[float]] = [[] for _ in swappers]
    for number in range(rounds + 1):
        for times, swapper in zip(seconds, swappers, strict=True):
            start = time.perf_counter()
            swapper(crops)
            if number:
                times.append(time.perf_counter() - start)
    return [len(crops) / statistics.median(times) for times in seconds]


def _describe(
    run: TrainedRun, found: FaceFigures, rate: float, minutes: float | None
) -> Contestant:
    both = [keep_numbers(vars(found.a_to_b)), keep_numbers(vars(found.b_to_a))]

    def mean(name: str) -> float:
        return statistics.mean(swaps[name] for swaps in both)

    return Contestant(
        parameters=count_parameters(run.params.network),
        size_mb=sum(leaf.nbytes for leaf in jax.tree.leaves(run.params)) / 1e6,
        minutes=minutes,
        step=run.step,
        identity_transfer=mean("identity_transfer"),
        retrieval=min(swaps["retrieval"] for swaps in both),
        expression_error=mean("expression_error"),
        following=mean("following"),
        sharpness=mean("sharpness"),
        faces_per_second=rate,
        a_to_b=both[0],
        b_to_a=both[1],
    )
