"""A swap in one direction as a graph: crops in, the other person's crops out.

Beside the network it has what `swap_faces` does: codes moved to where the target's lie.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from deepfake_jax.export.onnx_graph import Graph
from deepfake_jax.export.onnx_networks import (
    DrawnNames,
    add_compress,
    add_decoder,
    add_widen,
)
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import SwapParams
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
    return _add_drawn(graph, swap, _add_vectors(graph, swap, crops), swap.to)


def add_both(graph: Graph, swap: Swap, crops: str) -> tuple[DrawnNames, DrawnNames]:
    """As `add_swap`, and what the source's own decoder draws."""
    vectors = _add_vectors(graph, swap, crops)
    swapped, own = (
        _add_drawn(graph, swap, vectors, side) for side in (swap.to, swap.source)
    )
    return swapped, own


def _add_vectors(graph: Graph, swap: Swap, crops: str) -> str:
    return add_compress(graph, swap.config, swap.params.network.encoder, crops)


def _add_drawn(graph: Graph, swap: Swap, vectors: str, side: Side) -> DrawnNames:
    network = swap.params.network
    if swap.model.align_codes and side == swap.to:
        vectors = _add_move(graph, vectors, swap)
    code = add_widen(graph, swap.config, network.encoder, vectors)
    decoder = network.decoders[side]
    return add_decoder(graph, decoder, code, masked=swap.model.masked)


def _add_move(graph: Graph, vectors: str, swap: Swap) -> str:
    """`Autoencoder.move` as one product and one sum: it is an affine map."""
    size = len(swap.params.statistics["a"].mean)
    ends = jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size)])
    moved = swap.model.move(swap.params, ends, source=swap.source, to=swap.to)
    offset, *rows = np.asarray(moved, np.float64)
    product = graph.apply("MatMul", vectors, graph.constant(np.array(rows) - offset))
    return graph.apply("Add", product, graph.constant(offset))
