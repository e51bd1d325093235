"""Our own kernels agree with XLA's convolutions in float32, and with themselves."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jaxtyping import Array

from deepfake_jax.kernels.library import RECIPES, find_kernels
from deepfake_jax.models.conv import (
    Dense,
    Layer,
    _conv_plain,
    conv_layer,
    dense_layer,
)
from deepfake_jax.models.conv_blocks import pixel_shuffle
from deepfake_jax.models.conv_direct import conv_xla
from deepfake_jax.models.conv_kernels import How, conv_kernels
from deepfake_jax.processor import read_processor

NEEDED = {
    "bfloat16": "no kernels: a processor with avx512_bf16 and a C++ compiler needed",
    "float32": "no kernels: a processor with AVX2 and a C++ compiler needed",
}
needs_kernels = {
    dtype: pytest.mark.skipif(find_kernels(dtype) is None, reason=reason)
    for dtype, reason in NEEDED.items()
}
both_types = pytest.mark.parametrize(
    "dtype", [pytest.param(dtype, marks=needs_kernels[dtype]) for dtype in NEEDED]
)
# Relative rms: one rounding to eight bits has 2^-8 / sqrt(12) of a power of two, on
# average 1.7e-3 of the number; sums of rounded numbers have less.
ROUNDED, SUMMED = 2e-3, 1e-3
# Without AMX layers are filtered: transforms are rounded, too.
FILTERED = 6e-3

# Shape of the pictures, outputs, window, layer: tiles that are full and that are not,
# several pictures side by side, many parts, pictures larger than a part.
CASES = [
    ((2, 32, 32, 64), 128, 3, Layer(leak=0.1, block=2)),
    ((3, 8, 8, 32), 64, 3, Layer()),
    ((5, 7, 9, 3), 12, 5, Layer(stride=2, leak=0.2, block=2)),
    ((16, 4, 4, 64), 64, 3, Layer(leak=0.1)),
    ((16, 4, 4, 64), 64, 3, Layer(leak=0.0)),
    ((33, 8, 8, 32), 32, 5, Layer(stride=2, leak=0.1)),
    ((1, 5, 6, 33), 17, 3, Layer(stride=2)),
    ((7, 16, 16, 12), 64, 3, Layer(leak=0.1, block=4)),
    ((4, 6, 5, 40), 12, 5, Layer(block=2)),
    ((2, 9, 9, 48), 3, 5, Layer()),
    ((1, 1, 1, 3), 3, 3, Layer(stride=2)),
    ((2, 4, 4, 5), 6, 2, Layer(stride=3)),
    ((1, 128, 128, 32), 32, 3, Layer(leak=0.1)),
    ((2, 48, 48, 256), 64, 3, Layer(stride=2, leak=0.1)),
    ((1, 96, 96, 128), 16, 5, Layer(stride=2)),
    ((130, 4, 4, 20), 36, 3, Layer(leak=0.1)),
    ((70, 8, 8, 256), 256, 3, Layer()),
    ((32, 1, 1, 70), 50, 1, Layer()),
    ((64, 1, 1, 1024), 2048, 1, Layer()),
    # Filtered where there are no tiles: odd sides, an odd number of tiles, blocks of
    # pixels read and written, panels that are not full.
    ((9, 11, 7, 48), 64, 3, Layer(leak=0.1, block=2)),
    ((1, 23, 25, 16), 48, 3, Layer()),
    ((6, 24, 20, 24), 64, 5, Layer(stride=2, leak=0.1, block=2)),
    ((4, 32, 32, 8), 16, 5, Layer(stride=2, leak=0.1)),
]


def draw(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers that bfloat16 has."""
    numbers = jnp.asarray(rng.standard_normal(shape, np.float32))
    return numbers.astype(jnp.bfloat16).astype(jnp.float32)


def has_tiles() -> bool:
    return RECIPES["bfloat16"][0].needed <= read_processor()


def differ(got: Array, expected: Array) -> float:
    got = got.astype(jnp.float32)
    scale = jnp.sqrt(jnp.mean(expected**2)) + 1e-30
    return float(jnp.sqrt(jnp.mean((got - expected) ** 2)) / scale)


# The same of float32, whose channels fill vectors: filtered, and by the definition.
FLOAT_CASES = [
    ((2, 32, 32, 64), 128, 3, Layer(leak=0.1, block=2)),
    ((3, 8, 8, 32), 64, 3, Layer()),
    ((16, 4, 4, 64), 192, 3, Layer(leak=0.1, block=2)),
    ((33, 4, 4, 16), 16, 3, Layer()),
    ((5, 7, 9, 48), 48, 3, Layer(leak=0.2)),
    ((1, 3, 18, 112), 80, 3, Layer(leak=0.1)),
    ((7, 16, 16, 64), 64, 3, Layer(leak=0.1, block=4)),
    ((1, 128, 128, 32), 32, 3, Layer(leak=0.1)),
    ((16, 4, 4, 256), 768, 3, Layer(leak=0.1, block=2)),
    ((4, 32, 32, 64), 128, 3, Layer(stride=2, leak=0.1)),
    ((3, 7, 9, 16), 48, 3, Layer(stride=2)),
    ((2, 9, 6, 32), 16, 5, Layer(leak=0.1)),
    ((2, 8, 8, 16), 64, 5, Layer(stride=2, leak=0.2, block=2)),
    ((3, 12, 10, 24), 48, 5, Layer(stride=2, leak=0.1)),
    ((1, 11, 11, 16), 32, 3, Layer(stride=3)),
    ((1, 2, 2, 16), 16, 1, Layer(stride=2)),
]


@needs_kernels["float32"]
@pytest.mark.parametrize(("shape", "outputs", "window", "layer"), FLOAT_CASES)
def test_values_and_gradients_of_float32_are_those_of_xla(
    shape: tuple[int, ...], outputs: int, window: int, layer: Layer
):
    rng = np.random.default_rng(0)
    kernel = draw(rng, window, window, shape[-1], outputs)
    x, bias = draw(rng, *shape), draw(rng, outputs)
    kernels = find_kernels("float32")
    assert kernels is not None
    how = How(layer, kernels, _conv_plain)
    y, pull = jax.vjp(lambda *a: conv_kernels(*a, how), x, kernel, bias)

    def define(x: Array, kernel: Array, bias: Array) -> Array:
        y = conv_xla(x, kernel, layer.stride) + bias[None, None, None]
        y = y if layer.leak is None else nn.leaky_relu(y, layer.leak)
        return pixel_shuffle(y, block=layer.block)

    expected, pull_plain = jax.vjp(define, x, kernel, bias)
    assert y.shape == expected.shape
    # Transforms have weights up to 8, as in `conv_winograd`.
    assert differ(y, expected) < 1e-5
    # Where a sum is nearly zero its sign, and so the slope, may differ.
    sure = jnp.abs(expected) > 1e-3 * float(jnp.abs(expected).max())
    dy = jnp.where(sure, draw(rng, *y.shape), 0)
    for a, b in zip(pull(dy), pull_plain(dy), strict=True):
        assert a.shape == b.shape
        assert differ(a, b) < 2e-5


@needs_kernels["float32"]
@pytest.mark.parametrize(
    ("shape", "outputs", "window", "layer", "taken"),
    [
        ((8, 8, 8, 16), 16, 3, Layer(), True),
        ((32, 8, 8, 16), 32, 3, Layer(stride=2), True),
        ((32, 16, 16, 8), 16, 5, Layer(stride=2), True),  # as 3x3 over blocks
        ((32, 16, 16, 4), 16, 5, Layer(stride=2), False),
        ((7, 8, 8, 16), 16, 3, Layer(), False),  # too few places
        ((8, 8, 8, 12), 16, 3, Layer(), False),  # vectors that are not filled
        ((8, 8, 8, 16), 16, 3, Layer(block=2), False),
        ((8, 8, 8, 16), 16, 5, Layer(), False),
    ],
)
def test_layers_of_float32_take_them_where_they_pay(
    shape: tuple[int, ...], outputs: int, window: int, layer: Layer, taken: bool
):
    rng = np.random.default_rng(0)
    x, bias = draw(rng, *shape), draw(rng, outputs)
    kernel = draw(rng, window, window, shape[-1], outputs)
    run = jax.jit(lambda x, k: conv_layer(x, k, bias, layer))
    assert ("deepfake_jax_value" in run.lower(x, kernel).as_text()) == taken
    plain = _conv_plain(x, kernel, bias, layer)
    assert differ(run(x, kernel), plain) < 1e-5


@needs_kernels["bfloat16"]
@pytest.mark.parametrize(("shape", "outputs", "window", "layer"), CASES)
def test_values_and_gradients_are_those_of_float32(
    shape: tuple[int, ...], outputs: int, window: int, layer: Layer
):
    rng = np.random.default_rng(0)
    x, bias = draw(rng, *shape), draw(rng, outputs)
    kernel = draw(rng, window, window, shape[-1], outputs)

    def run(x: Array, kernel: Array, bias: Array) -> Array:
        return conv_layer(x, kernel, bias, layer, dtype=jnp.bfloat16)

    y, pull = jax.vjp(run, x, kernel, bias)

    def define(x: Array, kernel: Array, bias: Array) -> Array:
        y = conv_xla(x, kernel, layer.stride)
        y = y + jnp.broadcast_to(bias, y.shape)
        y = y if layer.leak is None else nn.leaky_relu(y, layer.leak)
        return pixel_shuffle(y, block=layer.block)

    expected, pull_plain = jax.vjp(define, x, kernel, bias)
    assert (y.dtype, y.shape) == (jnp.bfloat16, expected.shape)
    filtered = (window, layer.stride) in ((3, 1), (5, 2)) and not has_tiles()
    assert differ(y, expected) < (FILTERED if filtered else ROUNDED)
    # Where a sum is nearly zero its sign, and so the slope, may differ.
    sure = jnp.abs(expected) > 1e-2 * float(jnp.abs(expected).max())
    dy = jnp.where(sure, draw(rng, *y.shape), 0)
    got, wanted = pull(dy.astype(jnp.bfloat16)), pull_plain(dy)
    assert [g.dtype for g in got] == 3 * [jnp.float32]
    bounds = (FILTERED, FILTERED, SUMMED) if filtered else (ROUNDED, SUMMED, SUMMED)
    for name, a, b, most in zip(
        ("dx", "dkernel", "dbias"), got, wanted, bounds, strict=True
    ):
        assert a.shape == b.shape, name
        assert differ(a, b) < most, name


@both_types
def test_nothing_of_earlier_calls_is_read(dtype: str):
    rng = np.random.default_rng(0)
    kernel, bias = draw(rng, 3, 3, 48, 48), draw(rng, 48)

    def run(x: Array) -> list[np.ndarray]:
        y, pull = jax.vjp(
            lambda x, k: conv_layer(x, k, bias, Layer(), dtype=dtype), x, kernel
        )
        return [np.asarray(a.astype(jnp.float32)) for a in (y, *pull(y))]

    x = draw(rng, 15, 5, 7, 48)
    before = run(x)
    for shape in ((9, 16, 16, 48), (2, 33, 31, 48), (15, 5, 7, 48)):
        run(jnp.full(shape, jnp.nan))
    for a, b in zip(before, run(x), strict=True):
        np.testing.assert_array_equal(a, b)


HASHED = """
import hashlib, os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import jax, jax.numpy as jnp, numpy as np
from deepfake_jax.models.conv import Layer, conv_layer
rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))
layer = Layer(leak=0.1, block=2)
run = lambda x, k, b: conv_layer(x, k, b, layer, dtype=sys.argv[2])
y, pull = jax.vjp(run, draw(48, 16, 16, 96), draw(3, 3, 96, 128), draw(128))
digest = hashlib.sha256()
for a in (y, *pull(y)):
    digest.update(np.asarray(a.astype(jnp.float32)).tobytes())
print(digest.hexdigest())
"""


@both_types
def test_the_bits_do_not_depend_on_the_number_of_threads(dtype: str, tmp_path: Path):
    flags = {**os.environ, "XLA_FLAGS": ""}
    printed = {
        subprocess.run(
            (sys.executable, "-c", HASHED, threads, dtype),
            env=flags,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        for threads in ("1", "64")
    }
    assert len(printed) == 1 and len(printed.pop().strip()) == 64


@both_types
def test_it_is_the_same_under_jit_vmap_pmap_and_remat(dtype: str):
    rng = np.random.default_rng(0)
    count = min(2, jax.local_device_count())
    x, bias = draw(rng, count, 8, 8, 8, 16), draw(rng, 64)
    kernel = draw(rng, 3, 3, 16, 64)

    def gradients(x: Array, kernel: Array) -> tuple[Array, Array, Array]:
        def run(x: Array, kernel: Array) -> Array:
            layer = Layer(leak=0.1, block=2)
            return conv_layer(x, kernel, bias, layer, dtype=dtype)

        y, pull = jax.vjp(jax.checkpoint(run), x, kernel)
        return (y, *pull(y))

    parts = zip(*(gradients(part, kernel) for part in x), strict=True)
    eager = [jnp.stack(both) for both in parts]
    kernels = jnp.broadcast_to(kernel, (count, *kernel.shape))
    for run in (
        jax.jit(jax.vmap(gradients)),
        jax.pmap(gradients, devices=jax.local_devices()[:count]),
    ):
        for a, b in zip(run(x, kernels), eager, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@both_types
def test_other_devices_do_not_see_them(dtype: str):
    x, kernel, bias = jnp.ones((8, 8, 8, 16)), jnp.ones((3, 3, 16, 16)), jnp.ones(16)

    def run(x: Array, kernel: Array) -> Array:
        y = conv_layer(x, kernel, bias, Layer(leak=0.1), dtype=dtype)
        return y.astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(run, (0, 1))).trace(x, kernel)
    assert "deepfake_jax_" in traced.lower().as_text()
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert "deepfake_jax_" not in text and "stablehlo.convolution" in text


@both_types
def test_a_program_is_compiled_ahead_and_its_cost_is_told(dtype: str):
    x = jnp.ones((8, 8, 8, 16))

    def run(x: Array) -> Array:
        kernel = jnp.ones((3, 3, 16, 16))
        return conv_layer(x, kernel, jnp.ones((16,)), Layer(), dtype=dtype)

    compiled = jax.jit(run).lower(x).compile()
    assert compiled.cost_analysis() is not None
    np.testing.assert_array_equal(compiled(x), run(x))


@needs_kernels["bfloat16"]
def test_no_pictures_give_no_pictures():
    y = conv_layer(
        jnp.zeros((0, 8, 8, 4)),
        jnp.ones((3, 3, 4, 8)),
        jnp.ones((8,)),
        Layer(),
        dtype=jnp.bfloat16,
    )
    assert y.shape == (0, 8, 8, 8)


@needs_kernels["bfloat16"]
def test_dense_layers_use_them():
    rng = np.random.default_rng(0)
    x, kernel, bias = draw(rng, 6, 70), draw(rng, 70, 33), draw(rng, 33)
    y = dense_layer(x, kernel, bias, dtype=jnp.bfloat16)
    assert differ(y, x @ kernel + bias[None]) < ROUNDED
    layer: Any = Dense(33, dtype=jnp.bfloat16)
    text = jax.jit(layer.apply).lower(layer.init(jax.random.key(0), x), x).as_text()
    assert "deepfake_jax_value" in text
