"""Fine detail of drawn faces, raised to as much as real faces of the person have.

A network that is unsure draws the mean of all that it thinks possible, and that is
softer than any real face, most of all for faces that it never saw. The edges are there,
only weaker; so each drawn face's two finest bands are scaled to the energy that they
have in real faces of the person, and no further than a given factor. Noise is not
added: a band that the network left empty stays empty.

Faces are float32 in [0, 1], NHWC. Bands are the differences of a face, the face blurred
by (1, 2, 1) / 4 along both axes, and that blurred by (1, 0, 2, 0, 1) / 4.

Reference:
    Starck and Murtagh 1994, "Image restoration with noise suppression using the wavelet
    transform", of these bands ("a trous"); scaling a band's energy to a known one is
    ours.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.imaging.mask_shapes import oval_mask

Energies = Float32[np.ndarray, "2"]

MOST_GAIN = 1.5  # see BENCHMARKS.md; without exemplars up to 3 finds something to do
_LEAST = 1e-9  # of energies: a thirtieth of a grey level


def match_detail(
    faces: Float32[Array, "n h w 3"],
    energies: Float32[Array, "2"] | Energies,
    most: Float32[Array, ""] | float = MOST_GAIN,
    *,
    trust: Float32[Array, "n h w"] | None = None,
) -> Float32[Array, "n h w 3"]:
    """Raises each face's fine detail towards that of real faces; pure.

    Args:
        faces: as a decoder drew them.
        energies: of the person's real faces, see `measure_energies`.
        most: the largest factor that a band is scaled by; detail is never lowered.
        trust: share of it that each place gets; all of it if None. Detail that is no
            face's becomes a grimace when it is raised.

    Returns:
        The faces, which may leave [0, 1] by as much as their detail was raised. Bands
        overlap, so that measured anew the finest stays below its energy, and the next
        may exceed it.
    """
    bands = _split_bands(faces)
    found = _band_energies(bands)
    gains = jnp.sqrt((energies[:, None] + _LEAST) / (found + _LEAST))
    gains = jnp.clip(gains, 1, most)
    for band, gain in zip(bands, gains, strict=True):
        raised = (gain - 1)[:, None, None, None] * band
        faces = faces + (raised if trust is None else trust[..., None] * raised)
    return faces


@jax.jit
def _measure(faces: UInt8[Array, "n h w 3"]) -> Float32[Array, "2 n"]:
    return _band_energies(_split_bands(faces.astype(jnp.float32) / 255))


def measure_energies(faces: UInt8[np.ndarray, "n h w 3"]) -> Energies:
    """Mean energies of the two finest bands, the finest first.

    Args:
        faces: real ones of a person, at the network's resolution; one or more.

    Returns:
        Mean squares of the grey bands inside the face's oval, of faces in [0, 1].
    """
    return np.asarray(_measure(faces)).mean(1)


def _split_bands(faces: Array) -> tuple[Array, Array]:
    """The finest band and the next, each like the faces."""
    smooth = _blur(faces, 1)
    return faces - smooth, smooth - _blur(smooth, 2)


def _blur(faces: Array, step: int) -> Array:
    """Weights (1, 2, 1) / 4 on pixels `step` apart, along both axes; edges repeat."""
    for axis in (1, 2):
        pads = [(step, step) if each == axis else (0, 0) for each in range(4)]
        wide, size = jnp.pad(faces, pads, mode="edge"), faces.shape[axis]
        before = jax.lax.slice_in_dim(wide, 0, size, axis=axis)
        after = jax.lax.slice_in_dim(wide, 2 * step, 2 * step + size, axis=axis)
        faces = (before + 2 * faces + after) / 4
    return faces


def _band_energies(bands: tuple[Array, Array]) -> Float32[Array, "2 n"]:
    """Mean squares of each face's grey bands inside the oval."""
    weights = _oval(bands[0].shape[1])
    greys = jnp.stack([band.mean(3) for band in bands])
    return (jnp.square(greys) * weights[None, None]).sum((2, 3))


@cache
def _oval(size: int) -> Float32[np.ndarray, "h w"]:
    oval = oval_mask(size)
    return oval / oval.sum()
