"""How good a run's swaps are: figures of both directions and of a clip, as text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepfake_jax.evaluation.flicker import ClipFigures
from deepfake_jax.evaluation.judge import FaceFigures, SwapFigures, evaluate_faces
from deepfake_jax.evaluation.real_faces import MOST_FACES, load_judge, prepare_sets
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.progress import count
from deepfake_jax.runs.held_out import Split, find_held
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.types import SIDES, Side


@dataclass(frozen=True)
class Evaluation(FaceFigures):
    """The figures of a run: its faces', and a clip's.

    Attributes:
        clip: of a swapped clip; None where none was asked for.
    """

    clip: ClipFigures | None = None


def evaluate(
    run: str | Path,
    a: str | Path | None = None,
    b: str | Path | None = None,
    *,
    clip: str | Path | None = None,
    most_faces: int = MOST_FACES,
    checkpoint: Literal["last", "best"] = "last",
    faces: Literal["held-out", "trained"] = "held-out",
) -> Evaluation:
    """Judges a run on two face sets and, if asked, on a clip.

    Faces that the run recorded as held out are judged, else all. Those that it was
    trained on flatter it; they are what is converted where the footage is the same.

    Args:
        run: folder of a training run.
        a: face set of A; that which the run was trained on if None.
        b: face set of B; likewise.
        clip: a video to swap, for seam and flicker.
        most_faces: how many faces of a set are judged, evenly over its record.
        checkpoint: of the run.
        faces: which ones to judge.

    Raises:
        RunError, CheckpointError: the run cannot be used.
        FaceSetError: a set cannot be used, or is not where the run remembers it.
        AssetError: the judging networks' weights cannot be had.
    """
    trained = load_run(run, checkpoint=checkpoint)
    folder = Path(run)
    sets: dict[Side, FaceSet] = {
        side: load_faces(find_set(folder, side) if given is None else given)
        for side, given in zip(SIDES, (a, b), strict=True)
    }
    judge = load_judge()
    real = prepare_sets(
        judge,
        sets,
        find_splits(folder, sets),
        crop_size=trained.model.crop_size,
        shift=trained.facts.shift,
        most_faces=most_faces,
        trained=faces == "trained",
    )
    found = evaluate_faces(judge, real, trained)
    return Evaluation(**vars(found), clip=_watch(clip, trained))


def _watch(clip: str | Path | None, trained: TrainedRun) -> ClipFigures | None:
    if clip is None:
        return None
    # Here, so that faces alone are judged where no video can be read.
    from deepfake_jax.evaluation.clip_figures import measure_clip

    return measure_clip(clip, trained)


def find_splits(run: Path, sets: Mapping[Side, FaceSet]) -> dict[Side, Split]:
    """Which faces of two sets a run recorded as held out."""
    return {side: find_held(run, side, faces.records) for side, faces in sets.items()}


def describe(evaluation: Evaluation) -> str:
    """The figures as a few lines to read."""
    lines = [f"step {evaluation.step}"]
    for name, side in (("A", evaluation.a), ("B", evaluation.b)):
        seen = " held out" if side.held_out else ", maybe trained on"
        lines.append(
            f"{name} redrawn: MAE {side.mae:.4f}, PSNR {side.psnr:.1f} dB, SSIM "
            f"{side.ssim:.3f}, cosine to {name} {side.cos_to_self:.2f} (real faces "
            f"{side.cos_of_real:.2f}); {count(side.faces, 'face')}{seen}"
        )
    for name, swap in (("A to B", evaluation.a_to_b), ("B to A", evaluation.b_to_a)):
        lines.append(f"{name}: {_describe_swaps(swap)}")
        if parts := swap.following_parts:
            told = (
                f"{n.replace('_', ' ')} {p.correlation:.2f} x{p.slope:.1f}"
                for n, p in parts.items()
            )
            lines.append(f"  follows (correlation x slope): {', '.join(told)}")
    if evaluation.clip is not None:
        clip = evaluation.clip
        flicker = "" if clip.flicker is None else f", flicker {clip.flicker:.2f}"
        lines.append(f"clip: seam {clip.seam:.2f} Delta E{flicker}")
    return "\n".join(lines)


def _describe_swaps(swap: SwapFigures) -> str:
    closed = (
        ""
        if math.isnan(swap.closed_kept)
        else (f" ({swap.closed_kept:.0%} of closed eyes kept)")
    )
    return (
        f"identity transfer {swap.identity_transfer:.2f} (pasted "
        f"{swap.pasted_transfer:.2f}), nearer to the target {swap.retrieval:.0%}, "
        f"following {swap.following:.2f}{closed}, drawn sharpness "
        f"{swap.drawn_sharpness:.2f}, redrawn alike {swap.redraw_likeness:.2f}, "
        f"artefacts {swap.artefacts:.1f}, leak {swap.leak:.1%}, tint {swap.tint:.1f}"
    )
