"""The face mesh and both people's mean landmarks, for the loss of swaps' landmarks."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int

from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.models.face_mesh import measure_middle
from deepfake_jax.runs.mesh_network import load_mesh_network
from deepfake_jax.training.state import MeshGuide
from deepfake_jax.types import SIDES, Side

_MEASURED = (
    128  # faces a side: a mean of more moves by less than a hundredth of a pixel
)
_SIZE = 128  # pixels of their crops


def make_mesh_guide(
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
    weights: Mapping[Side, Float64[np.ndarray, "_"]] | None = None,
) -> MeshGuide:
    """Reads the face mesh and measures both people's mean landmarks with it.

    Args:
        sets: of both sides.
        among: which of them are trained on; some spread over these are measured.
        weights: of all faces in the mean, see `overlap_weights`; None weighs those that
            are trained on alike.

    Raises:
        AssetError: the mesh's file can be neither found nor fetched.
    """
    network = load_mesh_network()
    measure = jax.jit(measure_middle)
    middles: dict[Side, Any] = {}
    for side in SIDES:
        own = among[side]
        ends = np.cumsum(np.ones(len(own)) if weights is None else weights[side][own])
        steps = (np.arange(_MEASURED) + 0.5) / _MEASURED
        picked = own[np.searchsorted(ends, steps * ends[-1])]
        crops = crop_faces(np.asarray(sets[side].faces[picked]), _SIZE)
        middles[side] = measure(network, jnp.asarray(crops, jnp.float32) / 255)
    return MeshGuide(network, middles)
