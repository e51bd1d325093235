"""Swapping and blending the faces of frames, by one run and one config."""

import cv2
import numpy as np

from deepfake_jax.align import (
    compose_affine,
    crop_faces,
    crop_matrix,
    warp_face,
)
from deepfake_jax.blend import paste_face
from deepfake_jax.color import adjust_avg_color
from deepfake_jax.data import shift_color
from deepfake_jax.identity import Embedding
from deepfake_jax.mask import classic_mask, feather_mask, oval_mask, rectangle_mask
from deepfake_jax.options import ConvertConfig
from deepfake_jax.run import TrainedRun
from deepfake_jax.swap import make_swapper
from deepfake_jax.types import Affine, Face, Frame, Mask
from deepfake_jax.video import TimedFrame

_MASK_SIZE = 128

# A frame and the ``frame_to_face`` of each face to swap in it.
Found = tuple[TimedFrame, list[Affine]]
Swapped = tuple[TimedFrame, Frame | None]


class FrameSwapper:
    """Swaps and blends the faces of frames, by one run and one config."""

    def __init__(self, trained: TrainedRun, config: ConvertConfig):
        self.config = config
        self._swap = make_swapper(trained.model, trained.params, to=config.to)
        self._crop_size = trained.model.face_size
        self._crop = crop_matrix(self._crop_size)
        self._mask = make_mask(config)
        # The network saw A's faces in B's mean colour, and B's as they are.
        origin = "a" if config.to == "b" else "b"
        self._shift = trained.color_shift if origin == "a" else np.zeros(3)
        identity = trained.identities.get(origin)
        # Whom the run was trained on; None where it does not know.
        self.identity: Embedding | None = None
        if identity is not None:
            self.identity = np.asarray(identity, np.float32)

    def swap(self, found: list[Found]) -> list[Swapped]:
        """Swaps the faces of a few frames as one batch; None where there is none."""
        matrices = [matrix for _, matrices in found for matrix in matrices]
        owners = [timed for timed, matrices in found for _ in matrices]
        if not matrices:
            return [(timed, None) for timed, _ in found]
        faces = np.stack(
            [
                warp_face(timed.frame, matrix)
                for timed, matrix in zip(owners, matrices, strict=True)
            ]
        )
        crops = crop_faces(faces, self._crop_size)
        swapped = self._swap(shift_color(crops, self._shift))
        results: dict[int, Frame] = {}
        for timed, matrix, old, new in zip(
            owners, matrices, crops, swapped, strict=True
        ):
            frame = results.get(timed.index, timed.frame)
            results[timed.index] = self._blend(frame, matrix, old, new)
        return [(timed, results.get(timed.index)) for timed, _ in found]

    def _blend(self, frame: Frame, matrix: Affine, old: Face, new: Face) -> Frame:
        mask = self._mask
        if self.config.color == "avg":
            size = (self._crop_size, self._crop_size)
            weights = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
            new = adjust_avg_color(old, new, mask=weights)
        to_crop = compose_affine(self._crop, matrix)
        return paste_face(frame, new, mask, to_crop, blend=self.config.blend)


def make_mask(config: ConvertConfig) -> Mask:
    """The mask that a config describes, over the crop that the network redraws."""
    if config.mask == "classic":
        return classic_mask(160, 160)
    make = {"oval": oval_mask, "rectangle": rectangle_mask}[config.mask]
    return feather_mask(make(_MASK_SIZE), config.feather)
