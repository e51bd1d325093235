"""Random transforms and warps of faces: draw numbers first, then apply them.

Faces are uint8 RGB, height width 3, square. Matrices and maps are in the face's pixels
with pixel centres at integers. Whatever the face's size, amplitudes in pixels are
counted at a side of 256, as in the original program.

The classic augmentation is two resamplings: `random_transform` turns, zooms, shifts and
mirrors the face, then `random_warp` cuts out its centre twice, once bent by a 5 x 5
grid (`warped`, the network's input) and once by the similarity nearest to that grid
(`target`, what it must give). `augment_faces` composes both into one remap and one
warpAffine a face, which is sharper (one interpolation) and several times faster.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from deepfake_jax.align import COVERAGE, FACE_SIZE, umeyama
from deepfake_jax.types import Face

Crop = UInt8[np.ndarray, "crop_size crop_size 3"]

GRID = 5  # control points a side of the warp
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


def random_transform(
    rng: np.random.Generator,
    face: Face,
    *,
    rotation: float = 10.0,
    zoom: float = 0.05,
    shift: float = 0.05,
    flip: float = 0.4,
) -> Face:
    """Turns, zooms, shifts and mirrors a face at random; see `draw_transforms`."""
    transforms = draw_transforms(
        rng,
        1,
        face_size=face.shape[0],
        rotation=rotation,
        zoom=zoom,
        shift=shift,
        flip=flip,
    )
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


def _upsampling(crop_size: int) -> Float64[np.ndarray, "crop_size 5"]:
    """Linear interpolation from the grid to the centres of the crop's pixels."""
    position = (np.arange(crop_size) + 0.5) * (GRID - 1) / crop_size
    return np.clip(1 - np.abs(position[:, None] - np.arange(GRID)), 0, None)


def warp_maps(
    grids: Float64[np.ndarray, "n 5 5 2"], crop_size: int
) -> Float32[np.ndarray, "n 2 crop_size crop_size"]:
    """Interpolates grids to full maps: channel 0 is x, channel 1 is y in the face."""
    weights = _upsampling(crop_size).astype(np.float32)
    planes = np.moveaxis(grids, -1, 1).astype(np.float32)
    return weights @ planes @ weights.T


def warp_targets(
    grids: Float64[np.ndarray, "n 5 5 2"], crop_size: int
) -> Float64[np.ndarray, "n 2 3"]:
    """The similarities from face to crop that lie nearest to the warps (Umeyama)."""
    line = np.linspace(0, crop_size, GRID) - 0.5
    corners = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    points = grids.reshape(len(grids), -1, 2)
    return umeyama(points, np.broadcast_to(corners, points.shape))


def apply_warp(
    face: Face, grid: Float64[np.ndarray, "5 5 2"], *, crop_size: int = 64
) -> tuple[Crop, Crop]:
    """Cuts the bent picture and its unbent target out of a face.

    Returns:
        (warped, target), both [crop_size, crop_size, 3] uint8.
    """
    return _cut_pair(
        face,
        warp_maps(grid[None], crop_size)[0],
        warp_targets(grid[None], crop_size)[0],
        crop_size,
    )


def random_warp(
    rng: np.random.Generator,
    face: Face,
    *,
    crop_size: int = 64,
    coverage: float = COVERAGE,
    warp_scale: float = 5.0,
) -> tuple[Crop, Crop]:
    """Bends the centre of a face at random; see `draw_warps`.

    Returns:
        (warped, target), both [crop_size, crop_size, 3] uint8.
    """
    grids = draw_warps(
        rng, 1, face_size=face.shape[0], coverage=coverage, warp_scale=warp_scale
    )
    return apply_warp(face, grids[0], crop_size=crop_size)


def augment_faces(
    rng: np.random.Generator,
    faces: UInt8[Any, "n face_size face_size 3"],
    *,
    crop_size: int = 64,
    coverage: float = COVERAGE,
    rotation: float = 10.0,
    zoom: float = 0.05,
    shift: float = 0.05,
    flip: float = 0.4,
    warp_scale: float = 5.0,
) -> tuple[
    UInt8[np.ndarray, "n crop_size crop_size 3"],
    UInt8[np.ndarray, "n crop_size crop_size 3"],
]:
    """`random_transform` then `random_warp` of n faces, in one resampling each.

    Grids and matrices are drawn and fitted for all faces at once. Moving the 5 x 5 grid
    by the inverse transform before it is interpolated is exact: an affine map commutes
    with linear interpolation.

    Returns:
        (warped, target), both [n, crop_size, crop_size, 3] uint8.
    """
    n, face_size = faces.shape[:2]
    transforms = draw_transforms(
        rng,
        n,
        face_size=face_size,
        rotation=rotation,
        zoom=zoom,
        shift=shift,
        flip=flip,
    )
    grids = draw_warps(
        rng, n, face_size=face_size, coverage=coverage, warp_scale=warp_scale
    )
    targets = warp_targets(grids, crop_size)
    linear, offset = transforms[:, :, :2], transforms[:, :, 2]
    inverse = np.linalg.inv(linear)
    grids = np.einsum("nij,nabj->nabi", inverse, grids - offset[:, None, None])
    maps = warp_maps(grids, crop_size)
    shifts = targets[:, :, :2] @ offset[:, :, None] + targets[:, :, 2:]
    targets = np.concatenate([targets[:, :, :2] @ linear, shifts], axis=-1)
    warped = np.empty((n, crop_size, crop_size, 3), np.uint8)
    target = np.empty_like(warped)
    for index in range(n):
        warped[index], target[index] = _cut_pair(
            faces[index], maps[index], targets[index], crop_size
        )
    return warped, target


def _cut_pair(
    face: Face,
    maps: Float32[np.ndarray, "2 crop_size crop_size"],
    target: Float64[np.ndarray, "2 3"],
    crop_size: int,
) -> tuple[Crop, Crop]:
    size = (crop_size, crop_size)
    return (
        cv2.remap(face, maps[0], maps[1], _LINEAR, borderMode=_REPLICATE),
        cv2.warpAffine(face, target, size, flags=_LINEAR, borderMode=_REPLICATE),
    )
