"""A swap in one direction as a graph: crops in, the other person's crops out.

Beside the network it has what `swap_faces` does: codes moved to where the target's lie
and, where the run has a bank, drawn to those of real faces. The bank is part of the
graph as codes and shapes; no picture is.
"""

from dataclasses import dataclass

import numpy as np

from deepfake_jax.export.onnx_graph import Graph
from deepfake_jax.export.onnx_networks import (
    DrawnNames,
    add_compress,
    add_decoder,
    add_widen,
)
from deepfake_jax.models import autoencoder, code_bank
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import Bank, CodeStatistics, SwapParams
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import Side, other_side

_TINY = 1e-30  # square of a deviation, below which there is nothing to draw nearer


@dataclass(frozen=True, eq=False)
class Swap:
    """What is exported of a run.

    Attributes:
        config: of its network.
        model: its functions, in float32.
        params: its parameters and what they remember.
        to: whose faces appear.
    """

    config: ModelConfig
    model: Autoencoder
    params: SwapParams
    to: Side

    @property
    def source(self) -> Side:
        """Whose faces are seen."""
        return other_side(self.to)

    @property
    def recalls(self) -> bool:
        """Whether codes are drawn to those of real faces."""
        return self.model.align_codes and self.to in self.params.bank

    @property
    def landmark_numbers(self) -> int:
        """How many numbers the landmarks are that recalling takes; 0 without a bank."""
        return len(self.params.bank[self.source].middle) if self.recalls else 0


def add_swap(
    graph: Graph,
    swap: Swap,
    crops: str,
    *,
    recall: str,
    landmarks: str | None = None,
) -> DrawnNames:
    """Crops, NCHW in [0, 1], to what the other person's decoder draws of them.

    Args:
        graph: to add to.
        swap: the run's network and direction.
        crops: a value of the graph.
        recall: likewise, the share that is recalled; not used without a bank.
        landmarks: likewise, rows of numbers, NaN where they are not known; None reads
            shapes from the codes.
    """
    network = swap.params.network
    vectors = add_compress(graph, swap.config, network.encoder, crops)
    moved = vectors
    if swap.model.align_codes:
        known = swap.params.statistics
        moved = _add_move(graph, vectors, known[swap.source], known[swap.to])
    if swap.recalls:
        bank = swap.params.bank
        shapes = _add_shapes(graph, vectors, bank[swap.source], landmarks)
        moved = _add_recall(graph, moved, shapes, bank[swap.to], recall)
    code = add_widen(graph, swap.config, network.encoder, moved)
    decoder = network.decoders[swap.to]
    return add_decoder(graph, decoder, code, masked=swap.model.masked)


def _add_move(
    graph: Graph, vectors: str, source: CodeStatistics, target: CodeStatistics
) -> str:
    """`autoencoder.move_codes` as one product and one sum."""
    here, there = (
        {name: np.asarray(part, np.float64) for name, part in vars(each).items()}
        for each in (source, target)
    )
    least, most = autoencoder._LEAST, autoencoder._MOST_SCALE
    scale = np.sqrt((there["variance"] + least) / (here["variance"] + least))
    scale = np.clip(scale, 1 / most, most)
    share = autoencoder._MOVED
    offset = share * (there["mean"] - here["mean"] * scale)
    scaled = graph.apply("Mul", vectors, graph.constant(1 - share + share * scale))
    return graph.apply("Add", scaled, graph.constant(offset))


def _add_shapes(graph: Graph, vectors: str, source: Bank, landmarks: str | None) -> str:
    """Shapes of the source's faces: of their landmarks, or read from their codes."""
    mean, scale, readout, middle = map(
        graph.constant, (source.mean, source.scale, source.readout, source.middle)
    )
    scaled = graph.apply("Div", graph.apply("Sub", vectors, mean), scale)
    read = graph.apply("MatMul", scaled, readout)
    if landmarks is None:
        return read
    shapes = graph.apply("Sub", landmarks, middle)
    return graph.apply("Where", graph.apply("IsNaN", shapes), read, shapes)


def _add_recall(graph: Graph, moved: str, shapes: str, target: Bank, share: str) -> str:
    """`code_bank.recall_codes`, by the same formulas."""

    def square(x: str) -> str:
        return graph.apply("Mul", x, x)

    def apart(rows: str, others: str) -> str:
        """Differences of all rows and all others: n k m."""
        return graph.apply("Sub", graph.apply("Unsqueeze", rows, axes=[1]), others)

    def over_least(x: str) -> str:
        least = graph.apply("ReduceMin", x, axes=[1], keepdims=1)
        floor = graph.constant(code_bank._LEAST)
        return graph.apply("Div", x, graph.apply("Add", least, floor))

    codes, scale = graph.constant(target.codes), graph.constant(target.scale)
    by_shape = square(apart(shapes, graph.constant(target.shapes)))
    by_shape = graph.apply("ReduceSum", by_shape, axes=[2], keepdims=0)
    by_code = square(graph.apply("Div", apart(moved, codes), scale))
    by_code = graph.apply("ReduceMean", by_code, axes=[2], keepdims=0)
    weight = graph.constant(code_bank._CODES)
    both = graph.apply("Mul", over_least(by_code), weight)
    both = graph.apply("Add", over_least(by_shape), both)
    both = graph.apply("Div", both, graph.constant(-code_bank._WIDTH))
    weights = graph.apply("Softmax", both, axis=1)
    recalled = graph.apply("MatMul", weights, codes)
    rest = graph.apply("Sub", moved, recalled)
    off = square(graph.apply("Div", rest, scale))
    off = graph.apply("ReduceMean", off, axes=[1], keepdims=1)
    one = graph.constant(1.0)
    allowed = graph.apply("Sub", one, share)
    allowed = graph.apply("Mul", allowed, graph.constant(code_bank._REACH))
    found = graph.apply("Mul", off, square(share))
    found = graph.apply("Sqrt", graph.apply("Max", found, graph.constant(_TINY)))
    kept = graph.apply("Min", one, graph.apply("Div", allowed, found))
    return graph.apply("Add", recalled, graph.apply("Mul", kept, rest))
