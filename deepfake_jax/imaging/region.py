"""Parts of frames: pixels and where they lie, and faces that were found there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from deepfake_jax.imaging.affine import compose_affine, shift_affine
from deepfake_jax.imaging.align import warp_face
from deepfake_jax.types import Affine, Face, Frame


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a frame, or all of it.

    Attributes:
        pixels: RGB.
        x: column of its left edge in the frame.
        y: row of its upper edge in the frame.
    """

    pixels: Frame
    x: int
    y: int


@dataclass(frozen=True)
class Detection:
    """One face of one frame.

    Attributes:
        box: x, y, width, height.
        score: the detector's confidence in [0, 1].
        landmarks: image-left eye, image-right eye, nose tip, image-left and
            image-right mouth corner.
    """

    box: Float64[np.ndarray, "4"]
    score: float
    landmarks: Float64[np.ndarray, "5 2"]


def warp_region(region: Region, frame_to_face: Affine, face_size: int) -> Face:
    """`warp_face` of the frame that a region was cut from."""
    to_face = compose_affine(frame_to_face, shift_affine(region.x, region.y))
    return warp_face(region.pixels, to_face, face_size)
