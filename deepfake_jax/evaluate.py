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

from deepfake_jax.align import crop_faces
from deepfake_jax.clip import ClipFigures, measure_clip
from deepfake_jax.expression import (
    Expression,
    measure_expression,
)
from deepfake_jax.faceset import FaceSet, load_faces
from deepfake_jax.fidelity import measure_reconstruction, sharpness
from deepfake_jax.holdout import Split, find_held
from deepfake_jax.identity import (
    Embedding,
    mean_embedding,
)
from deepfake_jax.judge import Crops, Faces, Judge, Sample, pick_sample, put_back
from deepfake_jax.likeness import (
    Embeddings,
    measure_likeness,
)
from deepfake_jax.models.autoencoder import Side
from deepfake_jax.run import TrainedRun, load_run
from deepfake_jax.swap import make_swapper

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
    """How good swaps of one direction are: `Likeness`, `Expression`, `sharpness`."""

    identity_transfer: float
    cos_to_target: float
    cos_to_source: float
    retrieval: float
    expression_error: float
    motion_error: float
    mouth_error: float
    gaze_error: float
    pose_error: float
    sharpness: float


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
    a: str | Path,
    b: str | Path,
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
        a: face set of A.
        b: face set of B.
        clip: a video to swap, for seam and flicker.
        most_faces: how many faces of a set are judged, evenly over its record.
        checkpoint: of the run.

    Raises:
        RunError, CheckpointError: the run cannot be used.
        FaceSetError: a set cannot be used.
        AssetError: the judging networks' weights cannot be had.
    """
    trained = load_run(run, checkpoint=checkpoint)
    sets: dict[Side, FaceSet] = {
        "a": load_faces(a, min_faces=1),
        "b": load_faces(b, min_faces=1),
    }
    splits: dict[Side, Split] = {
        side: find_held(Path(run), side, faces.records) for side, faces in sets.items()
    }
    found = evaluate_sets(trained, sets, splits, Judge(), most_faces=most_faces)
    figures = None if clip is None else measure_clip(clip, trained)
    return replace(found, clip=figures)


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
    samples: dict[Side, Sample] = {}
    centroids: dict[Side, Embedding] = {}
    for side, faces in sets.items():
        shift = trained.color_shift if side == "a" else np.zeros(3)
        split = splits[side]
        held = pick_sample(faces, split.held, most_faces, shift=shift)
        rest = pick_sample(faces, split.train, most_faces, shift=shift)
        samples[side] = replace(held, held_out=True) if len(held.faces) else rest
        known = rest if len(rest.faces) else held
        crops = crop_faces(known.faces, trained.model.face_size)
        embedded = judge.embed(known, put_back(known.faces, crops))
        centroids[side] = mean_embedding(embedded)
    a, b = samples["a"], samples["b"]
    found = evaluate_samples(trained, a, b, judge, centroids=centroids)
    return Evaluation(trained.step, *found)


def evaluate_samples(
    trained: TrainedRun,
    a: Sample,
    b: Sample,
    judge: Judge,
    *,
    centroids: Mapping[Side, Embedding] | None = None,
) -> tuple[SideFigures, SideFigures, SwapFigures, SwapFigures]:
    """The figures of A, of B, of A as B, and of B as A.

    Args:
        trained: the run.
        a: A's faces, in the network's colors.
        b: B's.
        judge: the judging networks.
        centroids: of the real faces of "a" and "b"; of the samples themselves if None,
            which flatters the real faces of a small sample.
    """
    size = trained.model.face_size
    sample: dict[Side, Sample] = {"a": a, "b": b}
    draw = {to: make_swapper(trained.model, trained.params, to=to) for to in sample}
    crops = {side: crop_faces(s.faces, size) for side, s in sample.items()}
    real: dict[Side, Embeddings] = {
        side: judge.embed(s, put_back(s.faces, crops[side]))
        for side, s in sample.items()
    }
    if centroids is None:
        centroids = {side: mean_embedding(found) for side, found in real.items()}
    sides: list[SideFigures] = []
    for side in sample:
        redrawn = draw[side](crops[side])
        error = measure_reconstruction(redrawn, crops[side])
        found = judge.embed(sample[side], put_back(sample[side].faces, redrawn))
        sides.append(
            SideFigures(
                faces=len(redrawn),
                held_out=sample[side].held_out,
                mae=error.mae,
                psnr=error.psnr,
                ssim=error.ssim,
                cos_to_self=float((found @ centroids[side]).mean()),
                cos_of_real=float((real[side] @ centroids[side]).mean()),
            )
        )
    swaps: list[SwapFigures] = []
    directions: list[tuple[Side, Side]] = [("a", "b"), ("b", "a")]
    for side, to in directions:
        swapped = draw[to](crops[side])
        shown = put_back(sample[side].faces, swapped)
        likeness = measure_likeness(
            judge.embed(sample[side], shown),
            real[side],
            real[to],
            source=centroids[side],
            target=centroids[to],
        )
        expression = _compare_expressions(judge, sample[side], crops[side], shown)
        fine = sharpness(swapped, crops[to])
        swaps.append(SwapFigures(**vars(likeness), **vars(expression), sharpness=fine))
    return sides[0], sides[1], swaps[0], swaps[1]


def _compare_expressions(
    judge: Judge, sample: Sample, crops: Crops, shown: Faces
) -> Expression:
    source, source_gaze = judge.watch(sample, put_back(sample.faces, crops))
    swapped, swapped_gaze = judge.watch(sample, shown)
    return measure_expression(
        swapped, source, swapped_gaze=swapped_gaze, source_gaze=source_gaze
    )


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
            f"expression error {swap.expression_error:.3f}, sharpness "
            f"{swap.sharpness:.2f}"
        )
    if evaluation.clip is not None:
        clip = evaluation.clip
        flicker = "" if clip.flicker is None else f", flicker {clip.flicker:.2f}"
        lines.append(f"clip: seam {clip.seam:.2f} Delta E{flicker}")
    return "\n".join(lines)
