"""Networks of 128 px and more: counts of the sheet, growing, the mask."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.benchmarks.step import count_layers
from deepfake_jax.models.autoencoder import (
    Autoencoder,
    Drawing,
    make_autoencoder,
)
from deepfake_jax.models.deep import grow_decoder
from deepfake_jax.models.network import Network, Params, count_parameters
from deepfake_jax.models.subpixels import shrink
from deepfake_jax.train_config import ModelConfig

quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def make_model(name: str, **settings: Any) -> Autoencoder:
    return make_autoencoder(ModelConfig(**{"name": name, "width": 8, **settings}))


@functools.cache
def draw_params(name: str, seed: int = 0) -> Network:
    return quick_jit(make_model(name).init)(jax.random.key(seed))


def disturb(params: Network) -> Network:
    """As after some training: nothing is alike within blocks, biases are not zero."""
    rng = np.random.default_rng(4)
    return jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(0, 0.05, leaf.shape), jnp.float32),
        params,
    )


@functools.cache
def redraw(name: str) -> Callable[[Network, jax.Array], Drawing]:
    model = make_model(name)
    return quick_jit(lambda params, x: model.draw(params, model.encode(params, x), "a"))


def draw_crops(rng: np.random.Generator, count: int, size: int) -> jax.Array:
    return jnp.asarray(rng.random((count, size, size, 3), dtype=np.float32))


def double(pictures: Any) -> np.ndarray:
    return np.asarray(pictures).repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize(
    "name, width, learned, head, products",
    [
        ("lite128", 64, 5.58e6, 0.41e6, 0.42e9),
        ("mid256", 48, 36.6e6, 4.4e6, 6.1e9),
        ("hd256", 64, 75.6e6, 7.4e6, 33.2e9),
        ("hd512", 64, 76.3e6, 7.8e6, 43.2e9),
    ],
)
def test_parameters_and_products_are_those_specified(
    name: str, width: int, learned: float, head: float, products: float
):
    model = make_model(name, width=width)
    shapes = model.shapes()
    # The specification has two or three digits.
    assert count_parameters(shapes) == pytest.approx(learned, rel=0.01)
    assert count_parameters(shapes.decoders["b"]) == pytest.approx(head, rel=0.01)
    crops = (1, model.crop_size, model.crop_size, 3)
    encoder, code = count_layers(model.encoder, shapes.encoder, crops)
    decoder, _ = count_layers(model.decoder, shapes.decoders["b"], code)
    # Counted are a product and a sum each.
    found = (sum(encoder) + sum(decoder)) / 2
    assert found == pytest.approx(products, rel=0.01)


# `hd512` and `hd256` are drawn below, where one grows to the other.
@pytest.mark.parametrize("name, size", [("lite128", 128), ("mid256", 256)])
def test_crops_and_masks_have_the_size_of_what_was_seen(
    rng: np.random.Generator, name: str, size: int
):
    crops, logits = redraw(name)(draw_params(name), draw_crops(rng, 1, size))
    assert crops.shape == (1, size, size, 3) and crops.dtype == jnp.float32
    assert logits is not None and logits.shape == (1, size, size)
    assert logits.dtype == jnp.float32
    assert 0 < float(crops.min()) < float(crops.max()) < 1
    assert float(logits.min()) < 0 < float(logits.max())


def test_a_network_without_masks_draws_none(rng: np.random.Generator):
    found = redraw("lite")(draw_params("lite"), draw_crops(rng, 1, 64))
    assert found.mask_logits is None


def test_crops_that_cannot_be_averaged_are_refused():
    with pytest.raises(ValueError, match="200 px are no multiple of 128"):
        shrink(jnp.zeros((1, 200, 200, 3)), 128)


# Larger crops, and growing


def test_larger_crops_are_averaged_to_what_is_seen(rng: np.random.Generator):
    compress = quick_jit(make_model("mid256").compress)
    params, crops = draw_params("mid256"), draw_crops(rng, 1, 128)
    np.testing.assert_allclose(
        compress(params, jnp.asarray(double(crops))),
        compress(params, crops),
        rtol=1e-4,
        atol=1e-6,
    )


def test_hd512_begins_with_what_hd256_drew(rng: np.random.Generator):
    small, fresh = disturb(draw_params("hd256")), draw_params("hd512", 1)
    grown = grow_decoder(small.decoders["a"], fresh.decoders["a"])
    shapes = jax.tree.map(jnp.shape, fresh.decoders["a"])
    assert jax.tree.map(jnp.shape, grown) == shapes
    crops = draw_crops(rng, 1, 256)
    expected = redraw("hd256")(small, crops)
    found = redraw("hd512")(Network({"a": grown}, small.encoder), crops)
    # Winograd's transforms round other numbers; half a grey level is 2e-3.
    np.testing.assert_allclose(found.crops, double(expected.crops), atol=1e-4)
    assert found.mask_logits is not None and found.mask_logits.dtype == jnp.float32
    logits = double(expected.mask_logits)
    np.testing.assert_allclose(found.mask_logits, logits, atol=1e-3)
    assert float(expected.crops.std()) > 0.01, "flat pictures would agree anyway"


# Gradients


def test_everything_of_a_side_learns_and_nothing_of_the_other(rng: np.random.Generator):
    model, crops = make_model("lite128"), draw_crops(rng, 1, 128)

    def loss(params: Network) -> jax.Array:
        drawn = model.draw(params, model.encode(params, crops), "b")
        assert drawn.mask_logits is not None
        return jnp.abs(drawn.crops - crops).mean() + drawn.mask_logits.mean()

    grads = quick_jit(jax.grad(loss))(draw_params("lite128"))
    for leaf in jax.tree.leaves(grads.decoders["a"]):
        np.testing.assert_array_equal(leaf, 0)
    for part in (grads.encoder, grads.decoders["b"]):
        for path, leaf in jax.tree.leaves_with_path(part):
            assert np.all(np.isfinite(leaf)) and np.any(np.asarray(leaf) != 0), path


def test_grown_level_learns(rng: np.random.Generator):
    model, crops = make_model("hd512"), draw_crops(rng, 1, 256)
    small, fresh = draw_params("hd256"), draw_params("hd512", 1)
    decoder = grow_decoder(small.decoders["a"], fresh.decoders["a"])
    code = make_model("hd256").encode(small, crops)

    def loss(decoder: Params) -> jax.Array:
        drawn = model.draw(Network({"a": decoder}, {}), code, "a")
        assert drawn.mask_logits is not None
        wrong = jnp.square(drawn.crops - double(crops)).mean()
        return wrong + jnp.square(drawn.mask_logits - 1).mean()

    grads = quick_jit(jax.grad(loss))(decoder)
    assert np.all(np.asarray(grads["output"]["kernel"])[1, 1] != 0)
    assert np.any(np.asarray(grads["residual2"]["conv1"]["kernel"]) != 0)


def test_bfloat16_is_close_to_float32(rng: np.random.Generator):
    params, crops = disturb(draw_params("lite128")), draw_crops(rng, 1, 128)
    exact = redraw("lite128")(params, crops)
    model = make_model("lite128", precision="bfloat16")
    rough = quick_jit(lambda p, x: model.draw(p, model.encode(p, x), "a"))(
        params, crops
    )
    assert rough.crops.dtype == jnp.float32
    spread, difference = exact.crops.std(), jnp.abs(exact.crops - rough.crops)
    # Of eleven layers each rounds by up to 0.4 %.
    assert 0 < float(difference.mean()) < 0.05 * float(spread)
