"""How alike two pictures look to the first layers of a network that knows pictures.

The network is Yahoo's open_nsfw, a thin ResNet-50, with the weights of its own file,
which `runs.feature_network` reads; only its first convolution and its first two stages
run. Errors of pixels hardly tell a row of teeth from a pale bar; these features do.
The weights are never trained. Pictures are float32 in [0, 1], NHWC, of sides that are
multiples of 16.

References:
    Johnson et al. 2016, "Perceptual losses for real-time style transfer and
    super-resolution", of the loss.
    Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual
    metric", equation 1, of features of unit length.
    He et al. 2016, "Deep residual learning for image recognition", figure 5, of the
    blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float32

from deepfake_jax.models.conv import Layer, conv_layer
from deepfake_jax.models.conv_blocks import to_blocks
from deepfake_jax.models.losses import Weights

STAGES = (3, 4)  # residual blocks of each; the second one halves the picture first
_BLOCK = 4  # pixels; the first convolution sees blocks, at a stride of half of one
_MEAN = (104.0, 117.0, 123.0)  # of blue, green and red, which the network expects
_FAINT = 1e-2  # of a square length, below which features say nothing
_WINDOW = (0.5, 0.625)  # of a crop's height and width
_TOPS = (0.0625, 0.4375)  # of a crop's height: where windows of eyes and mouths begin
_LEFT, _JITTER = 0.15625, 0.0625  # of the crop's side


class Filter(NamedTuple):
    """A convolution.

    Attributes:
        kernel: HWIO.
        bias: a number for each of its outputs.
    """

    kernel: Float32[Array, "k k cin cout"]
    bias: Float32[Array, "cout"]


@struct.dataclass
class FeatureNetwork:
    """The network, up to its second stage: a pytree of its weights.

    Attributes:
        first: the first convolution over blocks of pixels, see `to_block_filter`.
        others: the others in the file's order.
    """

    first: Filter
    others: tuple[Filter, ...]


def to_block_filter(
    kernel: Float32[np.ndarray, "7 7 3 c"], bias: Float32[np.ndarray, "c"]
) -> Filter:
    """A 7x7 convolution at stride 2 as a 3x3 one over blocks of 4x4 pixels.

    Its outputs are those of the 2x2 places in a block, one after the other.
    """
    channels = kernel.shape[3]
    blocks = np.zeros((3, 3, _BLOCK, _BLOCK, 3, 2, 2, channels), np.float32)
    for row, column, y, x in np.ndindex(2, 2, 7, 7):
        block_y, in_y = divmod(2 * row - 3 + y, _BLOCK)
        block_x, in_x = divmod(2 * column - 3 + x, _BLOCK)
        blocks[block_y + 1, block_x + 1, in_y, in_x, :, row, column] = kernel[y, x]
    shape = (3, 3, 3 * _BLOCK**2, 4 * channels)
    return Filter(jnp.asarray(blocks.reshape(shape)), jnp.asarray(np.tile(bias, 4)))


def find_features(
    network: FeatureNetwork, pictures: Float32[Array, "n h w 3"]
) -> tuple[Array, ...]:
    """What the first convolution and each stage say of pictures.

    Without the first one, which alone sees single pixels, a network draws ripples that
    the others pass over.

    Returns:
        [n, h / 4, w / 4, 4, c], the first one's at 2x2 places of each block; then
        [n, h / 4, w / 4, c] and [n, h / 8, w / 8, c].
    """
    x = 255 * pictures[..., ::-1] - jnp.asarray(_MEAN)[None, None, None]
    x = _convolve(to_blocks(x, block=_BLOCK), network.first, leak=0.0)
    features = [x.reshape(*x.shape[:3], 4, -1)]
    x = pool(x.reshape(*x.shape[:3], 2, 2, -1))
    filters = iter(network.others)
    for stage, blocks in enumerate(STAGES):
        for block in range(blocks):
            if stage and not block:
                x = x[:, ::2, ::2]
            kept = x if block else _convolve(x, next(filters))
            for _ in range(2):
                x = _convolve(x, next(filters), leak=0.0)
            x = jax.nn.relu(kept + _convolve(x, next(filters)))
        features.append(x)
    return tuple(features)


def perceptual_distance(
    network: FeatureNetwork,
    output: Float32[Array, "n h w 3"],
    target: Float32[Array, "n h w 3"],
    *,
    weights: Weights | None = None,
) -> Float32[Array, ""]:
    """Sum over layers of the mean square distance of features of unit length.

    Args:
        network: of the features.
        output: what was drawn; the gradient goes here alone.
        target: what should have been.
        weights: of pixels; None weighs all alike.
    """
    true = lax.stop_gradient(find_features(network, target))
    total = jnp.zeros((), jnp.float32)
    for drawn, wanted in zip(find_features(network, output), true, strict=True):
        errors = jnp.sum(jnp.square(_to_unit(drawn) - _to_unit(wanted)), -1)
        errors = errors.reshape(*errors.shape[:3], -1).mean(-1)
        if weights is not None:
            errors = errors * _reduce(weights, errors.shape[1:3])
        total = total + jnp.mean(errors)
    return total


def cut_window(
    pictures: Sequence[Float32[Array, "n h w _"]], step: Array | int
) -> list[Float32[Array, "n p q _"]]:
    """A part of crops: at even steps around the mouths, at odd ones around the eyes.

    Half of a crop is background, and the features of all of it take three times as
    long. Where exactly the part begins changes from step to step.

    Args:
        pictures: of one size.
        step: of the training.
    """
    size = pictures[0].shape[1]
    height, width = (round(share * size) for share in _WINDOW)
    key = jax.random.fold_in(jax.random.key(0), step)
    moved = jax.random.randint(key, (2,), 0, round(_JITTER * size) + 1)
    tops = [round(share * size) for share in _TOPS]
    top = jnp.where(jnp.asarray(step) % 2 == 1, *tops) + moved[0]
    left = round(_LEFT * size) + moved[1]

    def cut(part: Array) -> Array:
        rows = lax.dynamic_slice_in_dim(part, top, height, 1)
        return lax.dynamic_slice_in_dim(rows, left, width, 2)

    return [cut(part) for part in pictures]


def _convolve(x: Array, filter_: Filter, *, leak: float | None = None) -> Array:
    kernel, bias = filter_
    if kernel.shape[:2] != (1, 1):
        return conv_layer(x, kernel, bias, Layer(leak=leak))
    y = x @ kernel[0, 0]
    y = y + jnp.broadcast_to(bias, y.shape)
    return y if leak is None else jax.nn.leaky_relu(y, leak)


def _to_unit(features: Array) -> Array:
    square = jnp.sum(jnp.square(features), -1, keepdims=True)
    return features * lax.rsqrt(square + _FAINT)


def _reduce(weights: Weights, shape: tuple[int, ...]) -> Float32[Array, "n p q"]:
    """Weights of pixels as those of the places of a layer, their means."""
    n, height, width = weights.shape
    rows, columns = shape
    parts = weights.reshape(n, rows, height // rows, columns, width // columns)
    return parts.mean((2, 4))


@jax.custom_vjp
def pool(places: Float32[Array, "n p q 2 2 c"]) -> Float32[Array, "n p q c"]:
    """The largest of each 3x3 places at stride 2; blocks of 2x2 of them come in."""
    return _pool_forward(places)[0]


def _pool_forward(places: Array) -> tuple[Array, tuple[Array, Array]]:
    a, b, c, d = (places[..., y, x, :] for y, x in np.ndindex(2, 2))
    # XLA's reduction over two axes in the middle takes three times as long.
    upper, left = jnp.maximum(a, b), jnp.maximum(a, c)
    largest = jnp.maximum(upper, jnp.maximum(c, d))
    largest = jnp.maximum(largest, jnp.maximum(_next(upper, 1), _next(left, 2)))
    largest = jnp.maximum(largest, _next(_next(a, 1), 2))
    return largest, (places, largest)


# By hand: what JAX derives takes ten times as long as the pooling itself. Of equal
# places all have the gradient: such are zeros, behind which is a ReLU.
def _pool_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    places, largest = saved

    def share(of: Array, *back: int) -> Array:
        level, gradient = largest, dy
        for axis in back:
            level, gradient = _previous(level, axis), _previous(gradient, axis)
        return jnp.where(of == level, gradient, 0)

    rows = []
    for row in range(2):
        columns = []
        for column in range(2):
            own = places[..., row, column, :]
            total = share(own)
            if row == 0:
                total = total + share(own, 1)
            if column == 0:
                total = total + share(own, 2)
            if row == column == 0:
                total = total + share(own, 1, 2)
            columns.append(total)
        rows.append(jnp.stack(columns, axis=3))
    return (jnp.stack(rows, axis=3),)


pool.defvjp(_pool_forward, _pool_backward)


def _next(x: Array, axis: int) -> Array:
    """What the next place along an axis has; 0, the least there is, after the last."""
    return _shift(x, axis, 1)


def _previous(x: Array, axis: int) -> Array:
    return _shift(x, axis, -1)


def _shift(x: Array, axis: int, by: int) -> Array:
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (-1, 1, 0) if by > 0 else (1, -1, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), edges)
