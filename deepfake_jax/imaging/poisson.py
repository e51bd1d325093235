"""Seamless cloning: the new picture's gradients, the old one's colours at the border.

The region is where the mask is above a half. Its border values are the old picture's
pixels just outside; where the region touches the pictures' edge there is no neighbour,
so nothing is asked for there (Neumann), as if the seam were out of sight.

Reference:
    Perez, Gangnet, Blake 2003, "Poisson image editing", equations 7 (the equations) and
    11 (importing gradients).
"""

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from deepfake_jax.imaging.poisson_solver import plan_grids, solve_poisson
from deepfake_jax.types import Frame, Mask

# Of faces of 40 to 400 pixels, against the exact solution: one cycle is 0.4 to 0.8 grey
# levels off (root mean square), 0.3 of it by rounding; two are 0.3.
_CYCLES = 1
_Region = UInt8[np.ndarray, "height width"]  # 1 inside, else 0
_Padded = Float32[np.ndarray, "full_height full_width"]
_PaddedPlanes = Float32[np.ndarray, "3 full_height full_width"]
_Values = Float32[np.ndarray, "n 3"]
_Places = tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]  # rows, columns


def poisson_blend(old: Frame, new: Frame, mask: Mask, *, smooth: float = 0.0) -> Frame:
    """Clones a picture seamlessly where its mask is above a half.

    Args:
        old: the picture to clone into.
        new: the picture to clone, of the same shape.
        mask: their mask. The clone fades in where it rises from a half to 1, so that
            the result follows it without jumps; a hard mask shows all of the clone.
        smooth: share of the region's size (root of its box's area) along which the
            difference of the pictures at the border is averaged; 0 takes each pixel's
            own, which is the equations' question. A white collar or a dark background
            that the border touches then does not flood the new picture, and noise of
            single pixels does not flicker in it; what remains of a step at the border
            is for a soft mask to hide.

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
    cloned = _clone(part, new[rows, columns], region, smooth)
    # Else a pixel would jump from one picture to the other when its mask passes a half.
    # Fading within an opacity of 0.25 left more of a seam: 7.6 for 7.0 Delta E.
    opacity = np.clip(2 * mask[rows, columns] - 1, 0, 1)
    result[rows, columns] = cv2.blendLinear(cloned, part, opacity, 1 - opacity)
    return result


def seamless_clone(old: Frame, new: Frame, mask: Mask) -> Frame:
    """What `cv2.seamlessClone` gives with NORMAL_CLONE, within a grey level, faster.

    It asks another question than `poisson_blend`: the whole bounding box of the mask
    changes, with the new picture's gradients in the mask less three pixels and the old
    one's elsewhere; the box's outermost pixels keep the old colors. The mask may touch
    the pictures' edge, which OpenCV's must not.

    Args:
        old: the picture to clone into.
        new: the picture to clone, of the same shape; it stays in its place.
        mask: above a half where the new picture counts.
    """
    inside = (mask > 0.5).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    if min(width, height) < 3:  # nothing but the box's own border
        return old.copy()
    part = slice(y, y + height), slice(x, x + width)
    bordered = cv2.copyMakeBorder(inside[part], 3, 3, 3, 3, cv2.BORDER_CONSTANT)
    eroded = cv2.erode(bordered, np.ones((7, 7), np.uint8))[3:-3, 3:-3]
    change = cv2.subtract(new[part], old[part], dtype=cv2.CV_32F)
    levels, *padded = plan_grids(height, width)
    source = np.zeros((3, *padded), np.float32)
    region, held = np.zeros((2, *padded), np.float32)
    region[1 : height - 1, 1 : width - 1] = 1
    for row in (1, height - 2):
        held[row, 1 : width - 1] += 1
    for column in (1, width - 2):
        held[1 : height - 1, column] += 1
    for channel, plane in enumerate(source[:, :height, :width]):
        for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            step = change[..., channel][there] - change[..., channel][here]
            step *= eroded[here]
            plane[there] += step
            plane[here] -= step
    source *= region
    found = solve_poisson(source, region, held, levels, cycles=2)
    result = old.copy()
    moved = np.ascontiguousarray(found[:, :height, :width].transpose(1, 2, 0))
    result[part] = cv2.add(old[part], moved, dtype=cv2.CV_8U)
    return result


def _clone(old: Frame, new: Frame, region: _Region, smooth: float) -> Frame:
    """Solves for the change that, added to the new picture, meets the old one."""
    height, width = region.shape
    levels, *padded = plan_grids(height, width)
    inside, held = np.zeros((2, *padded), np.float32)
    inside[:height, :width] = region
    source = np.zeros((3, *padded), np.float32)
    _add_border(source, held, old, new, region, smooth)
    if not held.any():
        return new
    change = solve_poisson(source, inside, held, levels, cycles=_CYCLES)
    planes = [
        cv2.add(plane, more[:height, :width], dtype=cv2.CV_8U)
        for plane, more in zip(cv2.split(new), change, strict=True)
    ]
    return cv2.merge(planes)


def _add_border(
    source: _PaddedPlanes,
    held: _Padded,
    old: Frame,
    new: Frame,
    region: _Region,
    smooth: float,
) -> None:
    """Adds, to each pixel at the region's border, what its neighbours outside hold."""
    inner, outer = _list_border(region)
    difference = old[outer].astype(np.float32) - new[outer]
    if smooth and len(difference):
        difference = _smooth_border(difference, outer, region.shape, smooth)
    place = inner[0] * held.shape[1] + inner[1]
    np.add.at(held.reshape(-1), place, np.float32(1))
    for plane, values in zip(source, difference.T, strict=True):
        np.add.at(plane.reshape(-1), place, values)


def _smooth_border(
    difference: _Values, places: _Places, shape: tuple[int, ...], share: float
) -> _Values:
    """Averages a difference along the border: Gaussian, by the distance of its pixels.

    In coarse cells: border pixels are added up in them, blurred and read off between.
    """
    cell = max(share * np.sqrt(shape[0] * shape[1]) / 2, 1.0)
    height, width = (int(side / cell) + 1 for side in shape)
    at = [(place + 0.5) / cell for place in places]
    index = at[0].astype(int) * width + at[1].astype(int)
    sums = np.empty((height, width, 4), np.float32)
    for channel, values in enumerate((*difference.T, np.ones(len(index)))):
        counted = np.bincount(index, values, height * width)
        sums[..., channel] = counted.reshape(height, width)
    sums = cv2.GaussianBlur(sums, (0, 0), 2, borderType=cv2.BORDER_CONSTANT)
    y, x = (line.astype(np.float32)[:, None] - 0.5 for line in at)
    found = cv2.remap(sums, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found[:, 0, :3] / found[:, 0, 3:]


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
