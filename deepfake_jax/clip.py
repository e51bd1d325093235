"""Seam and flicker of a run's swaps over a clip."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.align import (
    FACE_SIZE,
    compose_affine,
    crop_matrix,
    invert_affine,
    warp_face,
)
from deepfake_jax.blend import face_box
from deepfake_jax.flicker import FlickerMeter
from deepfake_jax.frames import FrameSwapper, make_mask
from deepfake_jax.options import ConvertConfig
from deepfake_jax.place import place_faces
from deepfake_jax.run import TrainedRun
from deepfake_jax.seam import seam_error
from deepfake_jax.source import Source
from deepfake_jax.types import Affine, Frame, Mask
from deepfake_jax.video import probe_video, read_frames

CropMask = Float32[np.ndarray, "mask_size mask_size"]
_FACE = (FACE_SIZE, FACE_SIZE)


class ClipError(ValueError):
    """A clip that cannot be judged; the text says why."""


@dataclass(frozen=True)
class ClipFigures:
    """How a swapped clip looks around its faces and over time; lower is better.

    Attributes:
        frames: with a swapped face.
        seam: mean of `seam.seam_error` over the faces, Delta E.
        flicker: `flicker.Flicker.total`, grey levels; None where no five frames in a
            row show the face.
    """

    frames: int
    seam: float
    flicker: float | None


def measure_clip(
    source: str | Path, trained: TrainedRun, config: ConvertConfig | None = None
) -> ClipFigures:
    """Swaps the largest face of each frame and judges it; nothing is written.

    Whatever the config places the paste by, it is judged in the steadied placement by
    the mesh, so that figures of several configs can be compared.

    Args:
        source: a video.
        trained: the run.
        config: of the conversion; the defaults if None. Whom it names is not heeded.

    Raises:
        ClipError: no face in all of the clip.
        VideoError: it cannot be read.
    """
    config = replace(config or ConvertConfig(), person="largest")
    swapper, mask = FrameSwapper(trained, config), make_mask(config)
    path = Path(source)
    footage = [Source(path, "video", probe_video(path).frames)]
    placement = place_faces(footage, config, None)
    judged = placement
    if not config.steady or config.landmarks != "mesh":
        steady = replace(config, steady=True, landmarks="mesh")
        judged = place_faces(footage, steady, None)
    meter, seams, count = FlickerMeter(), [], 0
    for timed in read_frames(path):
        matrices = placement.find(0, timed.index)
        fixed = judged.find(0, timed.index)
        if not matrices or not fixed:
            continue
        ((_, result),) = swapper.swap([(timed, matrices)])
        assert result is not None
        count += 1
        seams += measure_seam(timed.frame, result, mask, matrices[0])
        before, after = warp_face(timed.frame, fixed[0]), warp_face(result, fixed[0])
        to_fixed = compose_affine(fixed[0], invert_affine(matrices[0]))
        meter.add(0, timed.index, before, after, _lay_mask(mask, to_fixed, _FACE))
    if not seams:
        raise ClipError(
            f"no face in {source} to judge the swap by; give a clip that shows one"
        )
    found = meter.measure()
    flicker = found.total if found.windows else None
    return ClipFigures(count, float(np.mean(seams)), flicker)


def measure_seam(
    frame: Frame, result: Frame, mask: CropMask, frame_to_face: Affine
) -> list[float]:
    """The seam of one pasted face in its frame; none if it lies outside.

    Args:
        frame: before.
        result: after.
        mask: the paste's, over the training crop.
        frame_to_face: of the aligned face picture.
    """
    box = face_box(frame, frame_to_face, FACE_SIZE)
    if box is None:
        return []
    rows, columns = box
    to_box = np.array([[1.0, 0, -columns.start], [0, 1.0, -rows.start]])
    old = np.ascontiguousarray(frame[box])
    face_to_box = compose_affine(to_box, invert_affine(frame_to_face))
    shown = _lay_mask(mask, face_to_box, old.shape[:2])
    return [seam_error(old, np.ascontiguousarray(result[box]), shown)]


def _lay_mask(mask: CropMask, face_to_picture: Affine, shape: tuple[int, ...]) -> Mask:
    """A crop's mask in a picture that shows the face."""
    to_face = invert_affine(crop_matrix(len(mask)))
    matrix = compose_affine(face_to_picture, to_face)
    laid = cv2.warpAffine(mask, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.clip(laid, 0, 1)
