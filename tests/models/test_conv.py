"""The forms of a convolution agree with `lax.conv_general_dilated`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jaxtyping import Array

from deepfake_jax.models.conv import (
    Conv,
    Dense,
    Form,
    choose_form,
    conv,
    dense_layer,
)
from deepfake_jax.models.conv_blocks import conv_blocks, conv_blocks_xla, conv_phases
from deepfake_jax.models.conv_direct import conv_patches, conv_xla
from deepfake_jax.models.conv_winograd import (
    Tiling,
    choose_tiling,
    conv_winograd,
    multiplies_bfloat16,
    winograd,
)

# Height, input channels, window, output channels, stride of every convolution of the
# quarter-width network. The full one has four times the channels.
LAYERS = [
    (64, 3, 5, 32, 2),
    (32, 32, 5, 64, 2),
    (16, 64, 5, 128, 2),
    (8, 128, 5, 256, 2),
    (4, 256, 3, 512, 1),
    (8, 128, 3, 256, 1),
    (16, 64, 3, 128, 1),
    (32, 32, 3, 64, 1),
    (64, 16, 5, 3, 1),
]
# Sums of up to 1600 products in another order differ by about sqrt(1600) / 4 float32
# roundings (6e-8 each) of the largest value; the transforms for four outputs an axis
# have weights up to 8, which costs ten times that.
FLOAT32 = 5e-6
WINOGRAD = 2e-5
# One rounding of the result to eight bits, half a unit in the last: sums are float32.
BFLOAT16 = 2.0**-8

Results = tuple[Array, Array, Array]


def draw(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def value_and_gradients(
    form: Callable[[Array, Array], Array], x: Array, kernel: Array
) -> Results:
    """Return the value and the gradients for a fixed, random `dy`."""

    def run(x: Array, kernel: Array, dy: Array) -> Results:
        y, pull = jax.vjp(form, x, kernel)
        return (y, *pull(dy))

    shape = jax.eval_shape(form, x, kernel)
    # Rounded for both types, so that they can be compared.
    dy = draw(np.random.default_rng(1), shape.shape).astype(jnp.bfloat16)
    dy = dy.astype(shape.dtype)
    # Half the compilation time; the arithmetic is the same.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(run, compiler_options=options)(x, kernel, dy)


def assert_near(got: Results, expected: Results, tolerance: float) -> None:
    for name, a, b in zip(("y", "dx", "dkernel"), got, expected, strict=True):
        assert a.shape == b.shape, name
        scale = np.abs(b).max()
        np.testing.assert_allclose(a / scale, b / scale, 0, tolerance, err_msg=name)


def layer_operands(
    h: int, w: int, cin: int, window: int, cout: int, n: int
) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x, kernel = draw(rng, (n, h, w, cin)), draw(rng, (window, window, cin, cout))
    return x, kernel


@pytest.mark.parametrize(("h", "cin", "window", "cout", "stride"), LAYERS)
def test_layer_has_values_and_gradients_of_xla(
    h: int, cin: int, window: int, cout: int, stride: int
) -> None:
    form = choose_form("cpu", (64, h, h, cin), (window, window, cin, cout), stride)
    assert form not in (conv_patches, conv_xla)
    # A quarter of the channels: the sums are shorter, the forms are the same.
    cin, cout = max(cin // 4, 3), max(cout // 4, 3)
    x, kernel = layer_operands(h, h, cin, window, cout, n=1)
    expected = value_and_gradients(lambda x, k: conv_xla(x, k, stride), x, kernel)
    got = value_and_gradients(lambda x, k: form(x, k, stride), x, kernel)
    assert_near(got, expected, WINOGRAD)


@pytest.mark.parametrize(
    ("form", "h", "w", "window", "stride"),
    [
        (conv_patches, 9, 12, 3, 1),
        (conv_patches, 9, 12, 5, 2),
        (conv_patches, 8, 7, 4, 3),
        (conv_patches, 2, 3, 5, 2),
        (conv_winograd, 9, 6, 3, 1),
        (conv_winograd, 1, 2, 3, 1),
        (conv_phases, 10, 6, 5, 2),
        (conv_blocks, 10, 6, 5, 2),
        (conv_blocks, 6, 10, 5, 1),
        (conv_blocks_xla, 10, 6, 5, 2),
        (conv_blocks_xla, 6, 10, 5, 1),
    ],
)
def test_form_has_values_and_gradients_of_xla(
    form: Form, h: int, w: int, window: int, stride: int
) -> None:
    x, kernel = layer_operands(h, w, 3, window, 5, n=2)
    expected = value_and_gradients(lambda x, k: conv_xla(x, k, stride), x, kernel)
    got = value_and_gradients(lambda x, k: form(x, k, stride), x, kernel)
    assert_near(got, expected, FLOAT32)


def test_layers_that_cudnn_is_slow_at_run_over_blocks_on_a_gpu() -> None:
    shapes = [((64, h, h, cin), (w, w, cin, cout), s) for h, cin, w, cout, s in LAYERS]
    chosen = [choose_form("cuda", *shape) for shape in shapes]
    blocks = [i for i, form in enumerate(chosen) if form is conv_blocks_xla]
    assert blocks == [0, 3, 8]  # the first, that of 8 x 8 pixels, and the last
    assert all(chosen[i] is conv_xla for i in range(len(LAYERS)) if i not in blocks)


def test_a_gpu_lays_gradients_of_kernels_out_before_the_update() -> None:
    x, kernel = layer_operands(8, 8, 6, 3, 7, n=2)
    gradient = jax.jit(jax.grad(lambda kernel, x: conv(x, kernel).sum()))
    traced = gradient.trace(kernel, x)
    on = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "cpu")}
    assert "optimization_barrier" in on["cuda"]
    assert "optimization_barrier" not in on["cpu"]


@pytest.mark.parametrize(("h", "w"), [(17, 16), (9, 6), (3, 1)])
@pytest.mark.parametrize(("outputs", "tolerance"), [(2, FLOAT32), (4, WINOGRAD)])
def test_tilings_have_values_and_gradients_of_xla(
    outputs: int, tolerance: float, h: int, w: int
) -> None:
    x, kernel = layer_operands(h, w, 3, 3, 5, n=2)
    tiling = Tiling(outputs, jnp.float32)
    expected = value_and_gradients(lambda x, k: conv_xla(x, k, 1), x, kernel)
    got = value_and_gradients(lambda x, k: winograd(x, k, tiling), x, kernel)
    assert_near(got, expected, tolerance)


def test_bfloat16_products_of_transforms_are_nearly_those_of_pixels() -> None:
    x, kernel = layer_operands(12, 12, 64, 3, 64, n=2)
    tiling = Tiling(2, jnp.bfloat16)
    exact = value_and_gradients(lambda x, k: conv_xla(x, k, 1), x, kernel)
    got = value_and_gradients(lambda x, k: winograd(x, k, tiling), x, kernel)
    errors = [
        float(jnp.sqrt(jnp.mean((a - b) ** 2) / jnp.mean(b**2)))
        for a, b in zip(got, exact, strict=True)
    ]
    # Two operands rounded to eight bits: 2.3e-3. The transforms are rounded instead;
    # sums of four of them have twice the error.
    assert all(1e-3 < error < 2 * 2.3e-3 for error in errors[:2])
    assert errors[2] < FLOAT32  # the kernel's gradient is not rounded


@pytest.mark.parametrize(
    ("shape", "dtype", "native", "expected"),
    [
        ((64, 8, 8, 512), jnp.float32, True, Tiling(4, jnp.float32)),
        ((64, 8, 8, 512), jnp.bfloat16, False, Tiling(4, jnp.float32)),
        ((64, 8, 8, 512), jnp.bfloat16, True, Tiling(2, jnp.bfloat16)),
        ((16, 8, 8, 512), jnp.float32, False, Tiling(2, jnp.float32)),
        ((1, 64, 64, 512), jnp.float32, False, Tiling(4, jnp.float32)),
        ((512, 4, 4, 512), jnp.float32, False, Tiling(2, jnp.float32)),
    ],
)
def test_tiling_by_number_of_tiles_and_type(
    shape: tuple[int, ...], dtype: Any, native: bool, expected: Tiling
) -> None:
    assert choose_tiling(shape, dtype, bfloat16=native) == expected


@pytest.mark.parametrize(
    ("form", "window", "stride"),
    [
        (conv_patches, 3, 1),
        (conv_winograd, 3, 1),
        (conv_phases, 5, 2),
        (conv_blocks, 5, 2),
        (conv_blocks, 5, 1),
    ],
)
def test_bfloat16_rounds_operands_and_result_alone(
    form: Form, window: int, stride: int
) -> None:
    operands = layer_operands(8, 8, 6, window, 7, n=2)
    x, kernel = (operand.astype(jnp.bfloat16) for operand in operands)
    got = value_and_gradients(lambda x, k: form(x, k, stride), x, kernel)
    assert [a.dtype for a in got] == 3 * [jnp.bfloat16]

    wide = [operand.astype(jnp.float32) for operand in (x, kernel)]
    expected = value_and_gradients(lambda x, k: conv_xla(x, k, stride), *wide)
    # A processor with products of bfloat16 also rounds Winograd's transforms.
    transformed = multiplies_bfloat16() and form in (conv_winograd, conv_phases)
    for a, b in zip(got, expected, strict=True):
        atol = (2e-2 if transformed else FLOAT32) * float(jnp.abs(b).max())
        np.testing.assert_allclose(a.astype(jnp.float32), b, BFLOAT16 * 1.01, atol)


def test_conv_is_the_same_under_jit_and_vmap() -> None:
    x, kernel = layer_operands(5, 5, 3, 3, 4, n=6)
    x, kernels = x.reshape(2, 3, 5, 5, 3), jnp.stack([kernel, 2 * kernel])
    eager = conv(x[1], kernels[1])
    scale = float(jnp.abs(eager).max())
    for y in (jax.jit(conv)(x[1], kernels[1]), jax.vmap(conv)(x, kernels)[1]):
        np.testing.assert_allclose(y / scale, eager / scale, 0, FLOAT32)


def test_gradients_of_conv_are_those_of_xla_under_vmap() -> None:
    x, kernel = layer_operands(5, 5, 3, 3, 4, n=6)
    x, kernels = x.reshape(2, 3, 5, 5, 3), jnp.stack([kernel, 2 * kernel])
    expected = value_and_gradients(jax.vmap(lambda x, k: conv_xla(x, k, 1)), x, kernels)
    assert_near(value_and_gradients(jax.vmap(conv), x, kernels), expected, FLOAT32)


def test_winograd_under_vmap() -> None:
    x, kernel = layer_operands(6, 6, 3, 3, 4, n=4)
    x, kernels = x.reshape(2, 2, 6, 6, 3), jnp.stack([kernel, 2 * kernel])

    def pair(form: Form) -> Callable[[Array, Array], Array]:
        return jax.vmap(lambda x, kernel: form(x, kernel, 1))

    expected = value_and_gradients(pair(conv_xla), x, kernels)
    assert_near(value_and_gradients(pair(conv_winograd), x, kernels), expected, FLOAT32)


def test_platform_is_that_of_the_device() -> None:
    x, kernel = layer_operands(8, 8, 3, 3, 4, n=2)
    lowered = jax.jit(conv).trace(x, kernel)
    assert "stablehlo.convolution" not in lowered.lower().as_text()
    for platform in ("cuda", "tpu"):
        text = lowered.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == 1
        assert "dot_general" not in text


def test_shapes_outside_the_table_run_as_patches() -> None:
    assert choose_form("cpu", (64, 9, 9, 8), (5, 5, 8, 8), 2) is conv_patches
    assert choose_form("cpu", (64, 8, 8, 8), (7, 7, 8, 8), 1) is conv_patches
    assert choose_form("cpu", (1, 8, 8, 8), (3, 3, 8, 8), 1) is conv_patches
    assert choose_form("gpu", (64, 8, 8, 8), (3, 3, 8, 8), 1) is conv_xla


def test_conv_refuses_a_transposed_kernel() -> None:
    with pytest.raises(ValueError, match="kernel takes 4 channels"):
        conv(jnp.zeros((1, 8, 8, 3)), jnp.zeros((3, 3, 4, 3)))


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (Conv(4, (5, 5), stride=2), nn.Conv(4, (5, 5), strides=2), (2, 7, 7, 3)),
        (Dense(4), nn.Dense(4), (2, 7)),
        (Dense(4, use_bias=False), nn.Dense(4, use_bias=False), (2, 7)),
    ],
)
def test_modules_share_parameters_with_flax(
    ours: nn.Module, theirs: nn.Module, shape: tuple[int, ...]
) -> None:
    x = draw(np.random.default_rng(0), shape)
    with jax.numpy_rank_promotion("allow"):  # for flax's own bias
        params: Any = jax.jit(theirs.init)(jax.random.key(0), x)
        params = jax.tree.map(lambda leaf: leaf + 0.5, params)
        expected = jax.jit(theirs.apply)(params, x)
    own: Any = jax.eval_shape(ours.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, params)
    got = jax.jit(ours.apply)(params, x)
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), 1e-5, 1e-5)


def test_dense_layer_in_bfloat16_rounds_operands_and_results_alone() -> None:
    rng = np.random.default_rng(0)
    x, kernel = draw(rng, (64, 512)), draw(rng, (512, 32))
    bias = jnp.zeros((32,))
    y, pull = jax.vjp(
        lambda x, k: dense_layer(x, k, bias, dtype=jnp.bfloat16), x, kernel
    )
    dy = draw(rng, y.shape).astype(jnp.bfloat16)
    dx, dkernel = pull(dy)
    assert (dx.dtype, dkernel.dtype) == (jnp.float32, jnp.float32)
    a, b, d = (np.asarray(v.astype(jnp.bfloat16), np.float64) for v in (x, kernel, dy))
    for got, expected in ((y, a @ b), (dx, d @ b.T), (dkernel, a.T @ d)):
        got = np.asarray(got.astype(jnp.float32))
        np.testing.assert_allclose(got, expected, BFLOAT16 * 1.01, 1e-4)
