"""A swap in one direction as a graph: crops in, the other person's crops out.

Beside the network it has what `swap_faces` does: codes moved to where the target's lie.
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
from deepfake_jax.models import autoencoder
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import CodeStatistics, SwapParams
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import Side, other_side


@dataclass(frozen=True, eq=False)
class Swap:
    """What is exported of a run.

    Attributes:
        config: of its network.
        model: its functions, in float32.
        params: its parameters.
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


def add_swap(graph: Graph, swap: Swap, crops: str) -> DrawnNames:
    """Crops, NCHW in [0, 1], to what the other person's decoder draws of them.

    Args:
        graph: to add to.
        swap: the run's network and direction.
        crops: a value of the graph.
    """
    network = swap.params.network
    vectors = add_compress(graph, swap.config, network.encoder, crops)
    if swap.model.align_codes:
        known = swap.params.statistics
        vectors = _add_move(graph, vectors, known[swap.source], known[swap.to])
    code = add_widen(graph, swap.config, network.encoder, vectors)
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
