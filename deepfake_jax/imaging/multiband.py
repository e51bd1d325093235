"""Multiband blending: coarse parts mix over a wide border, fine ones over a narrow one.

Reference:
    Burt and Adelson 1983, "A multiresolution spline with application to image mosaics",
    section 3.2 (arbitrary regions).
"""

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.types import Frame, Mask

_Picture = Float32[np.ndarray, "height width 3"]
_Coarse = Float32[np.ndarray, "half_height half_width 3"]
_SHORTEST = 8  # pixels of the coarsest level's shorter side


def multiband_blend(old: Frame, new: Frame, mask: Mask) -> Frame:
    """Blends two pictures of one shape band by band.

    The pyramid of a difference is the difference of pyramids, so one of new minus old
    does. Coarse bands spread beyond the mask: its lower half fades them out, so that
    they end where it does. A hard mask has no lower half, and its border may show.

    Args:
        old: where the mask is 0; its pixels stay bit-identical there.
        new: where it is 1, away from the border.
        mask: their mask. The border of each band is as wide as the band is coarse.
    """
    change = cv2.subtract(new, old, dtype=cv2.CV_32F)
    weight = mask
    bands = []
    while min(weight.shape) >= 2 * _SHORTEST:
        coarser = cv2.pyrDown(change)
        band = change - _enlarge(coarser, change)
        bands.append(_weigh(band, weight))
        change, weight = coarser, cv2.pyrDown(weight)
    mixed = _weigh(change, weight)
    for band in reversed(bands):
        mixed = cv2.add(_enlarge(mixed, band), band)
    return cv2.add(old, _weigh(mixed, np.minimum(2 * mask, 1)), dtype=cv2.CV_8U)


def _enlarge(coarse: _Coarse, like: _Picture) -> _Picture:
    return cv2.pyrUp(coarse, dstsize=(like.shape[1], like.shape[0]))


def _weigh(picture: _Picture, weight: Mask) -> _Picture:
    return cv2.multiply(picture, cv2.merge([weight, weight, weight]))
