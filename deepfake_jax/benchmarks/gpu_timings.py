"""Single figures of `gpu_parts`: one config, one row."""

import statistics
import time
from typing import Any

import jax
import numpy as np

from deepfake_jax.benchmarks.step import draw_batch, measure_step
from deepfake_jax.benchmarks.train import measure_train
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.devices import AXIS
from deepfake_jax.training.state import init_state
from deepfake_jax.training.step import graph_options, jit_step, pmap_step

Row = dict[str, Any]
_CROPS = 512
_COMPARED = 10  # steps of which the losses are compared with a CPU's


def count_steps(steps: int) -> int:
    """Steps to time: as many, or few on a CPU."""
    return steps if jax.default_backend() != "cpu" else 3


def find_losses(config: TrainConfig, device: Any) -> np.ndarray:
    """Losses of A and B at each of a few steps on a device."""
    with jax.default_device(device):
        state = init_state(jax.random.key(config.seed), config)
        state, batch = jax.device_put((state, draw_batch(config)), device)
        step, losses = jit_step(), []
        for _ in range(_COMPARED):
            state, metrics = step(state, batch)
            losses.append([metrics["loss_a"], metrics["loss_b"]])
        return np.array(jax.device_get(losses), np.float64)


def time_step(config: TrainConfig, matmul: str | None) -> Row:
    """A step alone; `matmul` is the precision of products of float32."""
    with jax.default_matmul_precision(matmul):
        result = measure_step(config, steps=count_steps(20), warmup=2)
    names = "images_per_second step_ms step_ms_min step_ms_max compile_seconds tflops"
    shares = "share_of_peak share_of_matmul device_peak_memory_mb"
    return {name: getattr(result, name) for name in f"{names} {shares}".split()}


def time_training(config: TrainConfig) -> Row:
    """The real loop beside the step alone."""
    result = measure_train(config, steps=count_steps(500), rounds=2, faces=64)
    names = "end_to_end_images_per_second step_only_images_per_second ratio data_wait"
    return {name: getattr(result, name) for name in names.split()}


def time_dispatch(
    config: TrainConfig, steps: int, *, mapped: bool = False, graphs: bool = False
) -> Row:
    """So many steps at once, by ``jit`` or, `mapped`, by ``pmap``."""
    device = jax.devices()[0]
    state = init_state(jax.random.key(config.seed), config)
    batch: Any = draw_batch(config)
    if steps > 1:
        batch = jax.tree.map(lambda x: np.stack([x] * steps), batch)
    step = jit_step(stacked=steps > 1, options=graph_options() if graphs else None)
    if mapped:
        state, batch = jax.tree.map(lambda x: np.asarray(x)[None], (state, batch))
        step = pmap_step(AXIS, devices=[device])
    state: Any = jax.device_put(state, device)
    batch = jax.device_put(batch, device)
    state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    times = []
    for _ in range(3):
        calls = max(1, count_steps(64) // steps)
        start = time.perf_counter()
        for _ in range(calls):
            state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append((time.perf_counter() - start) / calls / steps)
    step_ms = 1e3 * statistics.median(times)
    return {"step_ms": step_ms, "images_per_second": 2e3 * config.batch_size / step_ms}


def weigh_step(config: TrainConfig) -> Row:
    """Memory of the compiled step, 1e6 bytes."""
    state = init_state(jax.random.key(0), config)
    step: Any = jit_step()
    compiled = step.lower(state, draw_batch(config)).compile()
    found: Any = compiled.memory_analysis()
    return {
        "temporary_mb": found.temp_size_in_bytes / 1e6,
        "arguments_mb": found.argument_size_in_bytes / 1e6,
    }


def time_swapper(trained: TrainedRun) -> Row:
    """Swaps of a clip's crops."""
    model = trained.model
    swapper = make_swapper(model, trained.params, to="b", source="a")
    shape = (_CROPS, model.crop_size, model.crop_size, 3)
    crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        swapper(crops)
        times.append(time.perf_counter() - start)
    rate = _CROPS / statistics.median(times[1:])
    return {"what": f"{_CROPS} crops of {model.crop_size} px", "faces_per_second": rate}
