"""The .dfm of DeepFaceLive: a swap behind its names, in the crops of other programs.

What such a file is: ONNX; one input ``in_face:0`` (n, size, size, 3), float32, BGR in
[0, 1], with a fixed size; outputs by their position: ``out_face_mask:0`` (n, size,
size, 1), ``out_celeb_face:0`` (n, size, size, 3) and ``out_celeb_face_mask:0`` (n,
size, size, 1), all in [0, 1].

Each program cuts faces out of its frames in its own way, upright and around the same
face; where its crop lies in our face picture is a square, `CROPS`. Our network sees the
middle of that, so the graph samples it there and lays what is drawn back into the
crop. Around it the crop stays as it came, and the mask is zero.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.export.onnx_graph import Graph
from deepfake_jax.export.onnx_swap import Swap, add_swap
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, template_landmarks
from deepfake_jax.imaging.landmark_masks import extended_mask
from deepfake_jax.types import Mask

Program = Literal["facefusion", "deepfacelive", "deepfacelab"]

INPUT = "in_face:0"
OUTPUTS = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")
_LEAST_SIZE = 224  # of a .dfm as they are common
_STEP = 32  # pixels; sizes are a multiple
_FADE = 3.0  # pixels of the network's crop over which the mask ends at its edge
_SWAPPED = np.array([2, 1, 0], np.int64)  # RGB to BGR and back


class CropPlace(NamedTuple):
    """Where a program's square crop lies in our face picture of 256 pixels.

    Attributes:
        left: of its edge.
        top: likewise.
        side: pixels.
    """

    left: float
    top: float
    side: float


# Facefusion: its template dfl_whole_face, five points, fitted to those of `MEAN_FACE`.
# DeepFaceLive: coverage 2.2, shifted up by 0.08. DeepFaceLab: whole_face.
CROPS: Mapping[Program, CropPlace] = MappingProxyType(
    {
        "facefusion": CropPlace(19.2, 3.8, 221.8),
        "deepfacelive": CropPlace(2.0, -13.0, 254.4),
        "deepfacelab": CropPlace(6.0, -7.0, 246.6),
    }
)


class Resampling(NamedTuple):
    """Matrices between a program's crop and the network's, for rows and for columns.

    Attributes:
        down: [crop_size, size], from the program's pixels to the network's.
        up: [size, crop_size], the way back, edges repeated.
        inside: [size], 1 for the program's pixels that the network draws.
    """

    down: Float32[np.ndarray, "crop_size size"]
    up: Float32[np.ndarray, "size crop_size"]
    inside: Float32[np.ndarray, " size"]


def choose_size(place: CropPlace, crop_size: int) -> int:
    """Side of the program's crop in which the network's pixels are not lost."""
    wanted = place.side / (COVERAGE * FACE_SIZE) * crop_size
    return max(_LEAST_SIZE, int(np.ceil(wanted / _STEP)) * _STEP)


def make_resampling(start: float, side: float, size: int, crop_size: int) -> Resampling:
    """The matrices of one axis.

    Args:
        start: of the program's crop in our face picture, pixels.
        side: of it, likewise.
        size: its pixels.
        crop_size: those of the network.
    """
    margin = (1 - COVERAGE) / 2 * FACE_SIZE
    scale = size / side
    low, high = (margin - start) * scale, (FACE_SIZE - margin - start) * scale
    step = (high - low) / crop_size
    centres = low + (np.arange(crop_size) + 0.5) * step - 0.5
    down = _triangles(centres, size, width=max(1.0, step))
    places = (np.arange(size) + 0.5 - low) / step - 0.5
    inside = (places > -0.5) & (places < crop_size - 0.5)
    up = _triangles(np.clip(places, 0, crop_size - 1), crop_size, width=1.0)
    return Resampling(down, up, inside.astype(np.float32))


def _triangles(
    centres: Float64[np.ndarray, " n"], size: int, *, width: float
) -> Float32[np.ndarray, "n size"]:
    """Rows of triangle filters; beyond the edges the last pixel counts."""
    places = np.arange(-size, 2 * size)
    weights = np.maximum(0, 1 - np.abs(places[None] - centres[:, None]) / width)
    folded = np.zeros((len(centres), size))
    np.add.at(folded.T, np.clip(places, 0, size - 1), weights.T)
    return (folded / folded.sum(axis=1, keepdims=True)).astype(np.float32)


def draw_mean_mask(place: CropPlace, size: int) -> Mask:
    """The mean face's outline with the forehead, in a program's crop."""
    scale = size / place.side
    landmarks = template_landmarks(FACE_SIZE, count=68) + 0.5
    landmarks = (landmarks - (place.left, place.top)) * scale - 0.5
    return extended_mask(landmarks, size)


def add_dfm(
    graph: Graph, swap: Swap, program: Program, shift: Float64[np.ndarray, "3"]
) -> int:
    """Adds a swap behind a .dfm's names.

    Args:
        graph: an empty one.
        swap: what is exported.
        program: whose crops it is for.
        shift: grey levels that the network wants to be added, RGB.

    Returns:
        The side of the program's crop, pixels.
    """
    place, crop_size = CROPS[program], swap.model.crop_size
    size = choose_size(place, crop_size)
    rows = make_resampling(place.top, place.side, size, crop_size)
    columns = make_resampling(place.left, place.side, size, crop_size)
    inside = rows.inside[:, None] * columns.inside

    def resample(x: str, before: np.ndarray, after: np.ndarray) -> str:
        x = graph.apply("MatMul", graph.constant(before), x)
        return graph.apply("MatMul", x, graph.constant(after.T))

    def clip(x: str) -> str:
        return graph.apply("Clip", x, graph.constant(0.0), graph.constant(1.0))

    order = graph.constant(_SWAPPED)
    seen = graph.apply("Transpose", clip(INPUT), perm=[0, 3, 1, 2])
    seen = graph.apply("Gather", seen, order, axis=1)
    crops = resample(seen, rows.down, columns.down)
    if np.any(shift):
        added = graph.constant(shift.reshape(1, 3, 1, 1) / 255)
        crops = clip(graph.apply("Add", crops, added))
    drawn = add_swap(graph, swap, crops)
    large = resample(drawn.crops, rows.up, columns.up)
    shown = graph.constant(inside)
    face = graph.apply("Mul", large, shown)
    around = graph.apply("Mul", seen, graph.constant(1 - inside))
    face = graph.apply("Gather", graph.apply("Add", face, around), order, axis=1)
    edge = draw_edge(rows, columns, crop_size)
    if drawn.mask is None:
        mask = _spread(graph, seen, draw_mean_mask(place, size) * edge)
    else:
        mask = resample(drawn.mask, rows.up, columns.up)
        mask = graph.apply("Mul", mask, graph.constant(edge))
    # Sums of a filter's weights leave [0, 1] by a rounding.
    mask, face = (
        graph.apply("Transpose", clip(each), perm=[0, 2, 3, 1]) for each in (mask, face)
    )
    for name, value in zip(OUTPUTS, (mask, face, mask), strict=True):
        graph.give(value, name)
    return size


def draw_edge(rows: Resampling, columns: Resampling, crop_size: int) -> Mask:
    """1 within what the network draws, fading to 0 at its edge."""
    line = np.arange(crop_size) + 0.5
    ramp = np.minimum(np.minimum(line, crop_size - line) / _FADE, 1)
    sides = [(axis.up @ ramp) * axis.inside for axis in (rows, columns)]
    return np.outer(*sides).astype(np.float32)


def _spread(graph: Graph, pictures: str, mask: Mask) -> str:
    """A constant mask for each picture of a batch whose size nobody knows yet."""
    first = graph.apply("ReduceMax", pictures, axes=[1], keepdims=1)
    nothing = graph.apply("Mul", first, graph.constant(0.0))
    return graph.apply("Add", nothing, graph.constant(mask))
