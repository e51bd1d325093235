"""What stands before a face in its frame, and stays there: hands, glasses, the rest."""

import numpy as np
from jaxtyping import UInt8

from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.imaging.glasses import Glasses, glasses_mask
from deepfake_jax.imaging.hand_mask import hand_mask
from deepfake_jax.imaging.landmark_masks import features_mask
from deepfake_jax.imaging.mask import resize_mask
from deepfake_jax.imaging.occlusion_mask import occlusion_mask
from deepfake_jax.types import DrawnFace, Face, Mask


def free_mask(
    placed: PlacedFace,
    crop: UInt8[np.ndarray, "side side 3"],
    mask: Mask,
    redrawn: tuple[Face, DrawnFace] | None,
    glasses: Glasses | None,
) -> Mask:
    """1 where nothing stands before a face, towards 0 where something does.

    Args:
        placed: the face.
        crop: its part of the frame, uint8.
        mask: where the new face would be shown; the answer has its size.
        redrawn: the face as the network saw it, and as the run draws the same person
            without what stands before; None where no run does.
        glasses: those that the person wears, or None.
    """
    size, landmarks = len(mask), placed.landmarks
    free = 1 - hand_mask(apply_affine(crop_matrix(size), placed.hands), size)
    if glasses is not None and landmarks is not None:
        own = apply_affine(crop_matrix(len(crop)), landmarks)
        free *= 1 - glasses_mask(crop, own, glasses, size)
    if redrawn is None:
        return free
    features = None
    if landmarks is not None:
        features = features_mask(apply_affine(crop_matrix(size), landmarks), size)
    known = occlusion_mask(*redrawn, mask=mask * free, features=features)
    return free * resize_mask(known, size)
