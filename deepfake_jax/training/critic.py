"""A critic, which learns to tell real faces from drawn ones, so that the drawn sharpen.

Where a network cannot know how a face looks, the mean error asks for the mean of all
that it may be, and that is blurred. A critic sees small patches of real and of drawn
faces; a network that fools it draws faces with the detail of real ones. Half of
the drawn faces are swaps, which nothing else in the training looks at. The critic is no
part of the network: only training has one.

Reference:
    Goodfellow et al. 2014, "Generative adversarial networks", section 3, with the
    generator's loss that does not saturate; Isola et al. 2017, "Image-to-image
    translation with conditional adversarial networks", section 3.2.2, of patches.
"""

from functools import cache
from typing import cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Float32, PRNGKeyArray

from deepfake_jax.models.conv import Conv
from deepfake_jax.models.conv_blocks import to_blocks
from deepfake_jax.models.network import Params
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.types import Side

# Faces of both sides, as many of each, [n, h, w, 3], in [0, 1].
Drawn = dict[Side, Array]
_LEAK = 0.2
_BETAS = 0.5, 0.99  # Adam's; a critic follows a network that changes


class Patches(nn.Module):
    """Faces to how real each patch of 20 px looks as A's, and as B's: logits.

    One network for both people, whose faces have most of what is real in common. It
    begins with blocks of 4 x 4 pixels: on a CPU that takes two fifths of the time of
    blocks of 2 x 2 with a layer more.
    """

    width: int = 64

    @nn.compact
    def __call__(
        self, faces: Float32[Array, "n h w 3"]
    ) -> Float32[Array, "n h/8 w/8 2"]:
        x = to_blocks(to_blocks(2 * faces - 1))
        x = nn.leaky_relu(Conv(self.width, (3, 3))(x), _LEAK)
        x = nn.leaky_relu(Conv(2 * self.width, (3, 3), stride=2)(x), _LEAK)
        return nn.Dense(2)(x)


@struct.dataclass
class Critic:
    """A critic's state.

    Attributes:
        params: of `Patches`.
        opt_state: optax's.
    """

    params: Params
    opt_state: optax.OptState


@cache
def _make_optimizer(learning_rate: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate, *_BETAS)


def init_critic(key: PRNGKeyArray, config: TrainConfig, face_size: int) -> Critic:
    """A fresh critic for faces of a size."""
    faces = jnp.zeros((1, face_size, face_size, 3), jnp.float32)
    params = jax.jit(Patches().init)(key, faces)["params"]
    optimizer = _make_optimizer(config.loss.critic_learning_rate)
    return Critic(params=params, opt_state=optimizer.init(params))


def fooling_loss(params: Params, drawn: Drawn) -> Float[Array, ""]:
    """How far the critic is from taking drawn faces for real ones; 0 where it does.

    Args:
        params: the critic's; no gradient reaches them.
        drawn: by each side's decoder.

    Returns:
        The mean of -log D, summed over both people as the other losses are.
    """
    logits = _judge(jax.lax.stop_gradient(params), drawn)
    return 2 * jnp.mean(nn.softplus(-logits))


def judging_loss(params: Params, drawn: Drawn, real: Drawn) -> Float[Array, ""]:
    """How badly the critic tells real faces from drawn ones.

    Args:
        params: the critic's.
        drawn: as for `fooling_loss`; no gradient reaches them.
        real: faces of each side, as many.

    Returns:
        The mean cross entropy: 0 where it is always right, log 2 where it guesses.
    """
    fakes = _judge(params, jax.lax.stop_gradient(drawn))
    reals = _judge(params, real)
    return (jnp.mean(nn.softplus(fakes)) + jnp.mean(nn.softplus(-reals))) / 2


def update_critic(
    critic: Critic,
    drawn: Drawn,
    real: Drawn,
    *,
    learning_rate: float,
    axis_name: str | None,
) -> tuple[Critic, Array]:
    """One step of the critic's, and its loss before; see `judging_loss`."""
    loss, grads = jax.value_and_grad(judging_loss)(critic.params, drawn, real)
    if axis_name is not None:
        loss, grads = jax.lax.pmean((loss, grads), axis_name)
    # optax mixes int32 counts with floats, which a caller's strict mode would refuse.
    with jax.numpy_dtype_promotion("standard"):
        optimizer = _make_optimizer(learning_rate)
        updates, opt_state = optimizer.update(grads, critic.opt_state, critic.params)
    params = cast(Params, optax.apply_updates(critic.params, updates))
    return Critic(params=params, opt_state=opt_state), loss


def _judge(params: Params, faces: Drawn) -> Array:
    """The logits of A's faces as A's, and of B's as B's, [2, n, ...]."""
    both, count = jnp.concatenate([faces["a"], faces["b"]]), faces["a"].shape[0]
    logits = jnp.asarray(Patches().apply({"params": params}, both))
    return jnp.stack([logits[:count, ..., 0], logits[count:, ..., 1]])
