"""Where eyes look, as a pure function of crops that has a gradient.

Between the lids iris and pupil are the dark. Their middle, in widths of the eye from
the middle of its corners, moves as the gaze does: over the open eyes of seven clips it
goes with that of the iris network, which only judges, by a correlation of 0.41 (eyes
that hardly move) to 0.91, 0.75 in the median, and about as far. Lashes and glasses add
the same to all looks of a person, so only differences from the person's usual look mean
something.

The crops are averaged to 128 px and smoothed first. A loss without smoothing, and for
any look however far, was met by colored pixels around the eyes, that no eye has.

Crops are float32 in [0, 1], NHWC.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float32

from deepfake_jax.models.subpixels import shrink

# Vertices of the face mesh: corners, upper and lower lid, of each eye.
_EYES = ((33, 133, 159, 145), (362, 263, 386, 374))
_SEEN = 128  # pixels; crops of a whole multiple are averaged to it
_LEAST_WIDTH = 0.02  # of the crop's side; far eyes of a profile are narrow
_HALF_HEIGHT, _MORE_HEIGHT = 0.5, 0.05  # of the lids' distance, of the eye's width
_SMOOTHED = 3  # times; a deviation of 1.2 pixels
_NOTHING = 1e-4  # darkness that is none: an even eye looks ahead


def find_looks(
    crops: Float32[Array, "n h w 3"], landmarks: Float32[Array, "n 468 2"]
) -> Float32[Array, "n 2"]:
    """How far right and down eyes look, in widths of an eye; the mean of both.

    Args:
        crops: the faces.
        landmarks: of each, as `face_mesh.find_landmarks` has them.

    Raises:
        ValueError: crops of more than 128 px that are no multiple of it.
    """
    crops = shrink(crops, _SEEN)
    size = crops.shape[1]
    places = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    grey = _smooth(crops.mean(axis=3))
    looks: list[Array] = []
    for corner, other, upper, lower in _EYES:
        middle = (landmarks[:, corner] + landmarks[:, other]) / 2
        width = jnp.abs(landmarks[:, other, 0] - landmarks[:, corner, 0])
        width = jnp.maximum(width, _LEAST_WIDTH)[:, None]
        gap = jnp.abs(landmarks[:, lower, 1] - landmarks[:, upper, 1])[:, None]
        height = _HALF_HEIGHT * gap / width + _MORE_HEIGHT
        x = (places[None] - middle[:, :1]) / width
        y = (places[None] - middle[:, 1:]) / width
        # An ellipse between the corners and the lids, which fades towards them.
        beyond = (2 * x)[:, None, :] ** 2 + (y / height)[:, :, None] ** 2
        window = jnp.maximum(1 - beyond, 0)
        share = window / (window.sum((1, 2), keepdims=True) + 1e-3)
        level = (share * grey).sum((1, 2), keepdims=True)
        dark = share * jnp.maximum(level - grey, 0)
        total = dark.sum((1, 2)) + _NOTHING
        right = (dark * x[:, None, :]).sum((1, 2)) / total
        down = (dark * y[:, :, None]).sum((1, 2)) / total
        looks.append(jnp.stack([right, down], axis=1))
    return (looks[0] + looks[1]) / 2


def _smooth(grey: Float32[Array, "n h w"]) -> Float32[Array, "n h w"]:
    """Blurred by 1, 2, 1 along both axes; eyes are far from the borders that meet."""
    for _ in range(_SMOOTHED):
        for axis in (1, 2):
            beside = jnp.roll(grey, 1, axis) + jnp.roll(grey, -1, axis)
            grey = (2 * grey + beside) / 4
    return grey
