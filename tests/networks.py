"""Networks that tests know the answers of."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
from flax import linen as nn

from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.train_config import ModelConfig

# Of runs whose network stands in no config.
NO_FACTS = RunFacts(model=ModelConfig(), color_shift=(0.0, 0.0, 0.0))


class Same(nn.Module):
    """Draws what it sees."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class Still(nn.Module):
    """Draws its parameter, whatever it sees: one picture of `size` pixels."""

    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, 3)
        picture = self.param("picture", nn.initializers.zeros, shape)
        return jnp.broadcast_to(picture[None], x.shape)


# Parameters of networks that have none.
NOTHING = SwapParams(Network({"a": {}, "b": {}}, {}))


def begin_params(model: Autoencoder, seed: int = 0) -> SwapParams:
    """What a network swaps with before it has learned anything."""
    network = jax.jit(model.init)(jax.random.key(seed))
    return SwapParams(network, model.begin_statistics())


@contextmanager
def list_compiled() -> Iterator[list[str]]:
    """What JAX compiles inside the block, one line a program."""
    compiled: list[str] = []

    class Lister(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg.startswith("Compiling "):
                compiled.append(record.getMessage())

    lister, logger = Lister(), logging.getLogger("jax")
    logger.addHandler(lister)
    try:
        with jax.log_compiles():
            yield compiled
    finally:
        logger.removeHandler(lister)
