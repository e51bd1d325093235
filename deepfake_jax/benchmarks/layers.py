"""Every form of every convolution of a network, timed: what the choice stands on.

`models.conv.choose_form` and `models.winograd.choose_tiling` choose by such a table,
where there are no kernels of our own.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.benchmarks.report import format_rows
from deepfake_jax.models import conv as convolutions
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.conv import Conv, Form, choose_form, choose_kernels, conv
from deepfake_jax.models.conv_blocks import (
    block_kernel,
    conv_blocks,
    conv_blocks_xla,
    to_blocks,
)
from deepfake_jax.models.conv_direct import conv_patches, conv_xla
from deepfake_jax.models.conv_winograd import (
    Tiling,
    choose_tiling,
    multiplies_bfloat16,
    winograd,
)
from deepfake_jax.train_config import TrainConfig


@dataclass(frozen=True)
class Layer:
    """A convolution as a training step runs it.

    Attributes:
        name: its place in the network.
        x_shape: of the pictures, NHWC.
        kernel_shape: HWIO.
        stride: of the window.
    """

    name: str
    x_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    stride: int

    def __str__(self) -> str:
        n, h, _, cin = self.x_shape
        window, cout = self.kernel_shape[0], self.kernel_shape[3]
        return f"{self.name}: {n} x {h}x{h}x{cin} -> {cout}, {window}/{self.stride}"


@dataclass(frozen=True)
class LayersResult:
    """What `measure_layers` found.

    Attributes:
        milliseconds: by layer and form: value, then both gradients; the best of the
            repeats.
        chosen: by layer, the form that runs.
        precision: of operands and results.
        repeats: of each.
        machine: where.
    """

    milliseconds: dict[str, dict[str, tuple[float, float]]]
    chosen: dict[str, str]
    precision: str
    repeats: int
    machine: Machine


def list_layers(config: TrainConfig) -> list[Layer]:
    """The convolutions of one training step, A's and B's pictures in the encoder."""
    model, n = make_autoencoder(config.model), config.batch_size
    layers: list[Layer] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        output = call(*args, **kwargs)
        if isinstance(module, Conv) and context.method_name == "__call__":
            kernel = jnp.shape(module.get_variable("params", "kernel"))
            name = ".".join(module.path)
            shape = args[0].shape
            layers.append(Layer(f"{part} {name}", shape, kernel, module.stride))
        return output

    shapes = model.shapes()
    faces = jax.ShapeDtypeStruct(
        (2 * n, model.crop_size, model.crop_size, 3), "float32"
    )
    with nn.intercept_methods(note):
        part = "encoder"
        code = jax.eval_shape(model.encode, shapes, faces)
        part = "decoder"
        half = jax.ShapeDtypeStruct((n, *code.shape[1:]), code.dtype)
        jax.eval_shape(lambda params, x: model.decode(params, x, "a"), shapes, half)
    return layers


def list_forms(layer: Layer) -> dict[str, Form]:
    """The forms that can compute a layer, by name."""
    forms: dict[str, Form] = {"xla": conv_xla, "patches": conv_patches}
    _, h, w, cin = layer.x_shape
    window = layer.kernel_shape[0]
    even = h % 2 == 0 and w % 2 == 0
    if window == 5 and even:
        forms["blocks by xla"] = conv_blocks_xla
    if window == 5 and even and min(cin, layer.kernel_shape[3]) <= 4:
        forms["blocks"] = conv_blocks
    elif (window, layer.stride) == (3, 1) or (
        (window, layer.stride) == (5, 2) and even
    ):
        forms["winograd 2x2"] = _tiled(Tiling(2, jnp.float32))
        forms["winograd 4x4"] = _tiled(Tiling(4, jnp.float32))
        forms["winograd 2x2 bfloat16"] = _tiled(Tiling(2, jnp.bfloat16))
    return forms


def list_all_forms(layer: Layer, precision: str) -> dict[str, Form]:
    """Those and, where the network takes them on this machine, our own kernels."""
    way = convolutions.Layer(layer.stride)
    shapes = layer.x_shape, layer.kernel_shape
    if choose_kernels(*shapes, way, dtype=precision) is None:
        return list_forms(layer)
    return {**list_forms(layer), "kernels": _by_kernels}


def _by_kernels(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return conv(x, kernel, stride=stride, dtype=x.dtype)


def _tiled(tiling: Tiling) -> Form:
    def form(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        dtype = x.dtype
        if stride == 2:
            x, kernel = to_blocks(x), block_kernel(kernel, 1, 1)
        y = winograd(x.astype(jnp.float32), kernel.astype(jnp.float32), tiling)
        return y.astype(dtype)

    return form


def name_chosen(layer: Layer, platform: str, precision: str) -> str:
    """The name of the form that the network uses on a platform without kernels."""
    form = choose_form(platform, layer.x_shape, layer.kernel_shape, layer.stride)
    for name, other in list_forms(layer).items():
        if other is form:
            return name
    n, h, w, c = layer.x_shape
    shape = (n, h // layer.stride, w // layer.stride, c)
    tiling = choose_tiling(shape, jnp.dtype(precision), bfloat16=multiplies_bfloat16())
    rounded = " bfloat16" if tiling.dtype == jnp.bfloat16 else ""
    return f"winograd {tiling.outputs}x{tiling.outputs}{rounded}"


def measure_layers(config: TrainConfig, *, repeats: int = 5) -> LayersResult:
    """Times value and gradients of every layer in every form, one after another.

    Args:
        config: the network, its precision and the batch size.
        repeats: of each; the best counts, as it depends least on other programs.
    """
    precision, platform = config.model.precision, jax.default_backend()
    milliseconds: dict[str, dict[str, tuple[float, float]]] = {}
    chosen = {}
    for layer in list_layers(config):
        forms = list_all_forms(layer, precision)
        chosen[str(layer)] = (
            "kernels" if "kernels" in forms else name_chosen(layer, platform, precision)
        )
        times = milliseconds[str(layer)] = {}
        for name, form in forms.items():
            if "bfloat16" in name and precision != "bfloat16":
                continue
            times[name] = time_form(layer, form, precision, repeats)
            value, gradients = times[name]
            mark = " (chosen)" if name == chosen[str(layer)] else ""
            text = f"{layer}: {name} {value:.1f} + {gradients:.1f} ms{mark}"
            print(text, file=sys.stderr)
    return LayersResult(milliseconds, chosen, precision, repeats, describe_machine())


def time_form(
    layer: Layer, form: Form, precision: str, repeats: int
) -> tuple[float, float]:
    """Milliseconds for a layer's value, and for both its gradients."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32), precision)

    x, kernel = draw(layer.x_shape), draw(layer.kernel_shape)

    def value(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return form(x, kernel, layer.stride)

    def gradients(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Any:
        return jax.vjp(value, x, kernel)[1](dy)

    dy = draw(jax.eval_shape(value, x, kernel).shape)
    return (
        _best_ms(jax.jit(value), x, kernel, repeats=repeats),
        _best_ms(jax.jit(gradients), x, kernel, dy, repeats=repeats),
    )


def _best_ms(function: Callable[..., Any], *operands: Any, repeats: int) -> float:
    jax.block_until_ready(function(*operands))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*operands))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def format_layers(result: LayersResult) -> str:
    """A line a layer: milliseconds of value + gradients, `*` at the form that runs."""
    rows = []
    for layer, times in result.milliseconds.items():
        cells = [
            f"{name}{'*' if name == result.chosen[layer] else ''} "
            f"{value:.1f} + {gradients:.1f}"
            for name, (value, gradients) in times.items()
        ]
        rows.append((layer, "   ".join(cells)))
    machine = result.machine
    rows.append(("device", f"{machine.device}, {machine.cores} cores"))
    rows.append(("commit", machine.commit or "-"))
    return format_rows(rows)
