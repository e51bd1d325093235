"""What training changes, and how it begins."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int32, PRNGKeyArray

from deepfake_jax.models.autoencoder import Autoencoder, Params, make_autoencoder
from deepfake_jax.train_config import LossConfig, OptimizerConfig, TrainConfig
from deepfake_jax.training.critic import Critic, init_critic

SHAPE_NUMBERS = 102  # of a face with 68 landmarks, see `faceshape`; others have fewer


@struct.dataclass
class TrainState:
    """All that changes in training, and the fixed functions that change it.

    Attributes:
        step: updates so far.
        params: ``{"encoder", "decoder_a", "decoder_b"}``, float32; with aligned codes
            also ``"codes"``, and where their shapes are learned, ``"readout"``.
        opt_state: optax's.
        ema: moving average of the parameters, or None if none is kept.
        critic: what tells drawn faces from real ones, or None.
        model: the network (static).
        tx: the optimizer (static).
        loss: the loss (static).
        ema_decay: decay of `ema` (static).
        remat: whether the backward pass computes activations again instead of keeping
            them (static).
    """

    step: Int32[Array, "..."]
    params: Params
    opt_state: Any
    ema: Params | None
    critic: Critic | None
    model: Autoencoder = struct.field(pytree_node=False)
    tx: optax.GradientTransformation = struct.field(pytree_node=False)
    loss: LossConfig = struct.field(pytree_node=False)
    ema_decay: float = struct.field(pytree_node=False)
    remat: bool = struct.field(pytree_node=False, default=False)

    @property
    def swap_params(self) -> Params:
        """The parameters to swap with: the moving average where there is one."""
        return self.params if self.ema is None else self.ema


@struct.dataclass
class Teacher:
    """A trained network to learn swaps from; nothing of it changes.

    Attributes:
        params: of the network.
        model: the network, of any kind with the student's size of faces (static).
    """

    params: Params
    model: Autoencoder = struct.field(pytree_node=False)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam with optional clipping and a linear warm-up to a constant step size.

    The step size never depends on how long the run will be, so a run can be stopped,
    resumed and extended at any step; the moving average of the weights takes the place
    of a falling step size.
    """

    def schedule(count: Any) -> Any:
        # The count starts at 0, and the first update must not be zero.
        share = (count + 1).astype(jnp.float32) / max(config.warmup_steps, 1)
        return config.learning_rate * jnp.minimum(share, 1)

    adam = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=1e-7),
        optax.scale_by_learning_rate(schedule),
    )
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
    return adam


# One object for equal settings. It is a static part of the state: with another one a
# process's second run would be traced and compiled anew, seconds even for a tiny one.
_keep_optimizer = cache(make_optimizer)


@partial(jax.jit, static_argnames="model")
def _draw_parameters(key: PRNGKeyArray, *, model: Autoencoder) -> Params:
    return model.init(key)


def init_state(key: PRNGKeyArray, config: TrainConfig) -> TrainState:
    """A fresh state: drawn parameters, zero moments, step 0."""
    model = make_autoencoder(config.model)
    tx = _keep_optimizer(config.optimizer)
    params = _draw_parameters(key, model=model)
    if config.loss.shape_weight and model.align_codes:
        width = len(params["codes"]["a"]["mean"])
        readout = jnp.zeros((width, SHAPE_NUMBERS), jnp.float32)
        params = {**params, "readout": readout}
    critic = None
    if config.loss.critic_weight:
        # A key of its own: the network's parameters are the same without a critic.
        critic = init_critic(jax.random.fold_in(key, 1), config, model.crop_size)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        ema=jax.tree.map(jnp.copy, params) if config.optimizer.ema_decay else None,
        critic=critic,
        model=model,
        tx=tx,
        loss=config.loss,
        ema_decay=config.optimizer.ema_decay,
        remat=config.remat,
    )


def state_arrays(state: TrainState) -> dict[str, Any]:
    """The part of the state that a checkpoint holds."""
    arrays = {
        "step": state.step,
        "params": state.params,
        "opt_state": state.opt_state,
        "ema": state.ema,
    }
    if state.critic is not None:
        arrays["critic"] = state.critic
    return arrays
