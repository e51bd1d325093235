"""How fine what a network draws is, and whether it is a face's detail or noise.

Crops are uint8 RGB at the network's own resolution: what a small network cannot show at
all does not count. Detail is that of the grey picture inside the face's oval, split
into octaves: the finest holds what a picture of half the side could not.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.types import Crops

RealCrops = UInt8[np.ndarray, "m crop_size crop_size 3"]

OCTAVES = 3
_PATCH = 7  # pixels; side of the patches that artefacts are looked for in
_PATCHES = 4000  # of each kind; more move the distance by less than 2 %
_PROJECTIONS = 64  # that patches are projected on


def octave_ratios(drawn: Crops, real: RealCrops) -> Float64[np.ndarray, "octaves"]:
    """Energy of each octave of drawn faces over that of real faces, the finest first.

    1 is as sharp as real faces, 0 flat; much over 1 is noise or ringing.

    Raises:
        ValueError: sides differ, a side is below 16 pixels, or the real faces are flat.
    """
    _check_sides(drawn, real)
    found = [
        np.mean([_energies(_octaves(crop)) for crop in crops], axis=0)
        for crops in (drawn, real)
    ]
    if not np.all(found[1] > 0):
        raise ValueError("the real faces have no detail to compare with")
    return found[0] / found[1]


def drawn_sharpness(drawn: Crops, real: RealCrops) -> float:
    """Energy of the two finest octaves over real faces', their geometric mean."""
    return float(np.sqrt(np.prod(octave_ratios(drawn, real)[:2])))


def finest_correlation(drawn: Crops, real: Crops) -> float:
    """Correlation of redrawn faces' finest octave with that of the same real ones.

    Neither noise nor a lattice raises it. In [-1, 1]; 1 is every hair in its place.

    Raises:
        ValueError: not as many of each, or sides differ.
    """
    if drawn.shape != real.shape:
        raise ValueError(
            f"drawn and real must be the same faces, got {drawn.shape} and {real.shape}"
        )
    _check_sides(drawn, real)
    weights = oval_mask(real.shape[1])
    found = []
    for one, other in zip(drawn, real, strict=True):
        x, y = _octaves(one)[0], _octaves(other)[0]
        size = float(np.sqrt((weights * x * x).sum() * (weights * y * y).sum()))
        found.append(float((weights * x * y).sum()) / size if size > 0 else 0.0)
    return float(np.mean(found))


def artefacts(rng: np.random.Generator, drawn: Crops, real: RealCrops) -> float:
    """Distance of drawn faces' small patches to those of real faces.

    The sliced Wasserstein distance of 7 x 7 patches of the finest two octaves, in units
    of the distance of one half of the real faces to the other: about 1 for pictures
    that are made of the same parts, more for blur, lattices and shards.

    Args:
        rng: chooses patches and directions.
        drawn: one face or more.
        real: two faces or more, of the same person.

    Raises:
        ValueError: sides differ, or fewer than two real faces.

    Reference:
        Karras et al. 2018, "Progressive growing of GANs for improved quality,
        stability, and variation", section 5.
    """
    _check_sides(drawn, real)
    if len(real) < 2:
        raise ValueError("real needs two faces or more, to tell what is usual")
    directions = rng.normal(size=(_PATCH * _PATCH, _PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    sets = [
        np.sort(_cut_patches(rng, crops, _PATCHES) @ directions, axis=0)
        for crops in (drawn, real, real[::2], real[1::2])
    ]
    usual = float(np.abs(sets[2] - sets[3]).mean())
    return float(np.abs(sets[0] - sets[1]).mean()) / max(usual, 1e-9)


def _cut_patches(
    rng: np.random.Generator, crops: Crops, count: int
) -> Float64[np.ndarray, "count pixels"]:
    weights = oval_mask(crops.shape[1])[_PATCH // 2 : -(_PATCH // 2)]
    inside = np.argwhere(weights[:, _PATCH // 2 : -(_PATCH // 2)] > 0.5)
    details = [sum(_octaves(crop)[:2]) for crop in crops]
    numbers = rng.integers(len(crops), size=count)
    places = inside[rng.integers(len(inside), size=count)]
    patches = np.empty((count, _PATCH * _PATCH))
    for row, (number, (y, x)) in enumerate(zip(numbers, places, strict=True)):
        patches[row] = details[number][y : y + _PATCH, x : x + _PATCH].ravel()
    return patches


def _octaves(crop: np.ndarray) -> list[Float32[np.ndarray, "side side"]]:
    """The finest octaves of a crop's grey, each at its own whole size."""
    level = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    bands = []
    for octave in range(OCTAVES):
        # A picture of half the side has no more than a blur of twice the width leaves.
        smooth = cv2.GaussianBlur(level, (0, 0), 2.0**octave)
        bands.append(level - smooth)
        level = smooth
    return bands


def _energies(bands: list[np.ndarray]) -> Float64[np.ndarray, "octaves"]:
    weights = oval_mask(bands[0].shape[0])
    return np.array([float((weights * b * b).sum() / weights.sum()) for b in bands])


def _check_sides(drawn: Crops, real: RealCrops) -> None:
    if drawn.shape[1:] != real.shape[1:] or drawn.shape[1] < 16:
        raise ValueError(
            "drawn and real faces must have one side of 16 pixels or more, got "
            f"{drawn.shape[1:]} and {real.shape[1:]}"
        )
