"""Skin by its colour: a mask of the pixels of a face that look like skin.

Three published rules, each a fixed region of a colour space. They know no person and no
light: tinted light, dim pictures, very dark skin and black and white defeat them, and
wood or sand passes. The share found tells the first case; for the second, show skin
only within a hull or an oval.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from deepfake_jax.convert_config import SkinSpace
from deepfake_jax.types import Face, Mask

# Below this share of the face skin detection has failed: the hull of a face is half of
# the crop, and of a bearded or half-lit one still half of that is skin.
MIN_SKIN = 0.2
_OPEN = 0.015  # shares of the side: specks up to twice this wide go,
_CLOSE = 0.04  # gaps up to twice this wide are bridged
_SMOOTH = 0.01
_CENTRE = 0.25  # half a side of the box in which a face's middle lies, as a share

_Levels = UInt8[np.ndarray, "height width"]


class SkinMask(NamedTuple):
    """What skin detection gave.

    Attributes:
        mask: 1 on skin, its border shaded over a few pixels.
        share: of the face's pixels that are in it; trust it from `MIN_SKIN`.
    """

    mask: Mask
    share: float


def skin_mask(face: Face, *, space: SkinSpace = "ycrcb") -> SkinMask:
    """The skin around a face's middle, without specks and holes.

    Pixels that pass the rule are opened, then closed; of the connected parts the one
    with most pixels in the middle of the face is kept, with eyes and other holes
    filled.

    Args:
        face: uint8 RGB, the crop that the network redraws.
        space: whose rule decides, see `find_skin`.

    Raises:
        ValueError: an unknown space.
    """
    side = len(face)
    levels = find_skin(face, space=space)
    levels = cv2.morphologyEx(levels, cv2.MORPH_OPEN, _disc(_OPEN * side))
    # Closing beyond the picture: skin that reaches its edge must not lose its corners.
    radius = max(1, round(_CLOSE * side))
    padded = np.pad(levels, 2 * radius, mode="edge")
    padded = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(_CLOSE * side))
    inner = slice(2 * radius, -2 * radius)
    part = _keep_middle(np.ascontiguousarray(padded[inner, inner]))
    share = cv2.countNonZero(part) / part.size
    mask = part.astype(np.float32) / 255
    return SkinMask(cv2.GaussianBlur(mask, (0, 0), max(_SMOOTH * side, 0.5)), share)


def find_skin(face: Face, *, space: SkinSpace) -> _Levels:
    """The pixels that pass a rule for skin: 255 where they do, else 0.

    - "rgb": R > G, R > B and |R - G| > 15, and either daylight (R > 95, G > 40, B > 20
      and max - min > 15) or flashlight (R > 220, G > 210 and B > 170);
    - "hsv": hue 0 to 50 degrees, saturation 0.23 to 0.68;
    - "ycrcb": Cr 133 to 173 and Cb 77 to 127, in BT.601 with headroom.

    Raises:
        ValueError: an unknown space.

    Reference:
        rgb: after Kovac, Peer and Solina 2003, "Human skin colour clustering for face
        detection". hsv: Sobottka and Pitas 1998, "A novel method for automatic face
        segmentation, facial feature extraction and tracking", Signal Processing: Image
        Communication 12(3). ycrcb: Chai and Ngan 1999, "Face segmentation using
        skin-color map in videophone applications", IEEE Transactions on Circuits and
        Systems for Video Technology 9(4).
    """
    if space == "rgb":
        return _find_skin_rgb(face)
    if space == "hsv":
        # Half degrees of hue fit a byte: 0 to 25 of 180.
        hsv = cv2.cvtColor(face, cv2.COLOR_RGB2HSV)
        low, high = round(0.23 * 255), round(0.68 * 255)
        return cv2.inRange(hsv, (0, low, 0), (25, high, 255))
    if space == "ycrcb":
        # OpenCV's chroma uses the full range, Chai and Ngan's 224 levels of it.
        low, high = [
            [0, *(round(128 + (level - 128) * 255 / 224) for level in levels)]
            for levels in ((133, 77), (173, 127))
        ]
        ycrcb = cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb)
        return cv2.inRange(ycrcb, tuple(low), (255, *high[1:]))
    raise ValueError(f"space must be rgb, hsv or ycrcb, got {space!r}")


def _find_skin_rgb(face: Face) -> _Levels:
    red, green, blue = cv2.split(face)
    # Saturating: 0 where green is larger, which `> 15` refuses as it must.
    above_green = cv2.subtract(red, green)
    above_blue = cv2.subtract(red, blue)
    reddish = (above_green > 15) & (above_blue > 0)
    # Red is the maximum here, so max - min is the larger of the two differences,
    # and that is more than 15 already.
    daylight = (red > 95) & (green > 40) & (blue > 20)
    flashlight = (red > 220) & (green > 210) & (blue > 170)
    return (reddish & (daylight | flashlight)).astype(np.uint8) * 255


def _keep_middle(levels: _Levels) -> _Levels:
    """The part with most pixels in the middle, its holes filled; else nothing."""
    count, labels = cv2.connectedComponents(levels, connectivity=4)
    side = len(levels)
    low, high = round((0.5 - _CENTRE) * side), round((0.5 + _CENTRE) * side)
    inside = np.bincount(labels[low:high, low:high].ravel(), minlength=count)
    inside[0] = 0
    kept = np.zeros_like(levels)
    if not inside.any():
        return kept
    part = (labels == inside.argmax()).astype(np.uint8)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(kept, contours, -1, 255, cv2.FILLED)


def _disc(radius: float) -> UInt8[np.ndarray, "side side"]:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
