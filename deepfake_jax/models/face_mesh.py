"""The face mesh as a pure function that has a gradient: crops to 468 landmarks.

MediaPipe's network, with the weights of its own file, which `runs.mesh_network` reads.
A loss can so ask where a swap's mouth and lids lie and, by `gaze`, where its eyes
look. The weights are never trained.

Crops are float32 in [0, 1], NHWC. Landmarks are (x, y) in shares of the crop's side,
from its upper left corner.

Reference:
    Kartynnik et al. 2019, "Real-time facial surface geometry from monocular video on
    mobile GPUs".
"""

from functools import cache
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Float32, Float64

from deepfake_jax.imaging.face_template import COVERAGE
from deepfake_jax.models.conv_direct import (
    conv_patches,
    same_pads,
    take_every,
    with_gradients,
)
from deepfake_jax.models.gaze import find_looks
from deepfake_jax.models.subpixels import shrink

WINDOW_SIZE = 192  # pixels; what the network takes
# A window's side and middle in the face picture, as `faces.landmark_networks` cuts it.
_SIDE, _MIDDLE = 0.9, (0.5, 0.465)
_BATCH = 16
# The mesh's vertices around the lips and the eyes, as MediaPipe lists them.
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39,
    40, 185, 78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13,
    82, 81, 80, 191,
)  # fmt: skip
_EYES = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 263,
    249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
)  # fmt: skip
_EXPRESSIVE = 2.0  # weight of the lips and the eyes beside the others
_LOOK = 50.0  # and of where the eyes look
# Of an eye's width, from a person's usual look; the other person's decoder may never
# have seen eyes that look further, and would draw what is none.
_FARTHEST = 0.12

Mesh = Float32[Array, "n 468 2"]
Motion = Float32[Array, "n 469 2"]


class MeshLayer(NamedTuple):
    """One layer of the network.

    Attributes:
        kind: what it does.
        inputs: which results it reads: 0 is the window, k the k-th layer's.
        stride: of its windows.
        channels: how many its result has.
        weights: which arrays it has: kernel and bias, or the slope below zero.
    """

    kind: Literal["conv", "depthwise", "full", "prelu", "max_pool", "add", "pad"]
    inputs: tuple[int, ...]
    stride: int
    channels: int
    weights: tuple[int, ...]


@struct.dataclass
class MeshNetwork:
    """The network: a pytree of its weights.

    Attributes:
        arrays: kernels, HWIO or of depthwise layers HWC, biases and slopes.
        layers: in order; the last one gives the landmarks (static).
    """

    arrays: tuple[Float[Array, "..."], ...]
    layers: tuple[MeshLayer, ...] = struct.field(pytree_node=False)


def find_landmarks(network: MeshNetwork, crops: Float32[Array, "n h w 3"]) -> Mesh:
    """Landmarks of the faces in crops; has a gradient by the crops.

    The network's window is larger than a crop. What it would see around one is the
    crop's own border, drawn out. Landmarks of two clips' faces then differ from those
    with the real surroundings, beside a constant, by 0.3 to 0.4 px of a 256 px face,
    where a person's own vary by 1.7 to 2.6; with grey or mirrored surroundings by up to
    0.6, and of crops enlarged to the window by 1.3 to 1.5.
    """
    size = crops.shape[1]
    windows = crops
    if size >= 2 * WINDOW_SIZE:  # or every other pixel would be left out
        windows = shrink(crops, size // (size // WINDOW_SIZE))
    for axis in (0, 1):
        matrix = jnp.asarray(_widening(windows.shape[1 + axis], axis), jnp.float32)
        windows = jnp.moveaxis(
            jnp.tensordot(matrix, windows, (1, 1 + axis)), 0, 1 + axis
        )
    found = run_network(network, windows)[..., :2]
    offset = jnp.asarray([_offset(axis) for axis in (1, 0)], jnp.float32)
    return found * (_SCALE / WINDOW_SIZE) + offset[None, None]


def find_motion(network: MeshNetwork, crops: Float32[Array, "n h w 3"]) -> Motion:
    """Landmarks of the faces in crops and, last, where their eyes look.

    The looks' gradient by the crops goes past the landmarks.
    """
    landmarks = find_landmarks(network, crops)
    looks = find_looks(crops, jax.lax.stop_gradient(landmarks))
    return jnp.concatenate([landmarks, looks[:, None]], axis=1)


def measure_middle(
    network: MeshNetwork, crops: Float32[Array, "n h w 3"]
) -> Float32[Array, "469 2"]:
    """A person's mean landmarks and look, as they are and mirrored.

    Args:
        network: the face mesh.
        crops: real ones of the person, upright.
    """
    both = jnp.concatenate([crops, crops[:, :, ::-1]])
    found = jax.lax.map(
        lambda crop: find_motion(network, crop[None])[0], both, batch_size=_BATCH
    )
    return found.mean(0)


def mesh_distance(
    network: MeshNetwork,
    swaps: Float32[Array, "n h w 3"],
    faces: Float32[Array, "n h w 3"],
    *,
    middle: Motion,
    swap_middle: Motion,
) -> Float32[Array, ""]:
    """How far landmarks and looks of swaps are on average from where they should be.

    They should lie where those of the faces lie that were swapped, seen from each
    person's mean ones: the expression and the pose are the source's, the shape of the
    face is the target's. Lips and eyes count twice, a look, of an eye's width and not
    further than a decoder can follow, as much as fifty other landmarks.

    Args:
        network: the face mesh.
        swaps: as the network draws them; the gradient goes here alone.
        faces: what they were made of.
        middle: the mean of who the faces show, see `measure_middle`.
        swap_middle: of who the swaps show.

    Returns:
        The mean over x and y, in shares of the crop's side.
    """
    wanted = find_motion(network, faces) - middle
    look = jnp.clip(wanted[:, -1:], -_FARTHEST, _FARTHEST)
    wanted = jnp.concatenate([wanted[:, :-1], look], axis=1)
    found = find_motion(network, swaps) - swap_middle
    apart = jnp.abs(found - jax.lax.stop_gradient(wanted)).mean(2)
    weights = np.ones(apart.shape[1], np.float32)
    weights[[*_LIPS, *_EYES]], weights[-1] = _EXPRESSIVE, _LOOK
    return jnp.mean(apart * jnp.asarray(weights / weights.mean())[None])


_SCALE = _SIDE / COVERAGE  # of a window's side to a crop's


def _offset(axis: int) -> float:
    """Where a window begins, along y or x, in shares of the crop's side."""
    return 0.5 + (_MIDDLE[1 - axis] - 0.5) / COVERAGE - _SCALE / 2


@cache
def _widening(size: int, axis: int) -> Float64[np.ndarray, "192 size"]:
    """How a column or row of a crop becomes one of a window, interpolated linearly."""
    places = (np.arange(WINDOW_SIZE) + 0.5) / WINDOW_SIZE
    places = (_offset(axis) + _SCALE * places) * size - 0.5
    places = np.clip(places, 0, size - 1)
    distance = np.abs(places[:, None] - np.arange(size)[None])
    return np.maximum(0, 1 - distance)


# The network


def run_network(
    network: MeshNetwork, windows: Float32[Array, "n 192 192 3"]
) -> Float32[Array, "n 468 3"]:
    """What the network answers: x, y and depth, in pixels from the window's edge."""
    results: list[Array] = [windows]
    for layer in network.layers:
        inputs = [results[index] for index in layer.inputs]
        weights = [network.arrays[index] for index in layer.weights]
        results.append(_apply(layer, inputs, weights))
    return results[-1].reshape(len(windows), -1, 3)


def _apply(layer: MeshLayer, inputs: list[Array], weights: list[Array]) -> Array:
    x = inputs[0]
    n, h, w, c = x.shape
    match layer.kind:
        case "add":
            return x + inputs[1]
        case "prelu":
            return jnp.where(x > 0, x, x * _spread(weights[0], x))
        case "pad":
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, layer.channels - c)))
        case "max_pool":
            return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        case "depthwise":
            y = depthwise(x, weights[0], layer.stride)
        case "full":  # one window, as large as the picture
            flat = weights[0].reshape(-1, layer.channels)
            y = (x.reshape(n, -1) @ flat)[:, None, None]
        case "conv":
            y = conv_patches(x, weights[0], layer.stride)
    return y + _spread(weights[1], y)


def _spread(vector: Array, x: Array) -> Array:
    return jnp.broadcast_to(vector, x.shape)


@with_gradients
def depthwise(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "n h2 w2 c"]:
    """Convolves each channel by itself, with "SAME" padding; odd windows.

    As a sum of shifted products: XLA's own depthwise convolution takes some fifty times
    as long on CPUs.
    """
    (_, h, w, _), size = x.shape, kernel.shape[0]
    out_h, out_w = -(-h // stride), -(-w // stride)
    pads = [same_pads(side, size, stride) for side in (h, w)]
    return _sum_shifted(
        jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel, out_h, out_w, stride
    )


def _depthwise_forward(
    x: Array, kernel: Array, stride: int
) -> tuple[Array, tuple[Array, Array]]:
    return depthwise(x, kernel, stride), (x, kernel)


# By hand: the transpose that JAX derives pads and adds each of the nine products, which
# takes twice as long to compile.
def _depthwise_backward(
    stride: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    size = kernel.shape[0]
    edges = [(0, 0, 0)]
    for side, out in zip(x.shape[1:3], dy.shape[1:3], strict=True):
        before = size - 1 - same_pads(side, size, stride)[0]
        spread = (out - 1) * stride + 1
        edges.append((before, side + size - 1 - before - spread, stride - 1))
    spread = lax.pad(dy, jnp.zeros((), dy.dtype), [*edges, (0, 0, 0)])
    _, h, w, _ = x.shape
    dx = _sum_shifted(spread, kernel[::-1, ::-1], h, w, 1)
    return dx, jnp.zeros_like(kernel)  # which is never trained


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_shifted(x: Array, kernel: Array, height: int, width: int, step: int) -> Array:
    size = kernel.shape[0]
    y = jnp.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    for i in range(size):
        rows = take_every(x, 1, i, step, height)
        for j in range(size):
            y = y + take_every(rows, 2, j, step, width) * _spread(kernel[i, j], y)
    return y
