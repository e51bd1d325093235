"""Swaps with parameters none of which is zero."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks import begin_params

from deepfake_jax.export.onnx_swap import Swap
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.network import CodeStatistics
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import SIDES, Side


def make_swap(name: Any, *, align: bool = True, to: Side = "b") -> Swap:
    """A network with parameters none of which is zero."""
    config = ModelConfig(
        name=name, width=8, align_codes=align, expression=1.2, mouth=1.5
    )
    model = make_autoencoder(config)
    rng = np.random.default_rng(5)

    def shake(leaf: jax.Array) -> jax.Array:
        return leaf + rng.normal(0, 0.02, leaf.shape).astype(np.float32)

    params = begin_params(model)
    params = replace(params, network=jax.tree.map(shake, params.network))
    if align:
        numbers = params.statistics["a"].mean.shape[0]
        draw = [rng.normal(size=numbers).astype(np.float32) for _ in range(4)]
        readout = jnp.asarray(rng.normal(size=(numbers, 102)), jnp.float32)
        params = replace(
            params,
            network=replace(params.network, readout=readout),
            statistics={
                side: CodeStatistics(jnp.asarray(mean), jnp.asarray(spread**2))
                for side, mean, spread in zip(SIDES, draw[:2], draw[2:], strict=True)
            },
        )
    return Swap(config, model, params, to)
