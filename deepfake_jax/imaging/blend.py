"""Pasting a face into a frame, through the inverse of its alignment.

Frames and faces are uint8 RGB, masks float32 in [0, 1]. Everything happens in the
part of the frame that the mask shows; pixels where it is zero keep their exact value.
Functions leave the frame as it is and return a new one, unless told otherwise.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from deepfake_jax.convert_config import BLENDS, find_choice
from deepfake_jax.imaging.affine import (
    Box,
    affine_scale,
    apply_affine,
    bounding_box,
    compose_affine,
    face_corners,
    invert_affine,
    resize_affine,
    shift_affine,
)
from deepfake_jax.imaging.poisson import poisson_blend
from deepfake_jax.imaging.sharpen import thin_edges
from deepfake_jax.types import Affine, Face, Frame, Mask

# Share of a face along which Poisson cloning averages the difference at its border. On
# a talking head, seam and flicker of 0: 7.0 and 0.53; 0.2: 6.7 and 0.51; 0.4: 6.3 and
# 0.46; 1: 6.1 and 0.43, but then the light from one side is not followed any more.
_BORDER = 0.4
_SMALL = 128  # pixels: up to here, cubic sampling costs less than half a millisecond


class PlacedFace(NamedTuple):
    """A face as it lies in a frame, before it is blended.

    Attributes:
        box: rows and columns of the frame; one pixel wider than the opacity, where the
            frame has one.
        face: its pixels there, [height, width, 3].
        opacity: its mask there, [height, width].
    """

    box: Box
    face: Frame
    opacity: Mask


def face_box(frame: Frame, frame_to_face: Affine, face_size: int) -> Box | None:
    """Rows and columns of a frame that a face can touch, or None if it lies outside."""
    return bounding_box(face_corners(frame_to_face, face_size), frame.shape, margin=1)


def paste_face(
    frame: Frame,
    face: Face,
    mask: Float32[np.ndarray, "mask_size mask_size"],
    frame_to_face: Affine,
    *,
    blend: str = "alpha",
    in_place: bool = False,
) -> Frame:
    """Lays a face over a frame where its mask shows it.

    Args:
        frame: the picture to paste into.
        face: the new face, [s, s, 3].
        mask: its opacity, [t, t]; any resolution, it covers the same square.
        frame_to_face: from the frame to the pixels of `face`.
        blend: a name of `BLENDS`: "alpha" mixes by the mask; "poisson" takes the face's
            gradients where the mask is above a half and the frame's colours around.
        in_place: change `frame` itself; else a copy of it.

    Returns:
        The frame with the face; bit-identical where the mask is zero.
    """
    result = frame if in_place else frame.copy()
    placed = place_face(frame, face, mask, frame_to_face)
    if placed is not None:
        box, new, opacity = placed
        result[box] = blend_pictures(result[box], new, opacity, blend=blend)
    return result


def place_face(
    frame: Frame,
    face: Face,
    mask: Float32[np.ndarray, "mask_size mask_size"],
    frame_to_face: Affine,
    *,
    thin: float = 0.0,
) -> PlacedFace | None:
    """Resamples a face and its mask into a frame; None where nothing of it shows.

    Arguments are those of `paste_face`; `thin` is the amount by which `thin_edges`
    narrows the edges of a face that is enlarged. The box holds what the mask shows, no
    more.
    """
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    if width == 0:
        return None
    face_to_frame = invert_affine(frame_to_face)
    mask_to_face = resize_affine(len(face) / len(mask))
    mask_to_frame = compose_affine(face_to_frame, mask_to_face)
    # A pixel's bilinear support reaches to the next pixels' centres.
    edges = np.array([[left, top], [left + width, top + height]]) + [[-1], [0]]
    corners = np.array([[x, y] for x in edges[:, 0] for y in edges[:, 1]], np.float64)
    box = bounding_box(apply_affine(mask_to_frame, corners), frame.shape, margin=1)
    if box is None:
        return None
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
    frame_to_box = shift_affine(-box[1].start, -box[0].start)
    face_to_box = compose_affine(frame_to_box, face_to_frame)
    picture, face_to_box, flags = _prepare(face, face_to_box, shape, thin)
    alike = len(picture) == len(mask) and flags == cv2.INTER_LINEAR
    if alike and _fades_out(mask):
        return PlacedFace(box, *_warp_both(picture, mask, face_to_box, shape))
    mask_to_box = compose_affine(frame_to_box, mask_to_frame)
    opacity = _warp(mask, mask_to_box, shape, cv2.BORDER_CONSTANT)
    new = _warp(picture, face_to_box, shape, cv2.BORDER_REPLICATE, flags)
    return PlacedFace(box, new, np.clip(opacity, 0, 1))


def blend_pictures(old: Frame, new: Frame, mask: Mask, *, blend: str) -> Frame:
    """Blends two pictures of one shape, as `paste_face` does in its box.

    Raises:
        ValueError: no such blend.
    """
    return find_choice(BLENDS, blend).load()(old, new, mask)


def alpha_blend(old: Frame, new: Frame, mask: Mask) -> Frame:
    """Mixes two pictures of one shape: new where the mask is 1, old where it is 0.

    The float formula: OpenCV divides by the sum of the weights and a hundred-thousandth
    more, which no rounding to levels shows but at an exact half. As a difference that
    is multiplied and added it takes twice as long.
    """
    return cv2.blendLinear(new, old, mask, 1 - mask)


def clone_blend(old: Frame, new: Frame, mask: Mask) -> Frame:
    """`poisson_blend` as a face needs it, whose mask may touch a collar or hair."""
    return poisson_blend(old, new, mask, smooth=_BORDER)


def _prepare(
    face: Face, face_to_box: Affine, shape: tuple[int, int], thin: float
) -> tuple[Frame, Affine, int]:
    """What to sample for a box: sharp where a face grows, no aliases if it shrinks.

    Cubic sampling at any angle is slow (4 to 10 ms for 300 pixels). Doubling by cubic
    and then sampling linearly takes less than half of that and lost 0.3 dB on faces of
    90 pixels and more.

    Returns:
        The face in a fitting size, its matrix to the box, and OpenCV's interpolation.
    """
    scale = affine_scale(face_to_box)
    flags = cv2.INTER_LINEAR
    if scale < 0.5:
        side = max(1, round(len(face) * scale))
        face, face_to_box = _resize(face, face_to_box, side, cv2.INTER_AREA)
        scale = 1.0
    if scale > 0.75 and max(shape) < _SMALL:
        flags = cv2.INTER_CUBIC
    elif scale > 0.75:
        small = face
        face, face_to_box = _resize(face, face_to_box, 2 * len(face), cv2.INTER_CUBIC)
        if thin:
            face = thin_edges(face, small, thin)
    return face, face_to_box, flags


def _fades_out(mask: Mask) -> bool:
    """Whether the outermost pixels of a mask are 0."""
    return not any(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def _warp_both(
    face: Frame, mask: Mask, matrix: Affine, shape: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "rows columns 3"], Float32[np.ndarray, "rows columns"]]:
    """A face and its mask of one size and place, the mask to 1/255, in one sampling.

    Sampling is most of the work of a paste: two take nearly twice as long. The mask
    must fade out, since beyond its edges both repeat them.
    """
    both = cv2.merge([face, np.rint(mask * 255).astype(np.uint8)])
    both = _warp(both, matrix, shape, cv2.BORDER_REPLICATE)
    opacity = cv2.extractChannel(both, 3) / np.float32(255)
    return cv2.cvtColor(both, cv2.COLOR_RGBA2RGB), opacity


def _resize(
    face: Face, face_to_box: Affine, side: int, method: int
) -> tuple[UInt8[np.ndarray, "side side 3"], Affine]:
    resized = cv2.resize(face, (side, side), interpolation=method)
    return resized, compose_affine(face_to_box, resize_affine(len(face) / side))


def _warp(
    picture: Shaped[np.ndarray, "side side *channels"],
    matrix: Affine,
    shape: tuple[int, int],
    border: int,
    flags: int = cv2.INTER_LINEAR,
) -> Shaped[np.ndarray, "height width *channels"]:
    size = (shape[1], shape[0])
    return cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=border)
