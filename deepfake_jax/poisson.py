"""Seamless cloning: the new picture's gradients, the old one's colours at the border.

The region is where the mask is above a half. Its border values are the old picture's
pixels just outside; where the region touches the pictures' edge there is no neighbour,
so nothing is asked for there (Neumann), as if the seam were out of sight.

Reference:
    Perez, Gangnet, Blake 2003, "Poisson image editing", equations 7 (the equations), 11
    (importing gradients) and 12, 13 (mixing gradients).
"""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from deepfake_jax.multigrid import plan_grids, solve_poisson
from deepfake_jax.types import Frame, Mask

Gradients = Literal["new", "mixed"]
# Of faces of 40 to 400 pixels, against the exact solution: one cycle is 0.4 to 0.8 grey
# levels off (root mean square), 0.3 of it by rounding; two are 0.3. Mixed gradients
# leave more to the finest grid: 2 to 3 levels after one cycle, 0.5 after two.
_CYCLES: dict[Gradients, int] = {"new": 1, "mixed": 2}
_Region = UInt8[np.ndarray, "height width"]  # 1 inside, else 0
_Padded = Float32[np.ndarray, "full_height full_width"]
_PaddedPlanes = Float32[np.ndarray, "3 full_height full_width"]
_Differences = Float32[np.ndarray, "height width"]
_Channel = UInt8[np.ndarray, "height width"]
_Places = tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]  # rows, columns


def poisson_blend(
    old: Frame,
    new: Frame,
    mask: Mask,
    *,
    gradients: Gradients = "new",
) -> Frame:
    """Clones a picture seamlessly where its mask is above a half.

    Args:
        old: the picture to clone into.
        new: the picture to clone, of the same shape.
        mask: their mask; its soft border only says where a half is.
        gradients: "new" takes the new picture's; "mixed" of each two neighbours and
            channel the stronger one of the two pictures', so that what the old picture
            shows in flat places of the new one (hair, glasses, a microphone) remains.
            Of two faces it shows the features of both.

    Returns:
        A new picture; bit-identical to `old` outside of the region. A region that is
        the whole picture has no border: it gives `new`.
    """
    inside = (mask > 0.5).view(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    result = old.copy()
    if width == 0:
        return result
    # One pixel around the region has the border's values.
    rows = slice(max(y - 1, 0), y + height + 1)
    columns = slice(max(x - 1, 0), x + width + 1)
    part, region = result[rows, columns], inside[rows, columns]
    cloned = _clone(part, new[rows, columns], region, gradients)
    cv2.copyTo(cloned, region, part)
    return result


def _clone(old: Frame, new: Frame, region: _Region, gradients: Gradients) -> Frame:
    """Solves for the change that, added to the new picture, meets the old one."""
    height, width = region.shape
    levels, *padded = plan_grids(height, width)
    inside, held = np.zeros((2, *padded), np.float32)
    inside[:height, :width] = region
    source = np.zeros((3, *padded), np.float32)
    if gradients == "mixed":
        parts = source[:, :height, :width]
        for part, *pictures in zip(parts, cv2.split(old), cv2.split(new), strict=True):
            _add_stronger_gradients(part, *pictures)
        source *= inside
    _add_border(source, held, old, new, region)
    if not held.any():
        return new
    change = solve_poisson(source, inside, held, levels, cycles=_CYCLES[gradients])
    planes = [
        cv2.add(plane, more[:height, :width], dtype=cv2.CV_8U)
        for plane, more in zip(cv2.split(new), change, strict=True)
    ]
    return cv2.merge(planes)


def _add_border(
    source: _PaddedPlanes, held: _Padded, old: Frame, new: Frame, region: _Region
) -> None:
    """Adds, to each pixel at the region's border, what its neighbours outside hold."""
    inner, outer = _list_border(region)
    difference = old[outer].astype(np.float32) - new[outer]
    place = inner[0] * held.shape[1] + inner[1]
    np.add.at(held.reshape(-1), place, np.float32(1))
    for plane, values in zip(source, difference.T, strict=True):
        np.add.at(plane.reshape(-1), place, values)


def _list_border(region: _Region) -> tuple[_Places, _Places]:
    """Rows and columns of pixels at the region's border, and of neighbours outside."""
    width = region.shape[1]
    rows, columns = np.divmod(
        np.flatnonzero(region[:, 1:] != region[:, :-1]), max(width - 1, 1)
    )
    across = rows * width + columns
    down = np.flatnonzero(region[1:] != region[:-1])
    one = np.concatenate([across, down])
    other = np.concatenate([across + 1, down + width])
    first = region.reshape(-1)[one] > 0
    inner = np.where(first, one, other)
    outer = np.where(first, other, one)
    return np.divmod(inner, width), np.divmod(outer, width)


def _add_stronger_gradients(plane: _Differences, old: _Channel, new: _Channel) -> None:
    """Adds the divergence of old less new gradients where the old are stronger."""
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        of_old = old[here].astype(np.int16) - old[there]
        of_new = new[here].astype(np.int16) - new[there]
        stronger = np.abs(of_old) > np.abs(of_new)
        difference = (of_old - of_new) * stronger
        plane[here] += difference
        plane[there] -= difference
