"""The judge: figures of redrawn faces against the real faces of both people.

A figure that is not measured is NaN. How much is measured is up to the judge: one
without a landmarker judges quickly, by few embeddings.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from deepfake_jax.evaluation.drawn_detail import (
    artefacts,
    drawn_sharpness,
    finest_correlation,
)
from deepfake_jax.evaluation.expression import measure_expression
from deepfake_jax.evaluation.fidelity import measure_detail, measure_reconstruction
from deepfake_jax.evaluation.following import FEWEST, PartFollowing, measure_following
from deepfake_jax.evaluation.pasted import paste_swaps
from deepfake_jax.evaluation.real_faces import (
    Crops,
    Judge,
    RealFaces,
    Sample,
    compare,
    embed_faces,
    put_back,
    watch_faces,
)
from deepfake_jax.evaluation.redraw import redraw_error, redraw_likeness
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.types import SIDES, Side

# Of a quick judge: SFace takes 50 ms a face on one core, six times all the rest.
QUICK_EMBEDDINGS = 16


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
        detail_correlation: see `drawn_detail.finest_correlation`; higher is better.
        cos_to_self: mean cosine of redrawn faces to the person's centroid; higher is
            better, up to that of the real faces.
        cos_of_real: the same of the real faces.
    """

    faces: int
    held_out: bool
    mae: float
    psnr: float
    ssim: float
    detail_correlation: float = math.nan
    cos_to_self: float = math.nan
    cos_of_real: float = math.nan


@dataclass(frozen=True)
class SwapFigures:
    """How good swaps of one direction are, as the network itself draws them.

    Attributes:
        identity_transfer: see `Likeness`, as the three after it.
        cos_to_target: likewise.
        cos_to_source: likewise.
        retrieval: likewise.
        expression_error: see `Expression`, as the three after it.
        motion_error: likewise.
        mouth_error: likewise.
        pose_error: likewise.
        following: see `following.Following`, as the three after it.
        following_extent: likewise.
        closed_kept: likewise; NaN where no source has its eyes closed.
        following_parts: correlation and slope of each part that the sources move.
        sharpness: see `fidelity.sharpness`.
        drawn_sharpness: see `drawn_detail.drawn_sharpness`.
        redraw_likeness: see `redraw.redraw_likeness`, by the target's own network.
        artefacts: see `drawn_detail.artefacts`.
        leak: see `pasted.measure_leak`, of the default mask.
        tint: see `pasted.measure_tint`, of the default color and mask.
        pasted_transfer: identity transfer of the source's pictures with the swap pasted
            by the default color and mask: what a conversion shows. Forehead, hair and
            ears stay the source's; higher is better.
    """

    identity_transfer: float = math.nan
    cos_to_target: float = math.nan
    cos_to_source: float = math.nan
    retrieval: float = math.nan
    expression_error: float = math.nan
    motion_error: float = math.nan
    mouth_error: float = math.nan
    pose_error: float = math.nan
    following: float = math.nan
    following_extent: float = math.nan
    closed_kept: float = math.nan
    following_parts: dict[str, PartFollowing] = field(default_factory=dict)
    sharpness: float = math.nan
    drawn_sharpness: float = math.nan
    redraw_likeness: float = math.nan
    artefacts: float = math.nan
    leak: float = math.nan
    tint: float = math.nan
    pasted_transfer: float = math.nan


@dataclass(frozen=True)
class FaceFigures:
    """The figures of a run's faces.

    Attributes:
        step: of the parameters that were judged.
        a: how well A is redrawn.
        b: how well B is redrawn.
        a_to_b: A's faces as B.
        b_to_a: B's faces as A.
    """

    step: int
    a: SideFigures
    b: SideFigures
    a_to_b: SwapFigures
    b_to_a: SwapFigures


def evaluate_faces(
    judge: Judge, real: Mapping[Side, RealFaces], run: TrainedRun
) -> FaceFigures:
    """The figures of A, of B, of A as B, and of B as A.

    Args:
        judge: the one that `real` was prepared for.
        real: faces of both people.
        run: whose swaps are judged.

    Raises:
        ValueError: both sides show one person.
    """
    redrawn: dict[Side, Crops] = {
        side: draw_crops(run, real, side, side) for side in SIDES
    }
    return FaceFigures(
        step=run.step,
        a=_judge_side(judge, real["a"], redrawn["a"]),
        b=_judge_side(judge, real["b"], redrawn["b"]),
        a_to_b=_judge_swaps(judge, real, redrawn, run, "a", "b"),
        b_to_a=_judge_swaps(judge, real, redrawn, run, "b", "a"),
    )


def draw_crops(
    run: TrainedRun,
    real: Mapping[Side, RealFaces],
    side: Side,
    to: Side,
) -> Crops:
    """One side's crops as a run's network draws them.

    Args:
        run: whose network.
        real: faces of both people.
        side: whose crops.
        to: by whose decoder.
    """
    return _round_levels(_draw_levels(run, real[side].crops, side, to))


def _draw_levels(
    run: TrainedRun, crops: Crops, side: Side, to: Side
) -> Float32[np.ndarray, "k size size c"]:
    """The same not rounded, with the mask that it draws: see `Swapper.draw_levels`."""
    swapper = make_swapper(run.model, run.params, to=to, source=side)
    return swapper.draw_levels(crops)


def _round_levels(answers: Float32[np.ndarray, "k size size c"]) -> Crops:
    """What is seen of a network's answers, uint8."""
    return np.rint(answers[..., :3]).astype(np.uint8)


def _judge_side(judge: Judge, own: RealFaces, redrawn: Crops) -> SideFigures:
    """The figures of one side: its crops, redrawn as itself."""
    figures = SideFigures(
        len(redrawn),
        own.sample.held_out,
        **vars(measure_reconstruction(redrawn, own.crops)),
        detail_correlation=finest_correlation(redrawn, own.crops),
    )
    if judge.embed is None or judge.landmarker is None:
        return figures
    found = embed_faces(judge.embed, put_back(own.sample.faces, redrawn), own.sample)
    return replace(
        figures,
        cos_to_self=float((found @ own.centroid).mean()),
        cos_of_real=float((own.embeddings @ own.centroid).mean()),
    )


def _judge_swaps(
    judge: Judge,
    real: Mapping[Side, RealFaces],
    redrawn: Mapping[Side, Crops],
    run: TrainedRun,
    side: Side,
    to: Side,
) -> SwapFigures:
    """The figures of one direction: the source's crops, redrawn as the target."""
    source, target = real[side], real[to]
    answers = _draw_levels(run, source.crops, side, to)
    swapped = _round_levels(answers)
    shown = put_back(source.sample.faces, swapped)
    figures = SwapFigures()
    if target.detail > 0:  # else the real faces are flat
        figures = SwapFigures(
            sharpness=measure_detail(swapped) / target.detail,
            drawn_sharpness=drawn_sharpness(swapped, target.crops),
        )
    if target.sample.has_68 and source.sample.has_68:
        again = _round_levels(_draw_levels(run, swapped, to, to))
        alike = redraw_likeness(
            redraw_error(swapped, again, source.sample.landmarks),
            redraw_error(target.crops, redrawn[to], target.sample.landmarks),
        )
        figures = replace(figures, redraw_likeness=alike)
    if judge.embed is not None:
        quick = judge.landmarker is None
        every = -(-len(swapped) // QUICK_EMBEDDINGS) if quick else 1
        few = _thin(source, every)
        found = embed_faces(judge.embed, shown[::every], few.sample)
        figures = replace(figures, **vars(compare(found, few, target)))
    if source.motion and len(shown) >= FEWEST:
        assert judge.read_motion is not None
        motion = judge.read_motion(shown, source.sample.landmarks)
        followed = measure_following(motion, source.motion)
        kept = followed.closed_kept
        figures = replace(
            figures,
            following=followed.following,
            following_extent=followed.extent,
            closed_kept=math.nan if kept is None else kept,
            following_parts=followed.parts,
        )
    if judge.landmarker is None:
        return figures
    landmarks = watch_faces(judge.landmarker, shown, source.sample)
    expression = measure_expression(landmarks, source.landmarks)
    if len(target.crops) > 1:
        rng = np.random.default_rng(0)
        figures = replace(figures, artefacts=artefacts(rng, swapped, target.crops))
    glasses = run.facts.kept_glasses(side)
    pasted = paste_swaps(answers, source.crops, source.landmarks, glasses)
    if judge.embed is not None:
        shown = put_back(source.sample.faces, pasted.crops)
        found = embed_faces(judge.embed, shown, source.sample)
        likeness = compare(found, source, target)
        figures = replace(figures, pasted_transfer=likeness.identity_transfer)
    return replace(figures, **vars(expression), leak=pasted.leak, tint=pasted.tint)


def _thin(real: RealFaces, every: int) -> RealFaces:
    """Each `every`-th face, for identity alone."""
    sample = real.sample
    few = Sample(sample.faces[::every], sample.landmarks[::every])
    return replace(real, sample=few, embeddings=real.embeddings[::every])
