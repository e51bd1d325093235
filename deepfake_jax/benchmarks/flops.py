"""How much arithmetic a network needs, counted from its layers' shapes.

A multiplication and an addition are two operations. What counts is the plain network,
whatever form its convolutions are computed in: Winograd's saves some and a convolution
of blocks adds some, and neither makes the work more or less.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.train_config import ModelConfig


def count_layers(
    module: nn.Module, params: Any, shape: tuple[int, ...]
) -> tuple[list[int], tuple[int, ...]]:
    """Operations of each layer that has a kernel, for one input, in order of use.

    Args:
        module: the network; nothing is computed.
        params: its parameters or their shapes.
        shape: of its input, one sample's, with the leading 1.

    Returns:
        The counts, and the shape of the output.
    """
    counts: list[int] = []

    def count(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.has_variable(
            "params", "kernel"
        ):
            kernel = context.module.get_variable("params", "kernel")
            # Each number of the output is one product of `kernel / channels` terms.
            counts.append(2 * output.size * math.prod(kernel.shape[:-1]))
        return output

    with nn.intercept_methods(count):
        output = jax.eval_shape(
            lambda params, x: module.apply({"params": params}, x),
            params,
            jax.ShapeDtypeStruct(shape, jnp.float32),
        )
    return counts, jnp.shape(output)


def train_flops_per_image(config: ModelConfig) -> int:
    """Operations of a training step for each image: convolutions and dense layers.

    The forward pass, and for each layer as much again for its kernel's gradient and for
    its input's, but for the first layer's input, which has none. Adam, activations and
    the loss are left out: their share is below a thousandth.
    """
    model = make_autoencoder(config)
    shapes = model.shapes()
    faces = (1, model.face_size, model.face_size, 3)
    encoder, code = count_layers(model.encoder, shapes["encoder"], faces)
    decoder, _ = count_layers(model.decoder, shapes["decoder_a"], code)
    return 3 * (sum(encoder) + sum(decoder)) - encoder[0]
