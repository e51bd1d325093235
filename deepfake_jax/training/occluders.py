"""What is pasted before the faces that a network sees, and not before those it draws.

A network that has learned to draw a person without the hand or the microphone before
the face swaps such frames as if nothing were there, and what it draws of the person's
own face then differs from the frame where something is: see `occlusion_mask`.

An occluder is up to four fingers side by side, with or without a palm: one short and
thick finger is a disc, a long one a bar. Numbers are drawn on the host, as those of the
warps are, and pasted on the device.

Reference:
    Nirkin et al. 2018, "On face segmentation, face swapping, and face perception", of
    pasted occluders.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.models.autoencoder import to_float

FINGERS = 4
# Of an occluder: whether there is one; its place, two; turn; fingers; their radius;
# their gap; the palm's depth; softness; how much of its color is the face's; what that
# is multiplied by; three of another color; texture; shade at the border; lengths.
NUMBERS = 16 + FINGERS
_FAR = 1e6
_SIDE_OF_SKIN = 0.3  # of the crop's middle, whose mean is the face's color


def draw_occluders(
    rng: np.random.Generator, n: int, *, share: float
) -> Float32[np.ndarray, "n numbers"]:
    """Draws what stands before n faces, and whether anything does.

    Args:
        rng: source of randomness.
        n: how many faces.
        share: of them that have an occluder.

    Returns:
        A row of numbers each, for `paste_occluders`; lengths are shares of the side.
    """
    here = rng.random((n, 1)) < share
    place = rng.uniform([0.15, 0.2], [0.85, 0.95], (n, 2))
    # Hands come from outside: the palm away from the middle, more or less.
    away = np.arctan2(0.5 - place[:, 1], 0.5 - place[:, 0])[:, None]
    turn = away + rng.normal(0, 0.9, (n, 1))
    fingers = rng.integers(1, FINGERS + 1, (n, 1))
    thick = 1 + rng.random((n, 1)) * (fingers < 2)
    radius = rng.uniform(0.035, 0.085, (n, 1)) * thick
    gap = rng.uniform(0.85, 1.25, (n, 1))
    palm = rng.uniform(0, 0.5, (n, 1)) * (rng.random((n, 1)) < 0.6)
    soft = rng.uniform(0.008, 0.03, (n, 1))
    like_skin = (rng.random((n, 1)) < 0.6) * rng.uniform(0.6, 1, (n, 1))
    times = rng.uniform(0.7, 1.35, (n, 1))
    color = rng.uniform(0, 1, (n, 3)) * rng.uniform(0.1, 1, (n, 1))
    texture = rng.uniform(0, 0.6, (n, 1))
    shade = rng.uniform(0, 0.5, (n, 1))
    lengths = rng.uniform(0, 0.45, (n, 1)) * rng.uniform(0.6, 1, (n, FINGERS))
    parts = (here, place, turn, fingers, radius, gap, palm, soft, like_skin, times)
    rows = np.concatenate([*parts, color, texture, shade, lengths], axis=1)
    return rows.astype(np.float32)


def paste_occluders(
    pictures: UInt8[Array, "n h h 3"] | Float32[Array, "n h h 3"],
    occluders: Float32[Array, "n numbers"],
) -> Float32[Array, "n h h 3"]:
    """Pastes what `draw_occluders` drew before pictures, each by its own row; pure.

    Args:
        pictures: what the network sees.
        occluders: a row each.

    Returns:
        The pictures in [0, 1]; those without an occluder are as they were.
    """
    return jax.vmap(_paste)(to_float(pictures), occluders)


def _paste(
    picture: Float32[Array, "h h 3"], row: Float32[Array, " k"]
) -> Float32[Array, "h h 3"]:
    here, x, y, turn, fingers, radius, gap, palm, soft, like_skin, times = row[:11]
    color, texture, shade, lengths = row[11:14], row[14], row[15], row[16:]
    line = (jnp.arange(len(picture), dtype=jnp.float32) + 0.5) / len(picture)
    east, south = line[None, :] - x, line[:, None] - y
    along = east * jnp.cos(turn) + south * jnp.sin(turn)
    across = south * jnp.cos(turn) - east * jnp.sin(turn)
    middle = (fingers - 1) / 2
    # Squared distance to each finger's axis, and to the palm's box behind them.
    apart = jnp.full_like(along, _FAR)
    for finger in range(FINGERS):
        beside = across - (finger - middle) * 2 * radius * gap
        beyond = along - jnp.clip(along, 0, lengths[finger])
        distance = beside**2 + beyond**2
        apart = jnp.where(finger < fingers, jnp.minimum(apart, distance), apart)
    width = middle * 2 * radius * gap
    beside = jnp.maximum(jnp.abs(across) - width, 0)
    beyond = along - jnp.clip(along, -palm, 0)
    behind = jnp.where(palm > 0, beside**2 + beyond**2, _FAR)
    apart = jnp.sqrt(jnp.minimum(apart, behind))
    covered = here * jnp.clip(0.5 + (radius - apart) / soft, 0, 1)
    low = round(len(picture) * (0.5 - _SIDE_OF_SKIN / 2))
    skin = picture[low:-low, low:-low].mean((0, 1), keepdims=True)
    laid = like_skin * times * skin + (1 - like_skin) * color[None, None]
    # Some texture of real pictures: the same one upside down, without its mean.
    other = picture[::-1, ::-1]
    laid = laid + texture * (other - other.mean((0, 1), keepdims=True))
    laid = laid * (1 - shade * jnp.clip(apart / radius, 0, 1)[..., None] ** 2)
    covered = covered[..., None]
    return jnp.clip(picture + covered * (laid - picture), 0, 1)
