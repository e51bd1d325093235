"""Poisson's equation on any region of a picture, by multigrid, three channels at once.

The unknown u is zero outside of the region; inside, each pixel's equation is

    sum over its neighbours q in the region of (u - u_q) + held * u = source

with `held` the number of its neighbours outside whose value is given. A neighbour that
does not exist, beyond the picture's edge, counts in neither: Neumann's condition.

The channels lie below each other in one plane, apart by rows outside of the region, so
that one call of OpenCV treats all three. A coarse cell belongs to the region if a fifth
of it does; `held` and the source are summed, so that a border through a cell holds
it in proportion to its length, and the grids need not fit the region.

Reference:
    Brandt 1977, "Multi-level adaptive solutions to boundary-value problems", sections 4
    (cycles) and 5 (full multigrid); Trottenberg, Oosterlee, Schueller 2001,
    "Multigrid", section 2.8.4 (cell-centred grids).
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "height width"]
Planes = Float32[np.ndarray, "3 height width"]
_Flat = Float32[np.ndarray, "rows width"]
_Half = Float32[np.ndarray, "half_rows half_width"]

# A pixel's own weight beside its neighbours' four in Jacobi's average, which damps it.
# Of 0 to 1, those from 0.3 to 0.6 leave the least error; 0 keeps checkerboards.
_OWN = 0.4
_SUM = np.array([[0, 1, 0], [1, _OWN, 1], [0, 1, 0]], np.float32)
# Share of a coarse cell that is in the region, to be a cell of its own. With 0.1 the
# cycles diverge on some rectangles, with 0.3 the first one is half as good on faces.
_LEAST_COVER = 0.2
_COARSEST = 8  # pixels, about, of the shorter side: few enough for a dense inverse


class _Stack(NamedTuple):
    """Three channels, and the same memory as one plane with these below each other."""

    planes: Planes
    flat: _Flat


@dataclass
class _Grid:
    """One level: its equations, and room to solve them in.

    Attributes:
        inside: 1 in the region, else 0; one channel.
        weight: sum of a pixel's weights, its own included, times 4 (four pixels make a
            coarse cell, whose source is their sum); 0 outside; one channel.
        inverse: its inverse, 0 outside.
        source: right-hand side.
        state: the solution so far.
        spare: what the next sweep writes to.
    """

    inside: Plane
    weight: Plane
    inverse: Plane
    source: _Stack
    state: _Stack
    spare: _Stack

    def sweep(self) -> None:
        """One damped Jacobi step for all pixels; `spare` then has the state before."""
        planes, flat = self.spare
        _add_neighbours(self.state.flat, flat)
        cv2.add(flat, self.source.flat, dst=flat)
        np.multiply(planes, self.inverse, out=planes)
        self.state, self.spare = self.spare, self.state


def plan_grids(height: int, width: int) -> tuple[int, int, int]:
    """How many coarser grids a picture takes, and its padded height and width.

    Both are multiples of the coarsest cell, and the last row of these stays empty: it
    keeps the channels apart on every grid.
    """
    levels = max(0, round(np.log2(min(height, width) / _COARSEST)))
    cell = 2**levels
    return levels, (-(-height // cell) + 1) * cell, -(-width // cell) * cell


def solve_poisson(
    source: Planes, inside: Plane, held: Plane, levels: int, *, cycles: int = 1
) -> Planes:
    """Solves for u by full multigrid: from the coarsest grid up, V-cycles on each.

    Args:
        source: right-hand side, of the size that `plan_grids` gives; 0 outside.
        inside: 1 in the region, else 0; its last `2**levels` rows are 0.
        held: given neighbours of each pixel of the region; 0 outside. Without any the
            solution is not unique.
        levels: coarser grids, from `plan_grids`.
        cycles: V-cycles a grid; each leaves a fifth to a half of the error.

    Returns:
        u, in memory of its own.
    """
    grids = _make_grids(source, inside, held, levels)
    exact = _invert(grids[-1])
    for level in range(levels, -1, -1):
        grid = grids[level]
        if level < levels:
            _enlarge(grids[level + 1].state.flat, grid.state.flat)
            np.multiply(grid.state.planes, grid.inside, out=grid.state.planes)
        for _ in range(cycles):
            _cycle(grids, level, exact)
    return grids[0].state.planes


def _cycle(grids: list[_Grid], level: int, exact: Float32[np.ndarray, "n n"]) -> None:
    """One V-cycle: a sweep, the correction from the coarser grids, a sweep."""
    grid = grids[level]
    if level == len(grids) - 1:
        solved = grid.source.planes.reshape(3, -1) @ exact
        grid.state.planes[...] = solved.reshape(grid.state.planes.shape)
        return
    grid.sweep()
    # A second sweep's step is the residual over the weights, so that the residual takes
    # no filter of its own and the step is kept, too.
    grid.sweep()
    state, spare = grid.state, grid.spare
    cv2.subtract(state.flat, spare.flat, dst=spare.flat)
    np.multiply(spare.planes, grid.weight, out=spare.planes)
    coarse = grids[level + 1]
    _pool(spare.flat, coarse.source.flat)
    np.multiply(coarse.source.planes, coarse.inverse, out=coarse.state.planes)
    _cycle(grids, level + 1, exact)
    _enlarge(coarse.state.flat, spare.flat)
    cv2.add(state.flat, spare.flat, dst=state.flat)
    if level:  # the finest does without: its border is exact, the correction near 0
        np.multiply(state.planes, grid.inside, out=state.planes)
    grid.sweep()


def _make_grids(source: Planes, inside: Plane, held: Plane, levels: int) -> list[_Grid]:
    grids, cover = [], inside
    for level in range(levels + 1):
        if level:
            fine, (height, width) = source, inside.shape
            half = np.empty((5, height // 2, width // 2), np.float32)
            source = half[2:]
            _pool(_stack(fine).flat, _stack(source).flat)
            held = _pool(held, half[0])
            half[:1] *= 4
            source *= 4
            cover = _pool(cover, half[1]).copy()
            inside = (cover >= _LEAST_COVER).astype(np.float32)
            _drop_thin_cells(source, held, inside, cover)
        weight = np.empty_like(inside)
        _add_neighbours(inside, weight)
        cv2.add(weight, held, dst=weight)
        cv2.multiply(weight, inside, dst=weight)
        inverse = inside / np.maximum(weight, _OWN)  # no weight inside is less
        room = np.empty((2, *source.shape), np.float32)
        state, spare = _stack(room[0]), _stack(room[1])
        right = _stack(source)
        grids.append(_Grid(inside, 4 * weight, inverse, right, state, spare))
    return grids


def _drop_thin_cells(source: Planes, held: Plane, inside: Plane, cover: Plane) -> None:
    """Lets cells with too little of the region hold their neighbours by their border.

    As cells of their own, along a straight border, they would carry the correction
    beyond it, and the cycles would diverge.
    """
    thin = ((cover > 0) & (inside == 0)).astype(np.float32)
    share = np.divide(thin, held, out=np.zeros_like(held), where=held > 0)
    given = np.empty_like(held)
    for plane in source:
        # The cell's own share, which the kernel adds too, goes with `inside`.
        _add_neighbours(plane * share, given)
        plane += given
        plane *= inside
    _add_neighbours((share > 0).astype(np.float32), given)
    held += given
    held *= inside


def _invert(grid: _Grid) -> Float32[np.ndarray, "n n"]:
    """The coarsest grid's equations as a matrix, inverted; symmetric.

    By OpenCV: NumPy's would wake BLAS's threads for a matrix this small, and where
    other processes held the cores a clone of 300 pixels took 116 ms instead of 18.
    """
    inside = grid.inside.ravel()
    cells = np.arange(len(inside))
    index = cells.reshape(grid.inside.shape)
    matrix = np.zeros((len(cells), len(cells)), np.float64)
    for one, other in ((index[1:], index[:-1]), (index[:, 1:], index[:, :-1])):
        matrix[one, other] = matrix[other, one] = -inside[one] * inside[other]
    matrix[cells, cells] = np.where(inside > 0, grid.weight.ravel() / 4 - _OWN, 1)
    return cv2.invert(matrix, flags=cv2.DECOMP_CHOLESKY)[1].astype(np.float32)


def _stack(planes: Planes) -> _Stack:
    return _Stack(planes, planes.reshape(-1, planes.shape[2]))


def _add_neighbours(plane: _Flat, out: _Flat) -> None:
    """The sum of each pixel's four neighbours, and of itself by `_OWN`."""
    cv2.filter2D(plane, -1, _SUM, dst=out, borderType=cv2.BORDER_CONSTANT)


def _pool(fine: _Flat, coarse: _Half) -> _Half:
    """Means of two by two pixels; returns `coarse`."""
    size = (coarse.shape[1], coarse.shape[0])
    return cv2.resize(fine, size, dst=coarse, interpolation=cv2.INTER_AREA)


def _enlarge(coarse: _Half, fine: _Flat) -> None:
    size = (fine.shape[1], fine.shape[0])
    cv2.resize(coarse, size, dst=fine, interpolation=cv2.INTER_LINEAR)
