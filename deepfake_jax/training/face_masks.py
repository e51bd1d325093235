"""Where in a training picture the face is, its eyes and its mouth: from landmarks.

Masks are uint8 with three channels: the face with most of the forehead, both eyes, and
the mouth. They are drawn once a face, at half of the size of its picture, and cut as
the picture is: a training target's mask costs one small resampling.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from deepfake_jax.imaging.affine import apply_affine, resize_affine
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.imaging.fringe_mask import fringe_mask
from deepfake_jax.imaging.hand_mask import hand_mask, no_hands
from deepfake_jax.imaging.landmark_masks import extended_mask, eye_span, fill_hull
from deepfake_jax.training.expressions import move_places, moves_anything
from deepfake_jax.training.warp_grid import interpolate_grid
from deepfake_jax.types import Face, Faces, Hands, Landmarks

MASK_SIZE = FACE_SIZE // 2
_EYES = (slice(36, 42), slice(42, 48))
_LIPS = slice(48, 68)
# Around lids and lips, in distances of the eyes: they move, and their borders count.
_MARGIN = 0.12


def draw_face_masks(
    landmarks: Float64[np.ndarray, "n p 2"],
    faces: Faces,
    hands: Sequence[Hands] | None = None,
) -> UInt8[np.ndarray, "n 128 128 3"]:
    """The masks of faces.

    Args:
        landmarks: 68 of each face, in the pixels of its picture.
        faces: the pictures: hair that hangs over a forehead is no face.
        hands: those before each face, in the pixels of its picture; they are no face
            either, and what they hide is not looked at.

    Raises:
        ValueError: landmarks are not 68.
    """
    masks = np.empty((len(landmarks), MASK_SIZE, MASK_SIZE, 3), np.uint8)
    to_mask = resize_affine(MASK_SIZE / FACE_SIZE)
    before = [no_hands()] * len(landmarks) if hands is None else hands
    for mask, own, face, held in zip(masks, landmarks, faces, before, strict=True):
        drawn = _draw(apply_affine(to_mask, own), face)
        if len(held):
            drawn *= 1 - hand_mask(apply_affine(to_mask, held), MASK_SIZE)[..., None]
        mask[:] = np.rint(255 * drawn)
    return masks


def _draw(landmarks: Landmarks, picture: Face) -> Float64[np.ndarray, "128 128 3"]:
    face = extended_mask(landmarks, MASK_SIZE)
    face *= 1 - fringe_mask(picture, landmarks, MASK_SIZE)
    margin = _MARGIN * eye_span(landmarks)
    eyes = [fill_hull(landmarks[eye], MASK_SIZE, margin=margin) for eye in _EYES]
    mouth = fill_hull(landmarks[_LIPS], MASK_SIZE, margin=margin)
    return np.stack([face, np.maximum(*eyes), mouth], axis=-1).astype(np.float64)


def cut_masks(
    masks: UInt8[np.ndarray, "_ 128 128 3"],
    chosen: Int[np.ndarray, "k"],
    grids: Float64[np.ndarray, "k 5 5 2"],
    crop_size: int,
    moves: Float32[np.ndarray, "k 8 12"] | None = None,
) -> UInt8[np.ndarray, "k crop_size crop_size 3"]:
    """The masks of targets; outside of the face's picture there is nothing.

    Args:
        masks: of all faces of a side.
        chosen: which faces the targets are cut from.
        grids: of the targets, see `augment.draw_cuts`.
        crop_size: side of the targets in pixels.
        moves: of the faces' features, see `expressions`; None leaves them.
    """
    cuts = np.empty((len(chosen), crop_size, crop_size, 3), np.uint8)
    corners = grids[:, 0, 0]
    across, down = grids[:, 0, -1] - corners, grids[:, -1, 0] - corners
    moved = np.zeros(len(chosen), bool) if moves is None else moves_anything(moves)
    for place, index in enumerate(chosen.tolist()):
        if moves is not None and moved[place]:
            _cut_moved(masks[index], grids[place], moves[place], cuts[place])
            continue
        # From the crop's pixels to the face's: the corner is the first pixel's edge.
        axes = np.stack([across[place], down[place]], axis=1) / crop_size
        start = corners[place] + axes @ [0.5, 0.5] + 0.5
        matrix = np.column_stack([axes, start]) * (MASK_SIZE / FACE_SIZE)
        matrix[:, 2] -= 0.5
        cv2.warpAffine(
            masks[index],
            matrix,
            (crop_size, crop_size),
            dst=cuts[place],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
    return cuts


def _cut_moved(
    mask: UInt8[np.ndarray, "128 128 3"],
    grid: Float64[np.ndarray, "5 5 2"],
    moves: Float32[np.ndarray, "8 12"],
    out: UInt8[np.ndarray, "crop_size crop_size 3"],
) -> None:
    """The mask of a target whose face's features are moved."""
    rise = interpolate_grid(len(out))
    places = (rise @ np.moveaxis(grid, -1, 0) @ rise.T).astype(np.float32)
    move_places(places[:, None], moves)
    x, y = (places + 0.5) * (MASK_SIZE / FACE_SIZE) - 0.5
    cv2.remap(mask, x, y, cv2.INTER_LINEAR, dst=out)
