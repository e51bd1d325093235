"""Real faces of the target, recalled while swapping: likeness without more training.

A decoder draws best what it was trained with, the codes of its own person. The other
person's codes, even moved to where its own lie on the whole, fall between those, and
what it makes of them is a smeared face that resembles nobody well. So a run keeps a
*bank*: the codes of real faces of each person, and what shape each has. For a face to
swap, the faces of the target with the likest shapes are looked up, and its code is
drawn part of the way to theirs.

Shapes are landmarks less the person's mean ones, so that pose and expression count and
not who it is. Whoever knows a face's landmarks gives them; else its shape is read from
its code, by a linear map for each person that is fitted when the bank is built. That is
less sure: a bank of 70 faces reads half as well what it has not seen.

A run without a bank swaps as well, with less likeness.

Reference:
    RVC, "Retrieval-based voice conversion", which mixes features of the target's
    recordings into the source's; choosing them by shape beside the features themselves
    is ours. Hoerl and Kennard 1970, "Ridge regression", equation 2.1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64

from deepfake_jax.models.network import Bank

RECALLED = 0.5  # see BENCHMARKS.md
_REACH = 0.5  # deviations that a code may stay away at a share of a half
_CODES = 4.0  # weight of codes' distances beside that of shapes
_WIDTH = 0.3  # of the kernel
_RIDGE = 0.1  # of the codes' variance
_LEAST = 1e-3  # of the codes' deviation, and of squared distances


def build_bank(
    codes: Float32[np.ndarray, "k d"], landmarks: Float64[np.ndarray, "k m"]
) -> Bank:
    """What to recall of a person.

    Args:
        codes: of real faces, by the network that will swap.
        landmarks: the faces', x and y, in any unit; see
            `face_shapes.flatten_landmarks`.
    """
    middle = landmarks.mean(axis=0)
    shapes = landmarks - middle
    mean, scale = codes.mean(axis=0), np.maximum(codes.std(axis=0), _LEAST)
    scaled = (codes - mean).astype(np.float64) / scale
    square = scaled.T @ scaled + _RIDGE * len(codes) * np.eye(codes.shape[1])
    bank = {
        "codes": codes,
        "shapes": shapes,
        "middle": middle,
        "mean": mean,
        "scale": scale,
        "readout": np.linalg.solve(square, scaled.T @ shapes),
    }
    return Bank(**{name: jnp.asarray(part, jnp.float32) for name, part in bank.items()})


def recall_codes(
    codes: Float[Array, "n d"],
    moved: Float[Array, "n d"],
    source: Bank,
    target: Bank,
    share: float | Array = RECALLED,
    *,
    landmarks: Float32[Array, "n m"] | None = None,
) -> Float[Array, "n d"]:
    """Draws codes near to those of the target's faces that are likest; pure.

    A recalled code is the mean of the target's, weighted by exp(-d / 0.3). The distance
    d of a face is a sum: the squared distance of shapes over the least of all faces',
    and four times that of the moved code over its least. By shapes alone, faces that
    nobody makes like the source would be a mean of faces that have little in common. It
    changes gradually with the face, which a nearest neighbour would not.

    A code may stay as it is within (1 - share) / share / 2 deviations of the target's
    codes from the recalled one (root mean square over its numbers), and is drawn
    straight to that limit from beyond: the farther a code is from all that the target's
    decoder has learned from, the worse that draws it.

    Args:
        codes: of the source's faces.
        moved: the same, moved to where the target's lie on the whole.
        source: the bank of who the faces show.
        target: of who they shall show.
        share: how much to recall, 0 to 1; 0 gives `moved`, 1 the recalled codes.
        landmarks: of the source's faces, as those of the bank; None reads their shapes
            from `codes`.
    """
    if landmarks is None:
        scaled = codes.astype(jnp.float32) - source.mean[None]
        shapes = scaled / source.scale[None] @ source.readout
    else:
        shapes = landmarks - source.middle[None]
    start, scale = moved.astype(jnp.float32), target.scale[None]
    by_shape = jnp.square(shapes[:, None] - target.shapes[None]).sum(2)
    by_code = start[:, None] - target.codes[None]
    by_code = jnp.square(by_code / scale[None]).mean(2)
    apart = _over_least(by_shape) + _CODES * _over_least(by_code)
    weights = jax.nn.softmax(-apart / _WIDTH, axis=1)
    recalled = weights @ target.codes
    rest = start - recalled
    deviations = jnp.square(rest / scale).mean(1, keepdims=True)
    # Of the squares, so that a share of 0 divides nothing by 0.
    part = jnp.asarray(share, jnp.float32)
    allowed = (1 - part) * _REACH
    found = jnp.square(part) * deviations
    beyond = found > jnp.square(allowed)
    kept = jnp.where(beyond, allowed / jnp.sqrt(jnp.where(beyond, found, 1)), 1)
    return (recalled + kept * rest).astype(moved.dtype)


def _over_least(apart: Float32[Array, "n k"]) -> Float32[Array, "n k"]:
    return apart / (apart.min(1, keepdims=True) + _LEAST)
