"""How good a run's swaps are: the figures of both directions, on faces of both people.

Everything is compared in the colors that the network saw in training, so A's faces have
B's mean color where the run matches colors. A crop that the network redrew is put back
into its source's face picture before it is embedded or its landmarks are looked for,
with a narrow soft border. Real faces that it is compared with take the same way,
reduced to the network's resolution and put back: so a swap that is as good as B's own
face scores 1 with a network of any size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from deepfake_jax.evaluation.clip_figures import ClipFigures, measure_clip
from deepfake_jax.evaluation.expression import measure_expression
from deepfake_jax.evaluation.fidelity import measure_reconstruction, sharpness
from deepfake_jax.evaluation.judge import (
    Crops,
    Judge,
    RealFaces,
    Sample,
    pick_sample,
    put_back,
)
from deepfake_jax.evaluation.likeness import measure_likeness
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.runs.held_out import Split, find_held
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.types import Side

MOST_FACES = 120  # a side; more change the figures by less than their spread


@dataclass(frozen=True)
class SideFigures:
    """How well one person's faces are redrawn as themselves.

    Attributes:
        faces: how many were judged.
        held_out: whether the run recorded them as held out of its training. If not,
            they are all the set's faces, and may have been trained on.
        mae: see `fidelity.Reconstruction`; lower is better.
        psnr: likewise, dB; higher is better.
        ssim: likewise; higher is better.
        cos_to_self: mean cosine of redrawn faces to the person's centroid; higher is
            better, up to that of the real faces.
        cos_of_real: the same of the real faces.
    """

    faces: int
    held_out: bool
    mae: float
    psnr: float
    ssim: float
    cos_to_self: float
    cos_of_real: float


@dataclass(frozen=True)
class SwapFigures:
    """How good swaps of one direction are: `Likeness`, `Expression`, `sharpness`.

    Swaps have the detail of exemplars and their own matched, as `convert` does both
    unless told otherwise; `drawn_sharpness` is that of the same faces as the network
    draws them.
    """

    identity_transfer: float
    cos_to_target: float
    cos_to_source: float
    retrieval: float
    expression_error: float
    motion_error: float
    following: float
    mouth_error: float
    gaze_error: float
    pose_error: float
    sharpness: float
    drawn_sharpness: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run.

    Attributes:
        step: of the parameters that were judged.
        a: how well A is redrawn.
        b: how well B is redrawn.
        a_to_b: A's faces as B.
        b_to_a: B's faces as A.
        clip: of a swapped clip; None where none was asked for.
    """

    step: int
    a: SideFigures
    b: SideFigures
    a_to_b: SwapFigures
    b_to_a: SwapFigures
    clip: ClipFigures | None = None


def evaluate(
    run: str | Path,
    a: str | Path | None = None,
    b: str | Path | None = None,
    *,
    clip: str | Path | None = None,
    most_faces: int = MOST_FACES,
    checkpoint: Literal["last", "best"] = "last",
) -> Evaluation:
    """Judges a run on two face sets and, if asked, on a clip.

    Faces that the run recorded as held out are judged, else all. Those that it was
    trained on flatter it.

    Args:
        run: folder of a training run.
        a: face set of A; that which the run was trained on if None.
        b: face set of B; likewise.
        clip: a video to swap, for seam and flicker.
        most_faces: how many faces of a set are judged, evenly over its record.
        checkpoint: of the run.

    Raises:
        RunError, CheckpointError: the run cannot be used.
        FaceSetError: a set cannot be used, or is not where the run remembers it.
        AssetError: the judging networks' weights cannot be had.
    """
    trained = load_run(run, checkpoint=checkpoint)
    folder = Path(run)
    sets: dict[Side, FaceSet] = {
        "a": load_faces(find_set(folder, "a") if a is None else a),
        "b": load_faces(find_set(folder, "b") if b is None else b),
    }
    splits = find_splits(folder, sets)
    found = evaluate_sets(trained, sets, splits, Judge(), most_faces=most_faces)
    figures = None if clip is None else measure_clip(clip, trained)
    return replace(found, clip=figures)


def find_splits(run: Path, sets: Mapping[Side, FaceSet]) -> dict[Side, Split]:
    """Which faces of two sets a run recorded as held out."""
    return {side: find_held(run, side, faces.records) for side, faces in sets.items()}


def evaluate_sets(
    trained: TrainedRun,
    sets: Mapping[Side, FaceSet],
    splits: Mapping[Side, Split],
    judge: Judge,
    *,
    most_faces: int = MOST_FACES,
) -> Evaluation:
    """Judges a run on the held-out faces of two sets, or on all of a set without any.

    A person's centroid is that of other faces than are judged, where there are some: a
    face is always near to a centroid that it is a part of.
    """
    real = find_real(trained, sets, splits, judge, most_faces=most_faces)
    return evaluate_real(trained, real, judge)


def find_real(
    trained: TrainedRun,
    sets: Mapping[Side, FaceSet],
    splits: Mapping[Side, Split],
    judge: Judge,
    *,
    most_faces: int = MOST_FACES,
) -> dict[Side, RealFaces]:
    """The faces that `evaluate_sets` judges by; the same at every step of a run."""
    found: dict[Side, RealFaces] = {}
    for side, faces in sets.items():
        shift = trained.facts.shift if side == "a" else np.zeros(3)
        split = splits[side]
        held = pick_sample(faces, split.held, most_faces, shift=shift)
        rest = pick_sample(faces, split.train, most_faces, shift=shift)
        sample = replace(held, held_out=True) if len(held.faces) else rest
        known = rest if len(held.faces) and len(rest.faces) else None
        size = trained.model.crop_size
        found[side] = judge.look_at_real(sample, size, known=known)
    return found


def evaluate_samples(
    trained: TrainedRun, a: Sample, b: Sample, judge: Judge
) -> Evaluation:
    """As `evaluate_real`, of faces in the network's colors; they are their centroids'.

    That flatters the real faces of a small sample.
    """
    size = trained.model.crop_size
    real: dict[Side, RealFaces] = {
        "a": judge.look_at_real(a, size),
        "b": judge.look_at_real(b, size),
    }
    return evaluate_real(trained, real, judge)


def evaluate_real(
    trained: TrainedRun, real: Mapping[Side, RealFaces], judge: Judge
) -> Evaluation:
    """The figures of A, of B, of A as B, and of B as A.

    Raises:
        ValueError: both sides show one person.
    """

    def draw(side: Side, to: Side, *, finished: bool = False) -> Crops:
        swapper = make_swapper(
            trained.model,
            trained.params,
            to=to,
            source=side,
            energies=trained.facts.energies.get(to) if finished else None,
            exemplars=finished,
        )
        return swapper(real[side].crops, real[side].sample.landmarks)

    def judge_swaps(side: Side, to: Side) -> SwapFigures:
        swapped = draw(side, to, finished=True)
        figures = _judge_swaps(swapped, real[side], real[to], judge)
        drawn = sharpness(draw(side, to), real[to].crops)
        return replace(figures, drawn_sharpness=drawn)

    sides: dict[Side, SideFigures] = {}
    for side, own in real.items():
        redrawn = draw(side, side)
        error = measure_reconstruction(redrawn, own.crops)
        found = judge.embed(own.sample, put_back(own.sample.faces, redrawn))
        sides[side] = SideFigures(
            faces=len(redrawn),
            held_out=own.sample.held_out,
            mae=error.mae,
            psnr=error.psnr,
            ssim=error.ssim,
            cos_to_self=float((found @ own.centroid).mean()),
            cos_of_real=float((own.embeddings @ own.centroid).mean()),
        )
    return Evaluation(
        step=trained.step,
        a=sides["a"],
        b=sides["b"],
        a_to_b=judge_swaps("a", "b"),
        b_to_a=judge_swaps("b", "a"),
    )


def _judge_swaps(
    swapped: Crops, source: RealFaces, target: RealFaces, judge: Judge
) -> SwapFigures:
    """The figures of one direction: the source's crops, redrawn as the target."""
    shown = put_back(source.sample.faces, swapped)
    likeness = measure_likeness(
        judge.embed(source.sample, shown),
        source.embeddings,
        target.embeddings,
        source=source.centroid,
        target=target.centroid,
    )
    points, gazes = judge.watch(source.sample, shown)
    expression = measure_expression(
        points, source.points, swapped_gaze=gazes, source_gaze=source.gazes
    )
    fine = sharpness(swapped, target.crops)
    figures = vars(likeness) | vars(expression)
    return SwapFigures(**figures, sharpness=fine, drawn_sharpness=fine)


def describe(evaluation: Evaluation) -> str:
    """The figures as a few lines to read."""
    lines = [f"step {evaluation.step}"]
    for name, side in (("A", evaluation.a), ("B", evaluation.b)):
        seen = " held out" if side.held_out else ", maybe trained on"
        lines.append(
            f"{name} redrawn: MAE {side.mae:.4f}, PSNR {side.psnr:.1f} dB, SSIM "
            f"{side.ssim:.3f}, cosine to {name} {side.cos_to_self:.2f} (real faces "
            f"{side.cos_of_real:.2f}); {side.faces} faces{seen}"
        )
    for name, swap in (("A to B", evaluation.a_to_b), ("B to A", evaluation.b_to_a)):
        lines.append(
            f"{name}: identity transfer {swap.identity_transfer:.2f}, cosine "
            f"{swap.cos_to_target:.2f}, nearer to the target {swap.retrieval:.0%}, "
            f"expression error {swap.expression_error:.3f}, following "
            f"{swap.following:.2f}, sharpness "
            f"{swap.sharpness:.2f} (as drawn {swap.drawn_sharpness:.2f})"
        )
    if evaluation.clip is not None:
        clip = evaluation.clip
        flicker = "" if clip.flicker is None else f", flicker {clip.flicker:.2f}"
        lines.append(f"clip: seam {clip.seam:.2f} Delta E{flicker}")
    return "\n".join(lines)
