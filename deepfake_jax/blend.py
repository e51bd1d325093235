"""Pasting a face into a frame, through the inverse of its alignment.

Frames and faces are uint8 RGB, masks float32 in [0, 1]. Everything happens in the
face's box of the frame; pixels where the mask is zero keep their exact value. Functions
return a new frame and leave the given one as it is.
"""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Shaped

from deepfake_jax.align import apply_affine, invert_affine
from deepfake_jax.types import Affine, Face, Frame, Mask

Box = tuple[slice, slice]


def face_box(frame: Frame, frame_to_face: Affine, face_size: int) -> Box | None:
    """Rows and columns of a frame that a face can touch, or None if it lies outside."""
    edges = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) * (face_size / 2)
    corners = apply_affine(invert_affine(frame_to_face), edges + (face_size - 1) / 2)
    height, width = frame.shape[:2]
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    x0, y0 = max(low[0], 0), max(low[1], 0)
    x1, y1 = min(high[0], width), min(high[1], height)
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1)


def paste_face(
    frame: Frame,
    face: Face,
    mask: Float32[np.ndarray, "mask_size mask_size"],
    frame_to_face: Affine,
    *,
    blend: Literal["alpha", "poisson"] = "alpha",
) -> Frame:
    """Lays a face over a frame where its mask shows it.

    Args:
        frame: the picture to paste into.
        face: the new face, [s, s, 3].
        mask: its opacity, [t, t]; any resolution, it covers the same square.
        frame_to_face: from the frame to the pixels of `face`.
        blend: "alpha" mixes by the mask; "poisson" takes the face's gradients inside
            the mask and the frame's colours at its border (Perez et al. 2003, "Poisson
            image editing", by `cv2.seamlessClone`).

    Returns:
        A new frame; bit-identical where the mask is zero.
    """
    box = face_box(frame, frame_to_face, len(face))
    if box is None or not mask.any():
        return frame.copy()
    old = frame[box]
    face_to_box = _into_box(frame_to_face, box)
    new = _warp_into(face, face_to_box, old.shape, cv2.BORDER_REPLICATE)
    ratio = len(face) / len(mask)
    mask_to_face = np.array(
        [[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]], np.float64
    )
    linear = face_to_box[:, :2] @ mask_to_face[:, :2]
    shift = face_to_box[:, :2] @ mask_to_face[:, 2] + face_to_box[:, 2]
    opacity = _warp_into(
        mask, np.column_stack([linear, shift]), old.shape, cv2.BORDER_CONSTANT
    )
    opacity = np.clip(opacity, 0, 1)
    result = frame.copy()
    if blend == "poisson":
        result[box] = poisson_blend(old, new, opacity)
    else:
        result[box] = alpha_blend(old, new, opacity)
    return result


def alpha_blend(old: Frame, new: Frame, mask: Mask) -> Frame:
    """Mixes two pictures of one shape: new where the mask is 1, old where it is 0."""
    weight = mask[:, :, None]
    mixed = old + weight * (new.astype(np.float32) - old)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def poisson_blend(old: Frame, new: Frame, mask: Mask) -> Frame:
    """Clones a picture seamlessly where its mask is above a half.

    The border of the pictures is repeated outwards first, because OpenCV's solver
    cannot take a mask that touches it. The outermost pixels of the mask's box keep the
    old colours, so a mask less than three pixels wide or high changes nothing.
    """
    inside = (mask > 0.5).astype(np.uint8) * 255
    if not inside.any():
        return old.copy()
    margin = 4
    padding = [(margin, margin), (margin, margin), (0, 0)]
    padded_old = np.pad(old, padding, mode="edge")
    padded_new = np.pad(new, padding, mode="edge")
    padded_mask = np.pad(inside, margin)
    x, y, width, height = cv2.boundingRect(padded_mask)
    if min(width, height) < 3:  # seamlessClone crashes where nothing is left to solve
        return old.copy()
    # seamlessClone centres the mask's bounding box on this point: it stays in place.
    centre = (x + width // 2, y + height // 2)
    cloned = cv2.seamlessClone(
        padded_new, padded_old, padded_mask, centre, cv2.NORMAL_CLONE
    )[margin:-margin, margin:-margin]
    return np.where(inside[:, :, None] > 0, cloned, old)


def _into_box(frame_to_face: Affine, box: Box) -> Affine:
    face_to_frame = invert_affine(frame_to_face)
    face_to_frame[:, 2] -= (box[1].start, box[0].start)
    return face_to_frame


def _warp_into(
    picture: Shaped[np.ndarray, "side side *channels"],
    matrix: Affine,
    shape: tuple[int, ...],
    border: int,
) -> Shaped[np.ndarray, "height width *channels"]:
    """Resamples a square into a box: cubic when it grows, linear when it shrinks."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    cubic = scale > 1 and picture.ndim == 3  # a cubic mask would leave [0, 1]
    return cv2.warpAffine(
        picture,
        matrix,
        (shape[1], shape[0]),
        flags=cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR,
        borderMode=border,
    )
