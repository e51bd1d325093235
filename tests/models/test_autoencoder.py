"""The networks: the field's parameter counts, pixel order, sides that do not mix."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.models.autoencoder import (
    Autoencoder,
    make_autoencoder,
)
from deepfake_jax.models.code_moves import move_codes
from deepfake_jax.models.conv_blocks import pixel_shuffle
from deepfake_jax.models.network import (
    CodeStatistics,
    Network,
    SwapParams,
    count_parameters,
)
from deepfake_jax.models.swap_faces import encode_swap, swap_faces
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import SIDES, Side

WIDTH = 8


def make_model(**settings: Any) -> Autoencoder:
    return make_autoencoder(ModelConfig(**{"width": WIDTH, **settings}))


# Equal up to rounding, and compiling, most of these tests' time, takes half as long.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
INIT = quick_jit(make_model().init)


@pytest.fixture(scope="module")
def fresh() -> Network:
    return INIT(jax.random.key(0))


@pytest.fixture(scope="module")
def params(fresh: Network) -> Network:
    """Larger than drawn, so that outputs vary from place to place as trained ones."""
    return jax.tree.map(lambda leaf: 1.5 * leaf, fresh)


@pytest.fixture
def inputs(rng: np.random.Generator) -> jax.Array:
    return jnp.asarray(rng.random((2, 64, 64, 3), dtype=np.float32))


@functools.cache
def reconstruct(precision: str = "float32") -> Callable[..., list[jax.Array]]:
    """Both sides' outputs, compiled once for all tests; bfloat16 does A's alone."""
    model = make_model(precision=precision)

    def both(params: Network, faces: jax.Array) -> list[jax.Array]:
        code = model.encode(params, faces)
        sides: tuple[Side, ...] = ("a", "b") if precision == "float32" else ("a",)
        return [model.decode(params, code, side) for side in sides]

    return quick_jit(both)


# Counts


@pytest.mark.parametrize(
    "name, width, count",
    [
        # The classic program's; 5 x 5 and 3 x 3 kernels, two dense layers, biases.
        ("original", 128, 82_062_470),
        ("original", 32, 5_137_190),
        # Encoder 12, 64, 128, 256; 4096 to 64 and back; 256 to 512 by 3 x 3. Decoders
        # 128 to 256, 64 to 128 and 32 to 12.
        ("lite", 32, 2_829_592),
    ],
)
def test_parameter_counts(name: str, width: int, count: int):
    model = make_model(name=name, width=width)
    shapes = jax.eval_shape(model.init, jax.random.key(0))  # allocates nothing
    assert count_parameters(shapes) == count
    assert set(shapes.decoders) == {"a", "b"}
    sides = [count_parameters(part) for part in shapes.decoders.values()]
    assert sides[0] == sides[1]


def test_classic_layers_have_the_classic_shapes():
    shapes = jax.eval_shape(make_model(width=128).init, jax.random.key(0))
    encoder, decoder = shapes.encoder, shapes.decoders["a"]
    channels = [3, 128, 256, 512, 1024]
    for index in range(4):
        kernel = encoder[f"conv{index}"]["kernel"]
        assert kernel.shape == (5, 5, channels[index], channels[index + 1])
    assert encoder["bottleneck"]["kernel"].shape == (4 * 4 * 1024, 1024)
    assert encoder["expand"]["kernel"].shape == (1024, 4 * 4 * 1024)
    assert encoder["upscale"]["conv"]["kernel"].shape == (3, 3, 1024, 2048)
    channels = [512, 256, 128, 64]
    for index in range(3):
        kernel = decoder[f"upscale{index}"]["conv"]["kernel"]
        assert kernel.shape == (3, 3, channels[index], 4 * channels[index + 1])
    assert decoder["output"]["kernel"].shape == (5, 5, 64, 3)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))


# Pixel shuffle


def test_pixel_shuffle_is_the_reshape_written_out(rng: np.random.Generator):
    x = rng.random((2, 3, 5, 8), dtype=np.float32)
    expected = np.empty((2, 6, 10, 2), np.float32)
    for y in range(6):
        for column in range(10):
            group = 2 * (y % 2) + column % 2
            for k in range(2):
                expected[:, y, column, k] = x[:, y // 2, column // 2, 2 * group + k]
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x)), expected)


def test_pixel_shuffle_names_channels_that_do_not_divide():
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 6)))


# Parameters


def test_init_depends_on_the_key_alone(fresh: Network):
    for leaf, same in zip(
        jax.tree.leaves(fresh),
        jax.tree.leaves(INIT(jax.random.key(0))),
        strict=True,
    ):
        np.testing.assert_array_equal(leaf, same)
    other = INIT(jax.random.key(1))
    for kernel, changed in zip(
        jax.tree.leaves(fresh), jax.tree.leaves(other), strict=True
    ):
        if kernel.ndim > 1:
            assert not np.any(np.asarray(kernel) == changed)


def test_both_decoders_are_drawn_apart(fresh: Network):
    kernels = [own["output"]["kernel"] for own in fresh.decoders.values()]
    correlation = np.corrcoef([np.ravel(kernel) for kernel in kernels])[0, 1]
    # 300 independent numbers: standard error 0.06.
    assert abs(correlation) < 0.3


def test_biases_are_zero_and_kernels_keep_the_signals_size(fresh: Network):
    for leaf in jax.tree.leaves(fresh):
        if leaf.ndim == 1:
            np.testing.assert_array_equal(leaf, 0)
            continue
        fan_in = np.prod(leaf.shape[:-1])
        fan_out = np.prod(leaf.shape[:-2]) * leaf.shape[-1]
        # Glorot's variance, 2 / (in + out); the smallest kernel has 300 numbers, whose
        # deviation is known to 3 % (uniform: 0.45 / sqrt(n)).
        expected = np.sqrt(2 / (fan_in + fan_out))
        assert np.std(leaf) == pytest.approx(expected, rel=0.12)
        assert np.abs(np.asarray(leaf)).max() <= np.sqrt(3) * expected * (1 + 1e-6)


# Forward and backward


def test_shapes_types_and_range(params: Network, inputs: jax.Array):
    for precision in ("float32", "bfloat16"):
        model = make_model(precision=precision)
        code = jax.eval_shape(model.encode, params, inputs)
        assert code.shape == (2, 8, 8, 4 * WIDTH)
        assert code.dtype == jnp.dtype(precision)
        for output in reconstruct(precision)(params, inputs):
            assert output.shape == inputs.shape
            assert output.dtype == jnp.float32  # whatever the network's arithmetic
            assert 0 <= float(output.min()) < float(output.max()) <= 1


def test_the_two_sides_draw_different_faces(params: Network, inputs: jax.Array):
    output_a, output_b = reconstruct()(params, inputs)
    assert float(jnp.abs(output_a - output_b).mean()) > 1e-3


def test_faces_of_a_batch_do_not_mix(params: Network, inputs: jax.Array):
    whole = np.asarray(reconstruct()(params, inputs)[0])
    changed = np.asarray(reconstruct()(params, inputs.at[1].set(0.5))[0])
    np.testing.assert_array_equal(whole[0], changed[0])
    assert np.any(whole[1] != changed[1])


def test_as_loss_gives_exactly_zero_for_decoder_b(params: Network, inputs: jax.Array):
    model = make_model()

    def loss(params: Network) -> jax.Array:
        output = model.decode(params, model.encode(params, inputs), "a")
        return jnp.mean(jnp.abs(output - inputs))

    grads = quick_jit(jax.grad(loss))(params)
    for leaf in jax.tree.leaves(grads.decoders["b"]):
        np.testing.assert_array_equal(leaf, 0)
    for part in (grads.encoder, grads.decoders["a"]):
        for leaf in jax.tree.leaves(part):
            assert np.all(np.isfinite(leaf)) and np.any(np.asarray(leaf) != 0)
            assert leaf.dtype == jnp.float32


def test_bfloat16_is_close_to_float32(params: Network, inputs: jax.Array):
    exact = np.asarray(reconstruct()(params, inputs)[0])
    rough = np.asarray(reconstruct("bfloat16")(params, inputs)[0])
    # bfloat16 keeps 8 bits: each of eleven layers rounds operands and result by up
    # to 0.4 %, independently, so about 1 % of the outputs' spread in the mean.
    spread = float(exact.std())
    assert spread > 0.02, "flat outputs would agree anyway"
    difference = np.abs(exact - rough)
    assert difference.mean() < 0.03 * spread
    assert difference.max() < 0.25 * spread
    assert difference.max() > 0  # or nothing was computed in bfloat16


def test_decode_names_a_wrong_side(unchecked: None, params: Network):
    code = jnp.zeros((1, 8, 8, 4 * WIDTH))
    with pytest.raises(ValueError, match='side must be "a" or "b", got \'c\''):
        make_model().decode(params, code, cast(Any, "c"))


# Codes of two people


@pytest.fixture(scope="module")
def aligned() -> SwapParams:
    rng = np.random.default_rng(5)
    model = make_model(name="lite", align_codes=True)
    statistics: dict[Side, CodeStatistics] = {
        side: CodeStatistics(
            mean=jnp.asarray(rng.normal(size=2 * WIDTH), jnp.float32),
            variance=jnp.asarray(rng.uniform(0.5, 2, 2 * WIDTH), jnp.float32),
        )
        for side in SIDES
    }
    return SwapParams(quick_jit(model.init)(jax.random.key(0)), statistics)


def test_only_a_swap_moves_codes(aligned: SwapParams, inputs: jax.Array):
    model, network = make_model(name="lite", align_codes=True), aligned.network
    vectors = model.compress(network, inputs)
    plain = model.widen(network, vectors)
    assert plain.shape == (2, 8, 8, 4 * WIDTH)
    np.testing.assert_allclose(model.encode(network, inputs), plain, atol=1e-6)
    moved = move_codes(vectors, aligned.statistics["a"], aligned.statistics["b"])
    expected = model.widen(network, moved)
    found = encode_swap(model, aligned, inputs, source="a", to="b")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert float(jnp.abs(found - plain).max()) > 0.1
    for code, source in ((plain, "b"), (expected, "a")):
        drawn = swap_faces(model, aligned, inputs, to="b", source=cast(Side, source))
        own = model.decode(network, code, "b")
        np.testing.assert_allclose(drawn, own, atol=1e-6)


def test_lite_draws_faces_of_its_inputs_size(aligned: SwapParams, inputs: jax.Array):
    for precision in ("float32", "bfloat16"):
        model = make_model(name="lite", align_codes=True, precision=precision)
        code = encode_swap(model, aligned, inputs, source="b", to="a")
        assert code.dtype == jnp.dtype(precision)
        output = model.decode(aligned.network, code, "a")
        assert output.shape == inputs.shape and output.dtype == jnp.float32
        assert 0 <= float(output.min()) < float(output.max()) <= 1
