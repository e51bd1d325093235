"""Random transforms and warps of faces: draw numbers first, then apply them.

Faces are uint8 RGB, height width 3, square. Matrices and maps are in the face's pixels
with pixel centres at integers. Whatever the face's size, amplitudes in pixels are
counted at a side of 256, as in the original program.

The classic augmentation is two resamplings: `random_transform` turns, zooms, shifts and
mirrors the face, then `random_warp` cuts out its centre twice, once bent by a 5 x 5
grid (`warped`, the network's input) and once by the similarity nearest to that grid
(`target`, what it must give). `augment_faces` composes both, which is sharper (one
interpolation) and some seven times faster.

Both cuts are a 5 x 5 grid of places in the face, linearly interpolated: an affine map
commutes with that interpolation, so the target's grid gives its similarity exactly, and
a transform of the face need only move the grids. `draw_cuts` draws and fits the grids
of many faces at once, and `apply_cuts` cuts both pictures of a face in one remap.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, UInt8

from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.training.expressions import move_places, moves_anything
from deepfake_jax.training.warp_grid import GRID, interpolate_grid
from deepfake_jax.types import Face

Crop = UInt8[np.ndarray, "crop_size crop_size 3"]

_CHUNK = 8  # faces whose maps, 64 KiB each, are made at once: they stay in the cache
_REMAP_LIMIT = 32767
_LINEAR = cv2.INTER_LINEAR
_REPLICATE = cv2.BORDER_REPLICATE


def draw_transforms(
    rng: np.random.Generator,
    n: int,
    *,
    face_size: int = FACE_SIZE,
    rotation: float = 10.0,
    zoom: float = 0.05,
    shift: float = 0.05,
    flip: float = 0.4,
) -> Float64[np.ndarray, "n 2 3"]:
    """Draws n random similarities about the centre of a face, some mirrored.

    Args:
        rng: source of randomness.
        n: how many.
        face_size: side of the face in pixels.
        rotation: largest turn, degrees, uniform to both sides.
        zoom: largest change of scale, as a share, uniform to both sides.
        shift: largest move, as a share of the side, uniform to both sides.
        flip: probability of a mirror image.

    Returns:
        Matrices from the face to the transformed face.
    """
    angle, scale, x, y = rng.uniform(-1, 1, (4, n))
    mirrored = rng.random(n) < flip
    angle = np.radians(angle * rotation)
    scale = 1 + scale * zoom
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    centre = np.full(2, (face_size - 1) / 2)
    offset = centre + shift * face_size * np.stack([x, y], -1) - linear @ centre
    matrices = np.concatenate([linear, offset[:, :, None]], axis=-1)
    matrices[mirrored, 0] *= -1
    matrices[mirrored, 0, 2] += face_size - 1
    return matrices


def apply_transform(face: Face, transform: Float64[np.ndarray, "2 3"]) -> Face:
    """Resamples a face by a matrix; the edges are repeated outside."""
    height, width = face.shape[:2]
    return cv2.warpAffine(
        face, transform, (width, height), flags=_LINEAR, borderMode=_REPLICATE
    )


def random_transform(rng: np.random.Generator, face: Face, **amounts: float) -> Face:
    """Turns, zooms, shifts and mirrors a face by amounts of `draw_transforms`."""
    transforms = draw_transforms(rng, 1, face_size=face.shape[0], **amounts)
    return apply_transform(face, transforms[0])


def draw_warps(
    rng: np.random.Generator,
    n: int,
    *,
    face_size: int = FACE_SIZE,
    coverage: float = COVERAGE,
    warp_scale: float = 5.0,
) -> Float64[np.ndarray, "n 5 5 2"]:
    """Draws n warps: where in the face the 5 x 5 points of the crop's grid come from.

    The grid spans the central `coverage` of the face, edge to edge; each coordinate of
    each point is moved by a normal draw.

    Args:
        rng: source of randomness.
        n: how many.
        face_size: side of the face in pixels.
        coverage: share of the side that the crop spans.
        warp_scale: standard deviation in pixels at a side of 256; 0 gives the crop.
    """
    half = coverage * face_size / 2
    centre = (face_size - 1) / 2
    line = np.linspace(centre - half, centre + half, GRID)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    return grid + rng.normal(0, warp_scale * face_size / 256, (n, GRID, GRID, 2))


def _nearest_grids(
    grids: Float64[np.ndarray, "n 5 5 2"], crop_size: int
) -> Float64[np.ndarray, "n 5 5 2"]:
    """The grids that the nearest similarities give, without Umeyama's decomposition.

    In the plane, with points as complex numbers, the similarity of least squared error
    is a quotient of two sums.
    """
    n = len(grids)
    points = np.ascontiguousarray(grids).view(np.complex128).reshape(n, GRID**2)
    line = np.linspace(-crop_size / 2, crop_size / 2, GRID)
    crop = (line + 1j * line[:, None]).reshape(GRID**2)
    mean = points.mean(axis=1, keepdims=True)
    centred = points - mean
    variance = (centred.real**2 + centred.imag**2).sum(axis=1)
    factor = (centred.conj() @ crop) / variance
    even = mean + crop / factor[:, None]
    return np.stack([even.real, even.imag], axis=-1).reshape(grids.shape)


def apply_warp(
    face: Face, grid: Float64[np.ndarray, "5 5 2"], *, crop_size: int = 64
) -> tuple[Crop, Crop]:
    """Cuts the bent picture and its unbent target out of a face.

    Returns:
        (warped, target), both [crop_size, crop_size, 3] uint8.
    """
    grids = np.stack([grid, _nearest_grids(grid[None], crop_size)[0]])
    cuts = apply_cuts(face[None], np.zeros(1, np.int64), grids[None], crop_size)
    return cuts[0, 0], cuts[1, 0]


def random_warp(
    rng: np.random.Generator, face: Face, *, crop_size: int = 64, **amounts: float
) -> tuple[Crop, Crop]:
    """Bends the centre of a face at random by amounts of `draw_warps`.

    Returns:
        (warped, target), both [crop_size, crop_size, 3] uint8.
    """
    grids = draw_warps(rng, 1, face_size=face.shape[0], **amounts)
    return apply_warp(face, grids[0], crop_size=crop_size)


# Both at once, for many faces


def draw_cuts(
    rng: np.random.Generator,
    n: int,
    *,
    face_size: int = FACE_SIZE,
    crop_size: int = 64,
    coverage: float = COVERAGE,
    warp_scale: float = 5.0,
    **amounts: float,
) -> Float64[np.ndarray, "n 2 5 5 2"]:
    """Draws transforms and warps for n faces: the grids of their two cuts.

    Args:
        rng: source of randomness.
        n: how many.
        face_size: side of the faces in pixels.
        crop_size: of the pictures to be cut.
        coverage: as for `draw_warps`.
        warp_scale: likewise.
        amounts: as for `draw_transforms`.

    Returns:
        Where in the untransformed face the grid's points come from, (x, y) in pixels;
        axis 1 is the warped picture, then the target.
    """
    transforms = draw_transforms(rng, n, face_size=face_size, **amounts)
    warps = draw_warps(
        rng, n, face_size=face_size, coverage=coverage, warp_scale=warp_scale
    )
    grids = np.stack([warps, _nearest_grids(warps, crop_size)], axis=1)
    inverse = np.linalg.inv(transforms[:, :, :2])
    moved = grids.reshape(n, -1, 2) - transforms[:, None, :, 2]
    return (moved @ inverse.transpose(0, 2, 1)).reshape(grids.shape)


def apply_cuts(
    faces: UInt8[Any, "m face_size face_size 3"],
    chosen: Int[np.ndarray, "n"],
    grids: Float64[np.ndarray, "n 2 5 5 2"],
    crop_size: int = 64,
    moves: Float32[np.ndarray, "n 8 12"] | None = None,
) -> UInt8[np.ndarray, "2 n crop_size crop_size 3"]:
    """Cuts pairs out of the faces with indices `chosen`; edges are repeated outside.

    Args:
        faces: all faces; those chosen are read where they lie, also in a mapped file.
        chosen: which face each pair is cut from; may repeat.
        grids: from `draw_cuts`.
        crop_size: side of the pictures in pixels.
        moves: of the chosen faces' features, see `expressions`; None leaves them where
            they are.

    Returns:
        The warped pictures of the chosen faces, then their targets.
    """
    n, face_size = len(chosen), faces.shape[1]
    # The part of the face that a pair needs, the right and lower neighbours included:
    # interpolated points lie between the grid's.
    points = grids.reshape(n, -1, 2)
    low = np.floor(points.min(axis=1)).clip(0, face_size - 1).astype(np.int64)
    high = (np.ceil(points.max(axis=1)) + 2).clip(low + 1, face_size).astype(np.int64)
    moved = np.zeros(n, bool) if moves is None else moves_anything(moves)
    low[moved], high[moved] = 0, face_size  # and of those the whole
    planes = np.moveaxis(grids - low[:, None, None, None], -1, 1)
    planes = np.ascontiguousarray(planes, np.float32)
    rise = interpolate_grid(crop_size).astype(np.float32)
    run = np.ascontiguousarray(rise.T)  # half the product's time
    cuts = np.empty((2, n, crop_size, crop_size, 3), np.uint8)
    # Used again for each chunk: they stay in the cache, and new pages cost as much as
    # the copy into the result.
    half = np.empty((_CHUNK, 2, 2, crop_size, GRID), np.float32)
    maps = np.empty((_CHUNK, 2, 2, crop_size, crop_size), np.float32)
    pairs = np.empty((_CHUNK, 2, crop_size, crop_size, 3), np.uint8)
    # A pair in one call, each picture as one row where OpenCV's limit of 32767 allows:
    # its loop over rows takes a fifth of the time at 64 pixels a row, and a second call
    # 3 us of 35.
    height = 2 if crop_size**2 < _REMAP_LIMIT else 2 * crop_size
    rows = maps.reshape(_CHUNK, 2, height, -1)
    out = pairs.reshape(_CHUNK, height, -1, 3)
    faces_of, lows, highs = chosen.tolist(), low.tolist(), high.tolist()
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        count = stop - start
        np.matmul(rise, planes[start:stop], out=half[:count])
        np.matmul(half[:count], run, out=maps[:count])
        for place, index in enumerate(range(start, stop)):
            (x0, y0), (x1, y1) = lows[index], highs[index]
            # Copied row by row the box comes faster from memory than in the remap's
            # order: 12 us and 35 for a remap from the cache, 58 for one from memory.
            box = faces[faces_of[index], y0:y1, x0:x1].copy()
            if moves is not None and moved[index]:
                move_places(maps[place], moves[index])
            map_x, map_y = rows[place]
            cv2.remap(box, map_x, map_y, _LINEAR, dst=out[place], borderMode=_REPLICATE)
        cuts[:, start:stop] = pairs[:count].swapaxes(0, 1)
    return cuts


def cut_landmarks(
    landmarks: Float64[np.ndarray, "n p 2"], grids: Float64[np.ndarray, "n 5 5 2"]
) -> tuple[Float64[np.ndarray, "n p 2"], Bool[np.ndarray, "n"]]:
    """Where landmarks of faces lie in targets that are cut out of them.

    Args:
        landmarks: (x, y) in the faces' pixels.
        grids: the targets', from `draw_cuts`: similarities, some mirrored.

    Returns:
        The landmarks as shares of the targets' side, from the upper left corner; and
        which targets are mirrored.
    """
    corner = grids[:, 0, 0]
    axes = np.stack([grids[:, 0, -1] - corner, grids[:, -1, 0] - corner], axis=1)
    return (landmarks - corner[:, None]) @ np.linalg.inv(axes), np.linalg.det(axes) < 0


def augment_faces(
    rng: np.random.Generator,
    faces: UInt8[Any, "n face_size face_size 3"],
    *,
    crop_size: int = 64,
    **amounts: float,
) -> tuple[
    UInt8[np.ndarray, "n crop_size crop_size 3"],
    UInt8[np.ndarray, "n crop_size crop_size 3"],
]:
    """`random_transform` then `random_warp` of n faces, in one resampling each.

    The same as the two up to the second's interpolation, by amounts of `draw_cuts`.

    Returns:
        (warped, target), both [n, crop_size, crop_size, 3] uint8.
    """
    n, face_size = faces.shape[:2]
    grids = draw_cuts(rng, n, face_size=face_size, crop_size=crop_size, **amounts)
    warped, target = apply_cuts(faces, np.arange(n), grids, crop_size)
    return warped, target
