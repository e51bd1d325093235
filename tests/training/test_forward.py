"""What swaps drawn within a training step teach, and whom."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.models.network import Network
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.train_config import config_from_dict
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.forward import draw_swaps, run_forward
from deepfake_jax.training.state import TrainState, init_state
from deepfake_jax.types import DIRECTIONS, SIDES

ALIGNED = {"name": "lite", "width": 8, "align_codes": True}
PLAIN = {"name": "lite", "width": 8}


def make_state(model: dict) -> TrainState:
    """A fresh network, with codes of the two people that lie apart."""
    config = config_from_dict({"model": model, "loss": {"shape_weight": 1.0}})
    state = init_state(jax.random.key(0), config)
    apart = {"a": 0.5, "b": 2.0}
    statistics = {
        side: jax.tree.map(lambda leaf, by=apart[side]: leaf + by, known)
        for side, known in state.statistics.items()
    }
    averaged = state.ema and replace(state.ema, statistics=statistics)
    return replace(state, statistics=statistics, ema=averaged)


def make_batch(rng: np.random.Generator) -> Batch:
    def draw() -> jax.Array:
        return jnp.asarray(rng.uniform(0, 1, (4, 64, 64, 3)), jnp.float32)

    return {side: Pair(draw(), draw()) for side in SIDES}


@pytest.mark.parametrize("model", [ALIGNED, PLAIN], ids=["aligned", "plain"])
def test_swaps_teach_what_both_share_and_no_decoder(rng, model: dict):
    state, batch = make_state(model), make_batch(rng)

    def sum_swaps(network: Network) -> jax.Array:
        swaps = draw_swaps(state, run_forward(network, state, batch), every=2)
        return sum((jnp.sum(crops**2) for crops in swaps.values()), jnp.zeros(()))

    taught = jax.grad(sum_swaps)(state.network)
    for name, layer in taught.encoder.items():
        assert any(np.any(leaf) for leaf in jax.tree.leaves(layer)), name
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(taught.decoders))
    if taught.readout is not None:
        assert not np.any(taught.readout)


def test_swaps_are_those_of_a_conversion(rng):
    state, batch = make_state(ALIGNED), make_batch(rng)
    swaps = draw_swaps(state, run_forward(state.network, state, batch), every=2)
    for source, to in DIRECTIONS:
        expected = swap_faces(
            state.model,
            state.swap_params,
            batch[source].warped[::2],
            to=to,
            source=source,
        )
        np.testing.assert_allclose(swaps[source], expected, atol=1e-5)
