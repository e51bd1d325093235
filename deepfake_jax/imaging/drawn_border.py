"""What a network drew beside its face, painted over with the face's own border.

Beside the other person's face there are walls, windows and hair of their pictures. What
is shown of a crop ends with the face, but for brows, eyes and mouth of the frame, which
are covered wholly: a wider face's brows would be covered by a window.
"""

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.types import DrawnFace, DrawnMask, Mask

_SURE = 0.5  # of a network's mask, from which on what it drew begins to be the face
# Share of the face's usual level, below which a place is brow or beard: its color would
# go on into the forehead.
_SKIN = 0.75
_REACH = 0.04  # of a face's side, from which its color is taken
TRACE = 1e-3  # share of what is known, below which there is nothing to take


def carry_on(face: DrawnFace, seen: DrawnMask) -> Float32[np.ndarray, "height width 3"]:
    """A drawn face whose border's colors go on to where none of it was drawn.

    They do so over about a tenth of its side; what is further away stays as drawn.

    Args:
        face: RGB levels, side x side.
        seen: what a network takes of it for the face, in [0, 1], of the same size.
    """
    size = (max(1, len(face) // 2), max(1, len(face) // 2))  # it is smooth
    sure = np.clip((seen - _SURE) / (1 - _SURE), 0, 1).astype(np.float32)
    face = face.astype(np.float32)
    small, known = (
        cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (face, sure)
    )
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if (known > 0).any():
        known = known * (grey > _SKIN * np.median(grey[known > 0]))
    painted, weight = spread_color(small, known, max(_REACH * size[0], 0.5))
    layer = np.concatenate([painted, np.minimum(weight / TRACE, 1)], axis=2)
    layer = cv2.resize(layer, face.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return face + (1 - sure)[..., None] * layer[..., 3:] * (layer[..., :3] - face)


def spread_color(
    face: Float32[np.ndarray, "height width 3"], known: Mask, sigma: float
) -> tuple[
    Float32[np.ndarray, "height width 3"], Float32[np.ndarray, "height width 1"]
]:
    """The mean color around each place of what is known, and how much of it there is.

    Args:
        face: RGB levels.
        known: how much each pixel counts.
        sigma: of the Gaussian that weighs them, pixels.

    Reference:
        Knutsson and Westin 1993, "Normalized and differential convolution".
    """
    both = cv2.merge([*cv2.split(face * known[..., None]), known])
    both = cv2.GaussianBlur(both, (0, 0), sigma)
    weight = both[..., 3:]
    return both[..., :3] / np.maximum(weight, TRACE), weight
