"""The training step alone, on random faces that lie on the device."""

import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from deepfake_jax.benchmarks.machine import (
    Machine,
    describe_machine,
    device_peak_memory_mb,
    peak_memory_mb,
    peak_tflops,
)
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.train_config import ModelConfig, TrainConfig
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.devices import find_devices
from deepfake_jax.training.host_memory import keep_freed_memory
from deepfake_jax.training.occluders import draw_occluders
from deepfake_jax.training.state import SHAPE_NUMBERS, TrainState, init_state
from deepfake_jax.training.step import Step
from deepfake_jax.types import SIDES, Crops


@dataclass(frozen=True)
class StepResult:
    """What `measure_step` found.

    Attributes:
        images_per_second: faces of both sides, at the median step.
        step_ms: median time of a step.
        step_ms_min: the shortest.
        step_ms_max: the longest.
        compile_seconds: to trace and compile; little where a cache had it.
        compilation_cache: JAX's cache folder, None if there is none.
        tflops: the plain network's operations, 10^12 a second, over all devices.
        tflop_per_step: the plain network's operations of one step, 10^12.
        matmul_tflops: measured rate of a large matrix product of that precision with
            float32 sums, over one device.
        share_of_matmul: `tflops` of a device to `matmul_tflops`.
        peak_tflops: the device's data-sheet rate, None if unknown.
        share_of_peak: `tflops` of a device to `peak_tflops`.
        peak_memory_mb: of the process, 10^6 bytes.
        device_peak_memory_mb: of a device's allocator, None where it says none.
        precision: of the network's arithmetic.
        width: of the network.
        batch_size: faces of each side, over all devices.
        devices: used.
        steps: timed.
        machine: where.
    """

    images_per_second: float
    step_ms: float
    step_ms_min: float
    step_ms_max: float
    compile_seconds: float
    compilation_cache: str | None
    tflops: float
    tflop_per_step: float
    matmul_tflops: float
    share_of_matmul: float
    peak_tflops: float | None
    share_of_peak: float | None
    peak_memory_mb: float
    device_peak_memory_mb: float | None
    precision: str
    width: int
    batch_size: int
    devices: int
    steps: int
    machine: Machine


class StepRunner:
    """A state, a batch on the device and a compiled step, ready to be timed.

    Attributes:
        state: after the updates so far.
        first_seconds: to trace and compile the step, and to do it once.
    """

    def __init__(self, config: TrainConfig, *, devices: int = 1):
        """Compiles, and does one step.

        Raises:
            ConfigError: fewer devices than asked for, or a batch that they cannot share
                evenly.
        """
        self.config, self.devices = config, devices
        place = find_devices(devices)
        keep_freed_memory(config.model)
        place.rows(config.batch_size)
        state: Any = init_state(jax.random.key(config.seed), config)
        batch = place.put_batches([draw_batch(config)])
        state, step = place.put_state(state), place.make_step()
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        self.first_seconds = time.perf_counter() - start
        self.state: TrainState = state
        self._step: Step = step
        self._batch = batch

    def run(self, steps: int) -> list[float]:
        """Does `steps` updates, and gives the seconds of each.

        As in `train`, the device always has the next step queued, so a step's time is
        from the end of the one before to its own.
        """
        # One step more, untimed, fills the queue.
        times, last, previous = [], 0.0, None
        for _ in range(steps + 1):
            self.state, metrics = self._step(self.state, self._batch)
            if previous is not None:
                jax.block_until_ready(previous)
                now = time.perf_counter()
                times.append(now - last)
                last = now
            else:
                last = time.perf_counter()
            previous = metrics
        jax.block_until_ready(previous)
        times.append(time.perf_counter() - last)
        return times[1:]


def draw_batch(config: TrainConfig) -> Batch:
    """Random uint8 faces with a face's spread of values, smooth in places, seeded.

    With random shapes where the config has the network learn them, and occluders.
    """
    rng, model = np.random.default_rng(0), make_autoencoder(config.model)
    places = model.crop_size // 8
    shape = (config.batch_size, places, places, 3)

    def draw() -> Crops:
        coarse = rng.normal(110, 50, shape).repeat(8, axis=1).repeat(8, axis=2)
        fine = rng.normal(0, 10, coarse.shape)
        return np.clip(coarse + fine, 0, 255).astype(np.uint8)

    pairs: Batch = {side: Pair(draw(), draw()) for side in SIDES}
    if share := config.augment.occluders:
        occluder = draw_occluders(rng, config.batch_size, share=share)
        pairs = {s: replace(pair, occluder=occluder) for s, pair in pairs.items()}
    if not (config.loss.shape_weight and model.align_codes):
        return pairs
    shapes = rng.normal(0, 0.02, (config.batch_size, SHAPE_NUMBERS)).astype(np.float32)
    return {side: replace(pair, shape=shapes) for side, pair in pairs.items()}


def measure_step(
    config: TrainConfig, *, steps: int = 10, warmup: int = 2, devices: int = 1
) -> StepResult:
    """Times the step of a config.

    Args:
        config: network, loss, optimizer and batch size.
        steps: timed.
        warmup: before them, not timed.
        devices: jit on one, pmap on more.

    Raises:
        ConfigError: fewer devices than asked for, or a batch that they cannot share.
    """
    runner = StepRunner(config, devices=devices)
    runner.run(warmup)
    times = runner.run(steps)
    # Before the matrix product, which needs memory of its own.
    memory = peak_memory_mb(), device_peak_memory_mb()
    machine, median = describe_machine(), statistics.median(times)
    precision, images = config.model.precision, 2 * config.batch_size
    tflop = train_flops_per_image(config.model) * images / 1e12
    matmul = measure_matmul(precision)
    peak = peak_tflops(machine.device, precision)
    rate = tflop / median
    return StepResult(
        images_per_second=images / median,
        step_ms=1e3 * median,
        step_ms_min=1e3 * min(times),
        step_ms_max=1e3 * max(times),
        compile_seconds=max(runner.first_seconds - median, 0.0),
        compilation_cache=os.environ.get("JAX_COMPILATION_CACHE_DIR"),
        tflops=rate,
        tflop_per_step=tflop,
        matmul_tflops=matmul,
        share_of_matmul=rate / devices / matmul,
        peak_tflops=peak,
        share_of_peak=rate / devices / peak if peak else None,
        peak_memory_mb=memory[0],
        device_peak_memory_mb=memory[1],
        precision=precision,
        width=config.model.width,
        batch_size=config.batch_size,
        devices=devices,
        steps=steps,
        machine=machine,
    )


def measure_matmul(precision: str, *, size: int | None = None) -> float:
    """The rate of a square matrix product with float32 sums, TFLOP/s; best of five.

    The best, as it stands for what the device can do. float32 is at JAX's default
    precision, which is that of the network too.

    Args:
        precision: of the operands and the result.
        size: rows; by default 4096, and 2048 on a CPU.
    """
    on_cpu = jax.default_backend() == "cpu"
    size = size or (2048 if on_cpu else 4096)
    repeats = 1 if on_cpu else 50  # so that queueing them costs nothing
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), jnp.dtype(precision)) for key in keys)

    def multiply(a: Any, b: Any) -> Any:
        product = jnp.dot(a, b, preferred_element_type=jnp.float32)
        return product.astype(a.dtype)

    function: Callable[..., Any] = jax.jit(multiply)
    jax.block_until_ready(function(a, b))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        products = [function(a, b) for _ in range(repeats)]
        jax.block_until_ready(products[-1])
        best = min(best, (time.perf_counter() - start) / repeats)
    return 2 * size**3 / best / 1e12


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
    return counts, getattr(output, "shape", ())


def train_flops_per_image(config: ModelConfig) -> int:
    """Operations of a training step for each image: convolutions and dense layers.

    The forward pass, and for each layer as much again for its kernel's gradient and for
    its input's, but for the first layer's input, which has none. The optimizer,
    activations and the loss are left out: below a thousandth, but for Muon, whose
    products are a twentieth of `lite128`'s step.
    """
    model = make_autoencoder(config)
    shapes = model.shapes()
    faces = (1, model.crop_size, model.crop_size, 3)
    encoder, code = count_layers(model.encoder, shapes.encoder, faces)
    decoder, _ = count_layers(model.decoder, shapes.decoders["a"], code)
    return 3 * (sum(encoder) + sum(decoder)) - encoder[0]
