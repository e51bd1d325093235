"""Colours along a mask's border, carried inwards: a swap takes the light around it.

Not everything at a border is light. Under the rim of the old face may be a beard, a
fringe, glasses or a wall that the new face has not; carried inwards, a beard made grey
lips, and brows as pale as the skin beside them. So places count by how near their
difference is to that of the rest of the face.

As `color`; the method ``border`` of its table.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from deepfake_jax.imaging.color import ColorMethod, Stats
from deepfake_jax.types import DrawnFace, Face, Mask

_CELLS = 16  # along each axis of the grid that holds colours
# Where the border of a feathered mask lies inside the mask that it is made of, and how
# far to both sides of it colours count, as shares of the face's side.
_DEPTH, _BAND = 0.07, 0.04
# Levels from the face's usual difference at which a place counts a quarter, and how
# much that difference counts everywhere: a border that counts fully has 1 to 2 where it
# runs, and 0.2 in the middle of the face.
_FAR, _USUAL = 60.0, 0.3
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_BLACK, _BRIGHTEST = np.float32(24.0), 3.0
# Levels from which on all is moved wholly, as skin in the shade has more; and how much
# of its brightness a place loses at the most.
_SHADE, _LOST = 60.0, 0.6
# Along each axis, of which the brightest counts; and how much of what is brighter goes.
_PLACES, _TAMED = 64, 0.85
_SOFTEST = 0.5  # factor that the light on skin is softened by, at the most


class BorderColor(ColorMethod):
    """What a grid of 16 x 16 cells has as red, green and blue, from the border inwards.

    The last but one is by how much the cells' brightness inside of the mask differs
    from these, root mean square. A light that is harder than the other face's is
    softened, to a half at the most; features are left as they are. The last is the
    brightness of the brightest place: what would be brighter is glare, of a stage's
    light that is matched to a brighter face.

    Reference:
        Farbman et al. 2009, "Coordinates for instant image cloning", whose membrane is
        nearly that of a Poisson clone; here on a coarse grid, with inverse distances
        (Shepard 1968) for weights. Cauchy's weights, squared, for what is no light:
        Holland and Welsch 1977, "Robust regression using iteratively reweighted
        least-squares".
    """

    count = 3 * _CELLS**2 + 2

    def measure(self, faces: Sequence[DrawnFace], mask: Mask | None) -> list[Stats]:
        """Colours of the cells, then the contrast, of each face."""
        weights = _weigh_border(faces[0].shape[:2], mask)
        reduced = [_reduce(face) for face in faces]
        inside = _find_inside(mask)
        if len(faces) == 2:
            weights *= _trust(reduced[0] - reduced[1], inside, weights.shape)
        total, weights = _spread(weights)[..., None], weights[..., None]
        found = []
        for face, own in zip(faces, reduced, strict=True):
            cells = _spread(face * weights).reshape(own.shape)
            cells += np.float32(_USUAL) * _fit_usual(own, inside)
            cells /= total.reshape(_CELLS, _CELLS, 1) + np.float32(_USUAL)
            contrast = _measure_contrast(own, cells, mask)
            last = contrast, _find_brightest(face, mask)
            found.append(np.append(cells.astype(np.float64).ravel(), last))
        return found

    def match(self, new_face: DrawnFace, old: Stats, new: Stats) -> Face:
        """Moves the cells to the old ones' colours, interpolated.

        Darker by what they differ in and brighter by a factor, each of which keeps what
        is dark in a face: raised by an addition it turns to fog. What is darker than
        skin is moved less, in proportion: in another light pupils and mouths are as
        dark as they were, and no black discs.
        """
        wanted, found = (
            each[:-2].reshape(_CELLS, _CELLS, 3).astype(np.float32)
            for each in (old, new)
        )
        factor = (np.maximum(wanted, found) + _BLACK) / (found + _BLACK)
        factor = np.minimum(factor, np.float32(_BRIGHTEST))
        # Of two lights the harder one is softened, never the softer one hardened: that
        # would raise what is wrong in a face, too.
        hard = max(float(factor.mean()) * new[-2], 1.0)
        soften = 1 - np.float32(np.clip(old[-2] / hard, _SOFTEST, 1))
        size = new_face.shape[1::-1]
        lit, factor, shift = (
            cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC)
            for cells in (
                soften * (_reduce_skin(new_face) - found),
                factor,
                np.minimum(wanted - found, 0),
            )
        )
        # Levels below `_BLACK` count as noise, which no factor should raise.
        softer = new_face - lit
        raised = (softer + _BLACK) * factor - _BLACK
        raised = softer + _share(softer @ _LUMA)[..., None] * (raised - softer)
        light = np.maximum(raised @ _LUMA, 0)
        most = np.float32(_LOST) * light / np.maximum(shift @ -_LUMA, 1)
        matched = raised + np.minimum(_share(light), most)[..., None] * shift
        glare = np.maximum(_see_places(matched) - np.float32(old[-1]), 0)
        if glare.any():
            matched -= np.float32(_TAMED) * cv2.resize(glare, size)[..., None]
        return np.clip(np.rint(matched), 0, 255).astype(np.uint8)


def _share(
    light: Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width"]:
    """How much of a move each pixel takes part in: less where no skin is as dark."""
    return np.clip(light / np.float32(_SHADE), 0, 1)


def _see_places(face: DrawnFace) -> Float32[np.ndarray, "places places"]:
    """How bright a face's places are, which are wider than an eye's glint."""
    size = (_PLACES, _PLACES)
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) @ _LUMA


def _find_brightest(face: DrawnFace, mask: Mask | None) -> float:
    places = _see_places(face)
    if mask is None or not mask.any():
        return float(places.max())
    shown = cv2.resize(mask, places.shape, interpolation=cv2.INTER_AREA)
    return float(places[shown >= min(0.5, float(shown.max()))].max())


def _weigh_border(size: tuple[int, int], mask: Mask | None) -> Mask:
    """How much each pixel counts for the colours along a mask's border."""
    height, width = size
    shape = np.ones((height, width), np.uint8)
    if mask is not None and (mask > 0.5).any():
        shape = (mask > 0.5).astype(np.uint8)
    # A frame of nothing around: a mask that fills the picture ends at its edges.
    padded = cv2.copyMakeBorder(shape, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    # A small mask has no place as deep: the deepest that it has.
    off = depth / width - min(_DEPTH, float(depth.max()) / width)
    return np.exp(-np.square(off / np.float32(_BAND))) * shape


def _find_inside(mask: Mask | None) -> Bool[np.ndarray, "cells cells"]:
    """The cells that a mask shows, all where it shows none."""
    if mask is None or not mask.any():
        return np.ones((_CELLS, _CELLS), bool)
    shown = cv2.resize(mask, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return shown > min(0.5, 0.9 * float(shown.max()))


def _trust(
    apart: Float32[np.ndarray, "cells cells 3"],
    inside: Bool[np.ndarray, "cells cells"],
    shape: tuple[int, ...],
) -> Float32[np.ndarray, "height width"]:
    """How much each pixel's difference looks like light: 1 where it is the usual."""
    far = (apart - _fit_usual(apart, inside)) / np.float32(_FAR)
    trust = np.square(1 / (1 + np.square(far).sum(axis=2))).astype(np.float32)
    return cv2.resize(trust, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _fit_usual(
    values: Float32[np.ndarray, "cells cells 3"],
    inside: Bool[np.ndarray, "cells cells"],
) -> Float32[np.ndarray, "cells cells 3"]:
    """What is usual inside of a mask: a median, and a slope from side to side.

    Light comes from a side, and of beards, brows and fringes both sides have as much:
    the slope is the median of cells and their mirror images.

    Reference:
        Theil 1950 and Sen 1968, of medians of slopes.
    """
    along = np.arange(_CELLS, dtype=np.float32) - (_CELLS - 1) / 2
    both = (inside & inside[:, ::-1])[:, _CELLS // 2 :]
    slope = np.zeros(3, np.float32)
    if both.any():
        slopes = (values - values[:, ::-1]) / (2 * along)[:, None]
        slope = np.median(slopes[:, _CELLS // 2 :][both], axis=0)
    lit = np.broadcast_to(along[:, None] * slope, values.shape)
    return (lit + np.median((values - lit)[inside], axis=0)).astype(np.float32)


def _measure_contrast(
    reduced: Float32[np.ndarray, "cells cells 3"],
    cells: Float32[np.ndarray, "cells cells 3"],
    mask: Mask | None,
) -> float:
    """How far the light on a face leaves that at its border, RMS inside of the mask."""
    squares = np.square((reduced - cells) @ _LUMA).ravel()
    if mask is None or not mask.any():
        return float(np.sqrt(squares.mean()))
    weights = cv2.resize(mask, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).ravel()
    return float(np.sqrt(squares @ weights / weights.sum()))


def _reduce(face: DrawnFace) -> Float32[np.ndarray, "cells cells 3"]:
    """A face as the grid sees it: its light, and nothing that is narrower."""
    small = cv2.resize(face, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def _reduce_skin(face: DrawnFace) -> Float32[np.ndarray, "cells cells 3"]:
    """The same without what is dark and narrower than three cells: eyes, brows."""
    return cv2.morphologyEx(_reduce(face), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))


def _spread(
    values: Float32[np.ndarray, "height width *channels"],
) -> Float32[np.ndarray, "cells numbers"]:
    """For each cell of a grid, the sum of the values near it."""
    small = cv2.resize(values, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return _inverse_distances() @ small.reshape(_CELLS**2, -1)


@cache
def _inverse_distances() -> Float32[np.ndarray, "cells cells"]:
    """How much each cell's colours count for each cell, by the cube of the distance."""
    line = np.arange(_CELLS)
    places = np.stack(np.meshgrid(line, line, indexing="ij"), axis=2).reshape(-1, 2)
    apart = np.square(places[:, None] - places[None]).sum(2)
    return ((apart + 1.0) ** -1.5).astype(np.float32)
