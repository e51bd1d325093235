"""What a network has learned, and what was counted of it.

A gradient changes a `Network`; `CodeStatistics` follow its codes while it trains.
`SwapParams` has all that a swap reads. All are pytrees, so every function of the
package is pure in them; their leaves are arrays, or what stands for arrays: gradients,
shapes, copies a device.

A checkpoint holds plain dicts with the names that the first version gave them; only
`to_tree` and `from_tree` know these.
"""

from collections.abc import Mapping
from typing import Any

import jax
from flax import struct

from deepfake_jax.types import SIDES, Side

Params = dict[str, Any]  # of one Flax module


@struct.dataclass
class Network:
    """All that is learned; float32.

    The order of the fields is that in which the gradients' norm is summed.

    Attributes:
        decoders: parameters of each side's decoder.
        encoder: of the encoder, which both share.
        readout: [d, m], a linear map from codes to shapes, where these are learned.
    """

    decoders: dict[Side, Params]
    encoder: Params
    readout: Any = None


@struct.dataclass
class CodeStatistics:
    """Running moments of one side's codes, in the encoder's bottleneck.

    Attributes:
        mean: [d].
        variance: [d].
    """

    mean: Any
    variance: Any


@struct.dataclass
class SwapParams:
    """All that a swap reads.

    Attributes:
        network: what was learned.
        statistics: of each side's codes; empty where a network does not align them.
    """

    network: Network
    statistics: dict[Side, CodeStatistics] = struct.field(default_factory=dict)


def count_parameters(tree: Any) -> int:
    """How many numbers a tree holds: a network, or a part of it."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def network_to_tree(network: Network) -> Params:
    """A network as a checkpoint holds it; see `network_from_tree`."""
    tree = {f"decoder_{side}": own for side, own in network.decoders.items()}
    tree["encoder"] = network.encoder
    return tree if network.readout is None else {**tree, "readout": network.readout}


def network_from_tree(tree: Mapping[str, Any]) -> Network:
    """A network out of a checkpoint; what else the tree has is passed over.

    Raises:
        KeyError: a part is missing.
    """
    decoders: dict[Side, Params] = {side: tree[f"decoder_{side}"] for side in SIDES}
    return Network(decoders, tree["encoder"], tree.get("readout"))


def to_tree(params: SwapParams) -> Params:
    """Network and statistics as a checkpoint holds them, in one dict."""
    tree = network_to_tree(params.network)
    if params.statistics:
        tree["codes"] = {side: vars(own) for side, own in params.statistics.items()}
    return tree


def from_tree(tree: Mapping[str, Any]) -> SwapParams:
    """The parameters of a checkpoint: what `to_tree` gave.

    Raises:
        KeyError: a part is missing.
    """
    codes: Mapping[Side, Mapping[str, Any]] = tree.get("codes", {})
    return SwapParams(
        network=network_from_tree(tree),
        statistics={s: CodeStatistics(**own) for s, own in codes.items()},
    )
