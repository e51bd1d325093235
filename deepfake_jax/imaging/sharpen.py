"""Faces as sharp as the frames that they are laid into.

Networks draw softly, and a face that is enlarged has edges as wide as its pixels.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from deepfake_jax.types import DrawnFace, Face, Frame, Mask

_BLUR = 0.6  # of the small face's pixels, over which edges are found
_STEEPEST = 12.0  # levels from pixel to pixel; steeper edges count as this
_AXES = ((1, 0), (0, 1))  # of a derivative: along x, along y
_FARTHEST = 1.5  # of the enlarged face's pixels, from where one is taken


def sharpen_face(face: Frame, amount: float, *, radius: float = 0.01) -> Frame:
    """Adds a picture's fine detail to it once more: an unsharp mask.

    Args:
        face: a face, or a box of a frame.
        amount: share of the detail to add; 0 gives the face itself.
        radius: standard deviation of the blur that detail is what differs from, as a
            share of the longer side.

    Raises:
        ValueError: the radius is not positive.
    """
    if radius <= 0:
        raise ValueError(f"radius must be positive, got {radius}")
    if amount == 0:
        return face
    blurred = cv2.GaussianBlur(face, (0, 0), radius * max(face.shape[:2]))
    return cv2.addWeighted(face, 1 + amount, blurred, -amount, 0)


def missing_sharpness(
    face: DrawnFace, like: Face, mask: Mask, *, radius: float = 0.01
) -> float:
    """The amount by which `sharpen_face` gives a face as much detail as another has.

    Detail is what differs from a blur, in grey; it is as much when its mean square is.

    Args:
        face: the one to sharpen, side x side.
        like: another of the same size.
        mask: where to look, side x side.
        radius: `sharpen_face`'s.

    Returns:
        0 or more; 0 where the face has as much already, or none at all.
    """
    sigma = radius * len(face)
    wanted, own = _detail(like, sigma), _detail(face, sigma)
    raised = own - cv2.GaussianBlur(own, (0, 0), sigma)
    # Of own + amount * raised, the mean square as a polynomial of the amount.
    square, slope = (float(np.vdot(mask, raised * other)) for other in (raised, own))
    lacking = float(np.vdot(mask, wanted * wanted - own * own))
    if lacking <= 0 or square <= 0:
        return 0.0
    return float((np.sqrt(slope * slope + square * lacking) - slope) / square)


def thin_edges(
    enlarged: UInt8[np.ndarray, "two_sides two_sides 3"], face: Face, amount: float
) -> UInt8[np.ndarray, "two_sides two_sides 3"]:
    """Narrows the edges of a face that was enlarged twofold.

    Each pixel is taken from a little farther away from the nearest edge: both sides
    come nearer to each other, and nothing becomes brighter or darker than it was.

    Args:
        enlarged: the face, twice as wide and high.
        face: the face itself, where its edges are found.
        amount: pixels of the enlarged one for each level by which steepness changes
            from pixel to pixel; 1 is a good one, 2 looks painted.

    Reference:
        Arad and Gotsman 1999, "Enhancement by image-dependent warping", of the idea.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (0, 0), _BLUR)
    # Sums of 32 levels, and of half as many pixels to a step.
    slopes = [cv2.Scharr(grey, cv2.CV_32F, *axes, scale=1 / 64) for axes in _AXES]
    steep = np.minimum(cv2.magnitude(*slopes), _STEEPEST)
    steep = cv2.GaussianBlur(steep, (0, 0), _BLUR)
    size, line = len(enlarged), np.arange(len(enlarged), dtype=np.float32)
    places = []
    for axes, start in zip(_AXES, (line[None], line[:, None]), strict=True):
        away = cv2.Scharr(steep, cv2.CV_32F, *axes, scale=-amount / 64)
        np.clip(away, -_FARTHEST, _FARTHEST, out=away)
        places.append(cv2.resize(away, (size, size)) + start)
    x, y = places
    return cv2.remap(enlarged, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _detail(face: DrawnFace, sigma: float) -> Float32[np.ndarray, "side side"]:
    grey = cv2.cvtColor(face.astype(np.float32), cv2.COLOR_RGB2GRAY)
    return grey - cv2.GaussianBlur(grey, (0, 0), sigma)
