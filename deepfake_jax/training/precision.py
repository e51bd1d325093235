"""Which type of arithmetic trains faster on this machine: what `auto` stands for.

Processors differ: some multiply bfloat16 four times as fast as float32, some turn it
into float32 first. So `auto` is settled by a measurement of a second, once a machine,
and kept in the cache folder. A run records what it was settled as, and goes on with
that, here or elsewhere.
"""

import hashlib
import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepfake_jax.files import get_cache_dir
from deepfake_jax.json_files import read_object, write_json
from deepfake_jax.kernels.library import find_kernels
from deepfake_jax.models.conv import conv
from deepfake_jax.models.conv_winograd import multiplies_bfloat16
from deepfake_jax.train_config import ModelConfig, Precision
from deepfake_jax.version import find_version, own_version

_log = logging.getLogger("deepfake_jax")

KEPT = "precision.json"  # in the cache folder: bfloat16 to float32, by machine
# bfloat16 rounds: for less than this it is not worth it.
WORTH = 1.1
_ROUNDS = 9
_AMPERE = 8.0  # NVIDIA's GPUs with bfloat16; `original` is twice as fast on an H100
# Of the networks for CPUs: pictures NHWC and kernel HWIO.
_LAYERS = (((16, 16, 16, 128), (3, 3, 128, 256)), ((16, 32, 32, 64), (3, 3, 64, 64)))


class Faster(NamedTuple):
    """What `find_faster` found.

    Attributes:
        precision: the faster type, float32 where it makes little difference.
        speedup: how many times as fast bfloat16 is as float32; None where it was not
            measured.
        reason: in words.
    """

    precision: Precision
    speedup: float | None
    reason: str


def settle_precision(model: ModelConfig, recorded: ModelConfig | None) -> ModelConfig:
    """A network's config with a type of arithmetic in place of `auto`.

    Args:
        model: what is asked for; a type that it names stays.
        recorded: of the run that goes on, whose type `auto` then keeps.
    """
    if model.precision != "auto":
        return model
    if recorded is not None and recorded.precision != "auto":
        return replace(model, precision=recorded.precision)
    found = find_faster()
    _log.info("precision %s: %s", found.precision, found.reason)
    return replace(model, precision=found.precision)


def find_faster(*, keep: bool = True) -> Faster:
    """The type that trains faster here; measures it where that was not done yet.

    Args:
        keep: whether to keep in the cache folder what had to be measured.
    """
    if jax.default_backend() != "cpu":
        return _choose_by_device(jax.local_devices())
    if jax.process_count() > 1:
        # They must all come to the same conclusion.
        return Faster("float32", None, "several processes share the training")
    if not multiplies_bfloat16():
        return Faster("float32", None, "this processor has no bfloat16 units")
    path, name = get_cache_dir() / KEPT, name_machine()
    kept = _read_kept(path)
    speedup = kept.get(name)
    if speedup is None:
        speedup = measure_speedup()
        if keep:
            _keep(path, kept | {name: speedup})
    precision: Precision = "bfloat16" if speedup >= WORTH else "float32"
    return Faster(
        precision, speedup, f"bfloat16 is {speedup:.2f} times as fast as float32 here"
    )


def _choose_by_device(devices: Sequence[Any]) -> Faster:
    """By what GPUs say of themselves; nothing is measured."""
    told = [str(getattr(device, "compute_capability", "")) for device in devices]
    known = [float(name) for name in told if name.replace(".", "", 1).isdigit()]
    if len(known) == len(told) and min(known) >= _AMPERE:
        return Faster("bfloat16", None, f"GPUs of capability {min(known)} multiply it")
    reason = "known of NVIDIA's GPUs since Ampere alone; choose bfloat16 freely"
    return Faster("float32", None, reason)


def measure_speedup() -> float:
    """How many times as fast typical layers are in bfloat16 as in float32.

    Their value and both gradients, both types in turns, so that other programs slow
    both down alike; the median of the rounds.
    """
    passes = {dtype: _make_pass(dtype) for dtype in (jnp.float32, jnp.bfloat16)}
    ratios = []
    for _ in range(_ROUNDS):
        seconds = {dtype: _time(run) for dtype, run in passes.items()}
        ratios.append(seconds[jnp.float32] / seconds[jnp.bfloat16])
    return round(statistics.median(ratios), 3)


def name_machine() -> str:
    """What a measurement holds for: processor, cores, kernels, versions; a hash."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    told = {
        line for line in text.splitlines() if line.startswith(("model name", "flags"))
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    kernels = [find_kernels(name) is not None for name in ("bfloat16", "float32")]
    versions = find_version("jaxlib"), own_version()
    facts = [*sorted(told), cores, *kernels, *versions]
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]


def _make_pass(dtype: Any) -> Callable[[], Any]:
    """Value and gradients of the layers, compiled, and done once."""
    rng = np.random.default_rng(0)
    operands = [
        [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]
        for shapes in _LAYERS
    ]

    def loss(operands: Any) -> jax.Array:
        values = [conv(x, kernel, dtype=dtype) for x, kernel in operands]
        return jnp.stack([jnp.square(y.astype(jnp.float32)).mean() for y in values])

    gradient = jax.jit(jax.grad(lambda operands: loss(operands).sum()))
    jax.block_until_ready(gradient(operands))
    return lambda: jax.block_until_ready(gradient(operands))


def _keep(path: Path, speedups: dict[str, float]) -> None:
    try:
        write_json(path, speedups)
    except OSError as error:  # it is measured again next time
        _log.warning("cannot keep which precision is faster: %s", error)


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _read_kept(path: Path) -> dict[str, float]:
    """What was measured, by machine; nothing where the file cannot be used."""
    return {
        name: float(value)
        for name, value in read_object(path).items()
        if isinstance(value, int | float) and value > 0
    }
