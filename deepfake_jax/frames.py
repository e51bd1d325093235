"""Finding, swapping and blending the faces of frames, by one run and one config."""

import logging
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from deepfake_jax.align import (
    compose_affine,
    crop_faces,
    crop_matrix,
    frame_to_face_matrix,
    warp_face,
)
from deepfake_jax.blend import paste_face
from deepfake_jax.color import adjust_avg_color
from deepfake_jax.data import shift_color
from deepfake_jax.detect import Detection, make_detector
from deepfake_jax.identity import SAME_PERSON, make_embedder
from deepfake_jax.mask import classic_mask, feather_mask, oval_mask, rectangle_mask
from deepfake_jax.options import ConvertConfig
from deepfake_jax.run import TrainedRun
from deepfake_jax.swap import make_swapper
from deepfake_jax.track import find_linked, steady_stream
from deepfake_jax.types import Affine, Face, Frame, Mask
from deepfake_jax.video import TimedFrame

_log = logging.getLogger("deepfake_jax")
_MASK_SIZE = 128
_WEAK_MATCH = 0.15  # cosine that will do for a face linked to one already matched

Found = tuple[TimedFrame, list[Detection]]
Swapped = tuple[TimedFrame, Frame | None]


class FrameSwapper:
    """Finds, swaps and blends the faces of frames, by one run and one config."""

    def __init__(self, trained: TrainedRun, config: ConvertConfig):
        self.config = config
        self._detect = make_detector(min_score=config.min_score)
        self._swap = make_swapper(trained.model, trained.params, to=config.to)
        self._crop_size = trained.model.face_size
        self._crop = crop_matrix(self._crop_size)
        self._mask = make_mask(config)
        # The network saw A's faces in B's mean colour, and B's as they are.
        origin = "a" if config.to == "b" else "b"
        self._shift = trained.color_shift if origin == "a" else np.zeros(3)
        identity = trained.identities.get(origin)
        self._identity = None if identity is None else np.asarray(identity, np.float32)
        self._embed = None
        if config.faces == "person" and self._identity is not None:
            self._embed = make_embedder()
        elif config.faces == "person":
            _log.warning("the run knows no person's face; swapping the largest face")

    def find(self, frames: Iterable[TimedFrame]) -> Iterator[Found]:
        """The faces to swap of each frame, steadied over time if so configured."""
        chosen = self._choose(frames)
        return steady_stream(chosen) if self.config.steady else chosen

    def _choose(self, frames: Iterable[TimedFrame]) -> Iterator[Found]:
        last: list[Detection] = []
        for timed in frames:
            last = self._choose_faces(timed.frame, last)
            yield timed, last

    def _choose_faces(self, frame: Frame, last: list[Detection]) -> list[Detection]:
        detections = self._detect(frame)
        if self.config.faces == "all":
            return detections
        if self._embed is None or self._identity is None:
            return detections[:1]
        best, best_cosine = None, _WEAK_MATCH
        for detection in detections:
            cosine = float(self._embed(frame, detection) @ self._identity)
            # A turned or blurred face looks less like itself: where it goes on from a
            # face that was the person's, a weak likeness will do.
            linked = find_linked(detection, last) is not None
            if cosine > best_cosine and (linked or cosine >= SAME_PERSON):
                best, best_cosine = detection, cosine
        return [] if best is None else [best]

    def swap(self, found: list[Found]) -> list[Swapped]:
        """Swaps the faces of a few frames as one batch; None where there is none."""
        matrices = [
            frame_to_face_matrix(detection.landmarks)
            for _, detections in found
            for detection in detections
        ]
        owners = [timed for timed, detections in found for _ in detections]
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
