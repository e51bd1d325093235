"""Cheap figures of a run while it trains, on faces that were held out of it.

As `evaluate` measures them, on fewer faces and without landmarks. Identity is measured
where SFace's weights are on this machine already; nothing is fetched.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from deepfake_jax.evaluation.fidelity import measure_detail, measure_reconstruction
from deepfake_jax.evaluation.judge import Crops, Faces, Sample, pick_sample, put_back
from deepfake_jax.evaluation.likeness import Embeddings, embed_face, measure_likeness
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.faces.identity import (
    CropEmbedder,
    Embedding,
    make_crop_embedder,
    mean_embedding,
)
from deepfake_jax.faces.weights import WEIGHTS, AssetError, find_asset, select_asset
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.models.autoencoder import Autoencoder, Params
from deepfake_jax.models.fine_detail import Energies
from deepfake_jax.runs.held_out import Split
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.types import DIRECTIONS, Side

MOST_FACES = 32  # a side: one batch of the swapper
# SFace takes 50 ms a face on one core, six times all the rest of a measurement.
MOST_EMBEDDED = 16
_log = logging.getLogger("deepfake_jax")
# One hundredth of the range of a channel, of the mean absolute error, weighs as much as
# a twentieth of the way from one person to the other: enough that a decoder that always
# draws one good face of the target (error 0.1 and more) is never the best.
ERROR_WEIGHT = 5.0


@dataclass(frozen=True, eq=False)
class _Identities:
    """What swapped faces are compared with: real ones, prepared alike."""

    embed: Callable[[Sample, Faces], Embeddings]
    real: Mapping[Side, Embeddings]
    centroids: Mapping[Side, Embedding]


class Gauge:
    """Measures parameters on up to `MOST_FACES` held-out faces a side.

    Nothing is loaded before the first measurement.
    """

    def __init__(
        self,
        model: Autoencoder,
        sets: Mapping[Side, FaceSet],
        splits: Mapping[Side, Split],
        *,
        color_shift: Float64[np.ndarray, "3"],
        energies: Mapping[Side, Energies] | None = None,
    ):
        """Keeps references; the sets' pictures are not changed.

        Args:
            model: the network.
            sets: of both sides, in their own colors.
            splits: what was held out of each; both sides must have some.
            color_shift: added to A's faces in training.
            energies: see `run.TrainedRun`; swaps get this detail.

        Raises:
            ValueError: a side has no held-out face.
        """
        if not all(len(split.held) for split in splits.values()):
            raise ValueError("splits must hold out a face or more of each side")
        self._model = model
        self._sets, self._splits = sets, splits
        self._color_shift = color_shift
        self._energies = energies or {}

    def warm_up(self, params: Params) -> None:
        """Does what only the first measurement has to do, so that others can be timed.

        Args:
            params: any of the network, with a bank if those to come have one.
        """
        self._draw(params)
        _ = self._identities

    def measure(self, params: Params) -> dict[str, float]:
        """The figures; all but the errors are better the higher they are.

        Returns:
            Per side ``mae_a``, ``psnr_a``, ``ssim_a`` (see `fidelity.Reconstruction`);
            per direction ``sharpness_a_to_b`` (see `fidelity.sharpness`; left out where
            the real faces are flat) and, where identity can be measured,
            ``identity_transfer_a_to_b`` and ``cos_to_target_a_to_b`` of up to
            `MOST_EMBEDDED` faces (see `likeness.Likeness`); ``score`` (see
            `scores.score_figures`).
        """
        figures: dict[str, float] = {}
        drawn = self._draw(params)
        for side, crops in self._crops.items():
            error = measure_reconstruction(drawn[side, side], crops)
            figures |= {f"{name}_{side}": value for name, value in vars(error).items()}
        for side, to in DIRECTIONS:
            swapped, name = drawn[side, to], f"{side}_to_{to}"
            if self._details[to] > 0:
                detail = measure_detail(swapped) / self._details[to]
                figures[f"sharpness_{name}"] = detail
            if (known := self._identities) is None:
                continue
            every = -(-len(swapped) // MOST_EMBEDDED)
            sample = _thin(self._samples[side], every)
            likeness = measure_likeness(
                known.embed(sample, put_back(sample.faces, swapped[::every])),
                known.real[side][::every],
                known.real[to],
                source=known.centroids[side],
                target=known.centroids[to],
            )
            figures[f"identity_transfer_{name}"] = likeness.identity_transfer
            figures[f"cos_to_target_{name}"] = likeness.cos_to_target
        return {"score": score_figures(figures), **figures}

    def _draw(self, params: Params) -> dict[tuple[Side, Side], Crops]:
        """Each side's crops by each decoder."""
        drawn: dict[tuple[Side, Side], Crops] = {}
        for to in self._crops:
            for side, crops in self._crops.items():
                energies = None if side == to else self._energies.get(to)
                swapper = make_swapper(
                    self._model,
                    params,
                    to=to,
                    source=side,
                    energies=energies,
                    exemplars=side != to,
                )
                drawn[side, to] = swapper(crops, self._samples[side].landmarks)
        return drawn

    @cached_property
    def _samples(self) -> dict[Side, Sample]:
        return {side: self._pick(side, held=True) for side in self._sets}

    @cached_property
    def _crops(self) -> dict[Side, Crops]:
        size = self._model.crop_size
        return {side: crop_faces(s.faces, size) for side, s in self._samples.items()}

    @cached_property
    def _details(self) -> dict[Side, float]:
        return {side: measure_detail(crops) for side, crops in self._crops.items()}

    @cached_property
    def _identities(self) -> _Identities | None:
        embedder = find_embedder()
        if embedder is None:
            return None

        def embed(sample: Sample, faces: Faces) -> Embeddings:
            pairs = zip(faces, sample.landmarks, strict=True)
            return np.stack([embed_face(embedder, face, at) for face, at in pairs])

        def embed_real(sample: Sample) -> Embeddings:
            crops = crop_faces(sample.faces, self._model.crop_size)
            return embed(sample, put_back(sample.faces, crops))

        real: dict[Side, Embeddings] = {
            side: embed_real(sample) for side, sample in self._samples.items()
        }
        centroids: dict[Side, Embedding] = {
            side: mean_embedding(embed_real(self._pick(side, held=False)))
            for side in self._sets
        }
        try:
            for side, to in DIRECTIONS:
                ends = {"source": centroids[side], "target": centroids[to]}
                measure_likeness(real[side], real[side], real[to], **ends)
        except ValueError as error:
            _log.warning("identity is not measured: %s", error)
            return None
        return _Identities(embed, real, centroids)

    def _pick(self, side: Side, *, held: bool) -> Sample:
        """Held-out faces of a side, or as many of those that are trained on."""
        split = self._splits[side]
        shift = self._color_shift if side == "a" else np.zeros(3)
        among = split.held if held else split.train
        return pick_sample(self._sets[side], among, MOST_FACES, shift=shift)


def _thin(sample: Sample, every: int) -> Sample:
    """Each `every`-th face of a sample."""
    return Sample(sample.faces[::every], sample.landmarks[::every])


def find_embedder() -> CropEmbedder | None:
    """SFace where its weights are here already, else None and a word in the log."""
    try:
        found = find_asset(select_asset(WEIGHTS, "sface"))
    except AssetError as error:
        _log.warning("identity is not measured: %s", error)
        return None
    if found is None:
        _log.info(
            "identity is not measured: SFace's weights are not here "
            "(deepfake-jax doctor --fetch brings them)"
        )
        return None
    return make_crop_embedder()


def score_figures(figures: Mapping[str, float]) -> float:
    """How good a run is, in one number; higher is better.

    The mean identity transfer of both directions minus `ERROR_WEIGHT` times the mean
    absolute error of both sides' reconstruction. At most 1, but for luck. Where
    identity was not measured, only the second term, at most 0.

    Args:
        figures: `gauge.Gauge.measure`'s.
    """
    error = (figures["mae_a"] + figures["mae_b"]) / 2
    if "identity_transfer_a_to_b" not in figures:
        return -ERROR_WEIGHT * error
    directions = ("a_to_b", "b_to_a")
    transfer = sum(figures[f"identity_transfer_{name}"] for name in directions) / 2
    return transfer - ERROR_WEIGHT * error
