"""Where a swapped face must not show, because something stands before the old one.

What stands before a face is large, compact, and far from what two pictures of the face
disagree about elsewhere. The other picture is the same person's face as a run draws it:
no hand and no microphone is in it, above all of a run that learned to leave them out,
see `training.occluders`. A swapped face would not do: it differs in all that makes two
people different, and only what is darker or brighter than a face is found with it.

Hands, bars and discs pasted before 60 faces each of two men, none of them those that
the run had learned with, but faces that it had: of what was pasted inside the face 23
and 32 % were drawn over, and 94 % of the rest of the face was swapped; of faces with
nothing before them 100 % in the median, 98 % in the worst. With the swapped face
instead 93 and 98 % of what was pasted were drawn over.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from deepfake_jax.types import DrawnFace, Face, Mask

_SIDE = 32  # pixels at which faces are compared
_BLUR = 1.0  # of these pixels; eyebrows and lips thin out, a microphone stays
# Multiples of the pair's typical disagreement where a face begins to vanish, and where
# nothing of it is left.
_LOW, _HIGH = 2.5, 3.9
# Levels by which the better quarter of a redrawn face is off, where it begins to be no
# witness, and where it is none. Known faces are off by 1 to 2, those with something
# before them by 2 to 4; in turns and expressions that a run did not learn by 4 to 9.
_KNOWN, _UNKNOWN = 3.0, 4.5
# Levels below which the typical disagreement does not count: two all but equal faces
# differ by noise only.
_FLOOR = 8.0
_REACH = 0.2  # of a part that is hidden
_ROUNDS = 4  # of the robust fit; further ones change it by less than a level


def occlusion_mask(
    old_face: Face,
    redrawn: DrawnFace,
    *,
    mask: Mask | None = None,
    features: Mask | None = None,
) -> Float32[np.ndarray, "face_size face_size"]:
    """1 where a swapped face may show, towards 0 where something is before the old one.

    The faces' difference is freed of what light and contrast explain, by a robust fit
    that an occluder does not pull. What is left is compared with its own median. Where
    little of the redrawn face comes near to the old one, nothing is hidden.

    Args:
        old_face: the frame's own face, uint8 RGB.
        redrawn: the same person's face as a run draws it, levels of the same shape.
        mask: where the faces are to be compared, [height, width] in [0, 1], of any
            size; None takes the whole crop. Background and hair outside it then cannot
            raise the median.
        features: eyes, brows and mouth, as `mask`; where they alone differ, an
            expression was missed, and they are not hidden.

    Returns:
        The mask, of the faces' size, smooth.

    Raises:
        ValueError: shapes differ.
    """
    if old_face.shape != redrawn.shape:
        raise ValueError(
            f"old_face and redrawn must have one shape, got {old_face.shape} and "
            f"{redrawn.shape}"
        )
    side = len(old_face)
    old, new = _reduce(old_face), _reduce(redrawn)
    weight = np.ones((_SIDE, _SIDE), np.float32) if mask is None else _reduce(mask)
    weight = np.where(weight > 0.5, weight, 0)
    if not weight.any():
        return np.ones((side, side), np.float32)
    residual, typical = _fit_residual(old, new, weight)
    hidden = np.clip((residual / typical - _LOW) / (_HIGH - _LOW), 0, 1)
    hidden = hidden * hidden * (3 - 2 * hidden)
    if not hidden[weight > 0].any():
        return np.ones((side, side), np.float32)
    better = float(np.percentile(residual[weight > 0], 25))
    hidden *= np.clip((_UNKNOWN - better) / (_UNKNOWN - _KNOWN), 0, 1)
    face = (weight > 0).astype(np.uint8)
    inner = cv2.erode(face, np.ones((5, 5), np.uint8)) > 0
    if features is not None:
        inner &= _reduce(features) <= 0.5
    hidden = _drop_small_faults(hidden, face > 0, inner)
    # Grown a little, as blurring shrank it, so that no rim of the occluder is painted.
    hidden = cv2.dilate(hidden, np.ones((3, 3), np.uint8))
    hidden = cv2.GaussianBlur(hidden, (0, 0), _BLUR)
    shown = cv2.resize(1 - hidden, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.clip(shown, 0, 1)


def _reduce(picture: np.ndarray) -> np.ndarray:
    size = (_SIDE, _SIDE)
    small = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), _BLUR)


def _drop_small_faults(
    hidden: Float32[np.ndarray, "side side"],
    face: Bool[np.ndarray, "side side"],
    inner: Bool[np.ndarray, "side side"],
) -> Float32[np.ndarray, "side side"]:
    """Without the connected parts that hardly reach to where a face changes little.

    Args:
        hidden: what is not as the face is.
        face: where the face is.
        inner: the same without its rim, where the background looks in, and without its
            features, which an expression moves.
    """
    count, parts = cv2.connectedComponents(((hidden > 0) & face).astype(np.uint8))
    for number in range(1, count):
        part = parts == number
        if hidden[part & inner].sum() < _REACH * hidden[part].sum():
            hidden = np.where(part, np.float32(0), hidden)
    # The background is as it likes, but for what goes on from the face.
    near = cv2.dilate(hidden * face, np.ones((5, 5), np.uint8))
    return np.where(face, hidden, np.minimum(hidden, near))


def _fit_residual(
    old: Float32[np.ndarray, "side side 3"],
    new: Float32[np.ndarray, "side side 3"],
    weight: Float32[np.ndarray, "side side"],
) -> tuple[Float32[np.ndarray, "side side"], np.float32]:
    """What light and contrast do not explain of a difference, levels; and its median.

    The fit is iteratively reweighted least squares with Cauchy weights (Holland and
    Welsch 1977), on 1, x, y and the new face's brightness.
    """
    line = np.linspace(-1, 1, len(weight), dtype=np.float32)
    x, y = np.meshgrid(line, line)
    bright = new.mean(axis=2) / 255
    basis = np.stack([np.ones_like(x), x, y, bright], axis=-1).reshape(-1, 4)
    values = (old - new).reshape(-1, 3)
    given = weight.reshape(-1)
    # Medians first: least squares would take a hand before the chin for a slope of
    # light, and never let go of it.
    fit = np.zeros((4, 3), np.float32)
    fit[0] = np.median(values[given > 0], axis=0)
    residual, typical = _measure_residual(values - basis @ fit, given)
    for _ in range(_ROUNDS):
        used = given / (1 + (residual / typical) ** 2)
        weighted = basis * used[:, None]
        # The ridge keeps a mask of a few pixels, or a flat face, solvable.
        normal = weighted.T @ basis + 1e-3 * np.eye(4, dtype=np.float32)
        fit = np.linalg.solve(normal, weighted.T @ values)
        residual, typical = _measure_residual(values - basis @ fit, given)
    return residual.reshape(weight.shape), np.float32(typical)


def _measure_residual(
    error: Float32[np.ndarray, "n 3"], given: Float32[np.ndarray, "n"]
) -> tuple[Float32[np.ndarray, "n"], float]:
    residual = np.sqrt((error**2).sum(axis=1))
    return residual, max(float(np.median(residual[given > 0])), _FLOOR)
