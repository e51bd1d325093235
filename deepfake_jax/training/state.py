"""What training changes, how it begins, and what of it a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Int32, PRNGKeyArray

from deepfake_jax.models.autoencoder import Autoencoder, make_autoencoder
from deepfake_jax.models.face_mesh import MeshNetwork
from deepfake_jax.models.network import (
    CodeStatistics,
    Network,
    SwapParams,
    from_tree,
    network_from_tree,
    network_to_tree,
    to_tree,
)
from deepfake_jax.models.perceptual import FeatureNetwork
from deepfake_jax.train_config import LossConfig, OptimizerConfig, TrainConfig
from deepfake_jax.training.muon import scale_by_muon
from deepfake_jax.types import Side

SHAPE_NUMBERS = 102  # of a face with 68 landmarks, see `data.cut_shapes`


@struct.dataclass
class MeshGuide:
    """What says where a swap's landmarks should lie, and where its eyes look.

    Attributes:
        network: the face mesh.
        middles: each person's usual ones, see `face_mesh.measure_middle`.
    """

    network: MeshNetwork
    middles: dict[Side, Array]


@struct.dataclass
class TrainState:
    """All that changes in training, and the fixed functions that change it.

    Attributes:
        step: updates so far.
        network: what is learned.
        statistics: what is counted of each side's codes; empty where a network does
            not align them.
        opt_state: optax's, of `network`.
        ema: moving average of network and statistics, or None if none is kept.
        mesh: what finds a swap's landmarks, or None; it never changes.
        features: what says how alike pictures look, likewise.
        model: the network's functions (static).
        tx: the optimizer (static).
        loss: the loss (static).
        ema_decay: decay of `ema` (static).
        remat: whether the backward pass computes activations again instead of keeping
            them (static).
    """

    step: Int32[Array, "..."]
    network: Network
    statistics: dict[Side, CodeStatistics]
    opt_state: Any
    ema: SwapParams | None
    mesh: MeshGuide | None
    features: FeatureNetwork | None
    model: Autoencoder = struct.field(pytree_node=False)
    tx: optax.GradientTransformation = struct.field(pytree_node=False)
    loss: LossConfig = struct.field(pytree_node=False)
    ema_decay: float = struct.field(pytree_node=False)
    remat: bool = struct.field(pytree_node=False, default=False)

    @property
    def swap_params(self) -> SwapParams:
        """The parameters to swap with: the moving average where there is one."""
        return self.ema or SwapParams(self.network, self.statistics)


@struct.dataclass
class Teacher:
    """A trained network to learn swaps from; nothing of it changes.

    Attributes:
        params: of the network.
        model: the network, of any kind with the student's size of crops (static).
    """

    params: SwapParams
    model: Autoencoder = struct.field(pytree_node=False)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam or Muon, perhaps clipped, with a linear warm-up to a constant step size.

    The step size never depends on how long the run will be, so a run can be stopped,
    resumed and extended at any step; the moving average of the weights takes the place
    of a falling step size.
    """

    def schedule(count: Any) -> Any:
        # The count starts at 0, and the first update must not be zero.
        share = (count + 1).astype(jnp.float32) / max(config.warmup_steps, 1)
        return config.learning_rate * jnp.minimum(share, 1)

    scale = scale_by_muon if config.name == "muon" else optax.scale_by_adam
    scaled = optax.chain(
        scale(b1=config.b1, b2=config.b2, eps=1e-7),
        optax.scale_by_learning_rate(schedule),
    )
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), scaled)
    return scaled


# One object for equal settings. It is a static part of the state: with another one a
# process's second run would be traced and compiled anew, seconds even for a tiny one.
_keep_optimizer = cache(make_optimizer)


@partial(jax.jit, static_argnames="model")
def _draw_network(key: PRNGKeyArray, *, model: Autoencoder) -> Network:
    return model.init(key)


def init_state(key: PRNGKeyArray, config: TrainConfig) -> TrainState:
    """A fresh state: drawn parameters, zero moments, step 0."""
    model = make_autoencoder(config.model)
    tx = _keep_optimizer(config.optimizer)
    network, statistics = _draw_network(key, model=model), model.begin_statistics()
    if config.loss.shape_weight and statistics:
        width = len(statistics["a"].mean)
        readout = jnp.zeros((width, SHAPE_NUMBERS), jnp.float32)
        network = replace(network, readout=readout)
    averaged = SwapParams(network, statistics)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        network=network,
        statistics=statistics,
        opt_state=tx.init(network),
        ema=jax.tree.map(jnp.copy, averaged) if config.optimizer.ema_decay else None,
        mesh=None,
        features=None,
        model=model,
        tx=tx,
        loss=config.loss,
        ema_decay=config.optimizer.ema_decay,
        remat=config.remat,
    )


# The names in a checkpoint are those of the first version.


def state_to_tree(state: TrainState) -> dict[str, Any]:
    """The part of the state that a checkpoint holds, as nested dicts of arrays."""
    return {
        "step": state.step,
        "params": to_tree(SwapParams(state.network, state.statistics)),
        "opt_state": _moments_to_tree(state.opt_state, network_to_tree),
        "ema": None if state.ema is None else to_tree(state.ema),
    }


def params_to_tree(step: int, params: SwapParams) -> dict[str, Any]:
    """A checkpoint that one can swap with, and not train."""
    return {"step": np.int32(step), "params": to_tree(params), "ema": None}


def state_from_tree(tree: Mapping[str, Any], fresh: TrainState) -> TrainState:
    """A state out of a checkpoint, whatever optimizer settings it was saved with.

    Args:
        tree: what `state_to_tree` gave, of this version or an earlier one.
        fresh: a state to begin with. What the checkpoint lacks stays as it is there: a
            moving average starts from the parameters.

    Raises:
        KeyError: a part is missing.
    """
    known = from_tree(tree["params"])
    ema = None
    if fresh.ema is not None:
        ema = (
            from_tree(tree["ema"]) if tree.get("ema") else jax.tree.map(jnp.copy, known)
        )
    return replace(
        fresh,
        step=jnp.asarray(tree["step"]),
        network=known.network,
        statistics=known.statistics,
        opt_state=_moments_from_tree(
            tree["opt_state"], fresh.opt_state, network_from_tree
        ),
        ema=ema,
    )


_STATES = (optax.ScaleByAdamState, optax.ScaleByScheduleState)


def _moments_to_tree(opt_state: Any, pack: Any) -> dict[str, Any]:
    """The moments and the count: all that optax's states hold, however they nest."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, _STATES))
    adam = next(node for node in leaves if isinstance(node, optax.ScaleByAdamState))
    return {"count": adam.count, "mu": pack(adam.mu), "nu": pack(adam.nu)}


def _moments_from_tree(tree: Any, opt_state: Any, unpack: Any) -> Any:
    """A state of optax's with the moments of a checkpoint.

    Earlier versions saved optax's states as they nest, which depends on whether
    gradients are clipped; and moments of what no gradient reaches, zeros.
    """
    kept = _find_moments(tree)

    def put(node: Any) -> Any:
        if isinstance(node, optax.ScaleByAdamState):
            mu, nu = unpack(kept["mu"]), unpack(kept["nu"])
            return optax.ScaleByAdamState(jnp.asarray(kept["count"]), mu, nu)
        if isinstance(node, optax.ScaleByScheduleState):
            return optax.ScaleByScheduleState(jnp.asarray(kept["count"]))
        return node

    return jax.tree.map(put, opt_state, is_leaf=lambda node: isinstance(node, _STATES))


def _find_moments(tree: Any) -> Mapping[str, Any]:
    if isinstance(tree, Mapping) and "mu" in tree:
        return tree
    parts = tree.values() if isinstance(tree, Mapping) else tree
    found = [part for part in parts if isinstance(part, Mapping | list | tuple)]
    for part in found:
        try:
            return _find_moments(part)
        except KeyError:
            continue
    raise KeyError("the moments of Adam")
