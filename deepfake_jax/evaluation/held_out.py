"""Cheap figures of a run while it trains, on faces that were held out of it.

As `evaluate` measures them, on fewer faces. Identity and following are measured where
the weights for that are on this machine already; nothing is fetched.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from deepfake_jax.evaluation.following import MotionReader, make_motion_reader
from deepfake_jax.evaluation.judge import draw_crops, evaluate_faces
from deepfake_jax.evaluation.real_faces import Judge, RealFaces, prepare_sets
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.faces.identity import CropEmbedder, make_crop_embedder
from deepfake_jax.faces.pinned_files import AssetError, choose_asset, find_asset
from deepfake_jax.faces.weights import WEIGHTS
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import SwapParams
from deepfake_jax.runs.held_out import Split
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.types import DIRECTIONS, SIDES, Side

MOST_FACES = 32  # a side: one batch of the swapper
_log = logging.getLogger("deepfake_jax")
# One hundredth of the range of a channel, of the mean absolute error, weighs as much as
# a twentieth of the way from one person to the other: enough that a decoder that always
# draws one good face of the target (error 0.1 and more) is never the best.
ERROR_WEIGHT = 5.0
_SHARPNESS_POWER = 0.15  # soft is bad, and the eye forgives it sooner than the others
_OF_SIDES = ("mae", "psnr", "ssim")
_OF_SWAPS = (
    "sharpness",
    "drawn_sharpness",
    "identity_transfer",
    "cos_to_target",
    "following",
    "following_extent",
    "redraw_likeness",
)


@dataclass(frozen=True, eq=False)
class Gauge:
    """Measures parameters on up to `MOST_FACES` held-out faces a side.

    Nothing is loaded before the first measurement.

    Attributes:
        model: the network.
        sets: of both sides, in their own colors.
        splits: what was held out of each; both sides must have some.
        facts: of the run.
    """

    model: Autoencoder
    sets: Mapping[Side, FaceSet]
    splits: Mapping[Side, Split]
    facts: RunFacts

    def __post_init__(self) -> None:
        """Raises ValueError where a side has no held-out face."""
        if not all(len(split.held) for split in self.splits.values()):
            raise ValueError("splits must hold out a face or more of each side")

    def warm_up(self, params: SwapParams) -> None:
        """Does what only the first measurement has to do, so that others can be timed.

        Args:
            params: any of the network.
        """
        _, real = self._prepared
        for to in SIDES:
            for side in SIDES:
                draw_crops(self._run(params), real, side, to)

    def measure(self, params: SwapParams) -> dict[str, float]:
        """The figures; all but the errors are better the higher they are.

        Returns:
            Per side ``mae_a``, ``psnr_a``, ``ssim_a`` (see `fidelity.Reconstruction`);
            per direction ``sharpness_a_to_b`` and ``drawn_sharpness_a_to_b`` (see
            `judge.SwapFigures`, as for the others; left out where the real faces are
            flat), where identity can be measured ``identity_transfer_a_to_b`` and
            ``cos_to_target_a_to_b``, where motion can ``following_a_to_b`` and
            ``following_extent_a_to_b``, and with 68 landmarks
            ``redraw_likeness_a_to_b``; ``score`` (see `score_figures`).
        """
        judge, real = self._prepared
        found = evaluate_faces(judge, real, self._run(params))
        figures: dict[str, float] = {}
        for part in SIDES:
            own = getattr(found, part)
            figures |= {f"{name}_{part}": getattr(own, name) for name in _OF_SIDES}
        for side, to in DIRECTIONS:
            part = f"{side}_to_{to}"
            own = getattr(found, part)
            figures |= {f"{name}_{part}": getattr(own, name) for name in _OF_SWAPS}
        figures = {k: value for k, value in figures.items() if not math.isnan(value)}
        return {"score": score_figures(figures), **figures}

    def _run(self, params: SwapParams) -> TrainedRun:
        return TrainedRun(model=self.model, params=params, step=0, facts=self.facts)

    @cached_property
    def _prepared(self) -> tuple[Judge, dict[Side, RealFaces]]:
        judge = Judge(find_embedder(), None, find_motion_reader())
        try:
            return judge, self._prepare(judge)
        except ValueError as error:
            _log.warning("identity is not measured: %s", error)
        judge = Judge(None, None, judge.read_motion)
        return judge, self._prepare(judge)

    def _prepare(self, judge: Judge) -> dict[Side, RealFaces]:
        return prepare_sets(
            judge,
            self.sets,
            self.splits,
            crop_size=self.model.crop_size,
            shift=self.facts.shift,
            most_faces=MOST_FACES,
        )


def find_embedder() -> CropEmbedder | None:
    """SFace where its weights are here already, else None and a word in the log."""
    return make_crop_embedder() if _are_here("identity", "sface") else None


def find_motion_reader() -> MotionReader | None:
    """The networks that see motion, likewise."""
    here = _are_here("following", "iris", "attention_mesh")
    return make_motion_reader() if here else None


def _are_here(what: str, *names: str) -> bool:
    try:
        found = [find_asset(choose_asset(WEIGHTS, name)) for name in names]
    except AssetError as error:
        _log.warning("%s is not measured: %s", what, error)
        return False
    if None in found:
        _log.info(
            "%s is not measured: the weights of %s are not here "
            "(deepfake-jax doctor --fetch brings them)",
            what,
            " and ".join(names),
        )
    return None not in found


def score_figures(figures: Mapping[str, float]) -> float:
    """How good a run is, in one number; higher is better.

    The mean, over both directions, of `rate_swaps`, minus `ERROR_WEIGHT` times the mean
    absolute error of both sides' reconstruction. Transfer alone falls while smears
    become faces: a smear is not the source. Where identity was not measured, only the
    second term counts, at most 0.

    Args:
        figures: `Gauge.measure`'s.
    """
    error = (figures["mae_a"] + figures["mae_b"]) / 2
    if "identity_transfer_a_to_b" not in figures:
        return -ERROR_WEIGHT * error
    names = (
        "identity_transfer",
        "following_extent",
        "drawn_sharpness",
        "redraw_likeness",
    )
    rates = [
        rate_swaps(*(figures.get(f"{name}_{side}_to_{to}", 1.0) for name in names))
        for side, to in DIRECTIONS
    ]
    return sum(rates) / len(rates) - ERROR_WEIGHT * error


def rate_swaps(
    transfer: float, following: float, sharpness: float = 1.0, redrawn: float = 1.0
) -> float:
    """How good swaps of one direction are, in [0, 1]; 1 is best.

    The product of identity transfer, the extent of following, the likeness of what is
    redrawn and, to the power of 0.15, drawn sharpness up to 1: the other person's face
    that is frozen, a face that follows and is still the source's, and shards of the
    right face are no swaps. Groups of 52 and 56 sets of swaps with faults, marked by
    eye, it orders by 0.73 and 0.63 (Spearman's correlation); see BENCHMARKS.md.

    Args:
        transfer: see `Likeness`.
        following: the extent, see `following.Following`.
        sharpness: see `drawn_detail.drawn_sharpness`.
        redrawn: see `redraw.redraw_likeness`.
    """
    both = min(max(transfer, 0.0), 1.0) * min(max(following, 0.0), 1.0)
    sharp = min(max(sharpness, 0.0), 1.0)
    return both * redrawn * sharp**_SHARPNESS_POWER
