"""What `benchmark gpu` measures, part by part, in a process of its own.

A part gives rows: figures by name, ``what`` first. They go to stdout as they come, a
JSON object a line, so that all but the row under way outlive a crash.
Nothing here reads a video, or needs more than JAX, Flax, optax, orbax and OpenCV.
"""

import json
import logging
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepfake_jax.benchmarks.against_pytorch import measure_ratio
from deepfake_jax.benchmarks.machine import describe_machine
from deepfake_jax.benchmarks.step import draw_batch, measure_step
from deepfake_jax.benchmarks.train import measure_train, write_drawn_set
from deepfake_jax.evaluation.evaluate import evaluate
from deepfake_jax.files import format_json
from deepfake_jax.runs.run_folder import PREVIEW_NAME
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import (
    TrainConfig,
    list_presets,
    load_preset,
    override_config,
)
from deepfake_jax.training.devices import AXIS
from deepfake_jax.training.loop import train
from deepfake_jax.training.state import init_state
from deepfake_jax.training.step import jit_step, pmap_step

Row = dict[str, Any]
_COMPARED = 10  # steps of which the losses are compared with a CPU's
_DISPATCHES = (1, 8, 32)
_CROPS = 512


@dataclass(frozen=True)
class Plan:
    """What the parts need to know.

    Attributes:
        out: folder of the measurement; the run that is trained stays there.
        until: seconds since 1970 at which no further row is begun.
        minutes: of training.
        settings: of every config, as ``--set`` has them.
        batch_sizes: faces of each side.
        faces: face sets of A and B; without them nothing is trained.
        peer_python: a Python with torch; without it there is no peer.
    """

    out: str
    until: float
    minutes: float
    settings: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (64, 256)
    faces: Mapping[str, str] = field(default_factory=dict)
    peer_python: str = ""

    def config(self, preset: str, batch_size: int = 0, **model: Any) -> TrainConfig:
        """A preset with the settings, of the first batch size if none is given."""
        config = override_config(load_preset(preset), self.settings)
        config = replace(config, batch_size=batch_size or self.batch_sizes[0])
        if config.model.precision == "auto":
            model = {"precision": "float32", **model}
        return replace(config, model=replace(config.model, **model))


def describe_device(plan: Plan) -> Iterator[Row]:
    """Device, versions, cores."""
    yield {"what": "machine", **asdict(describe_machine())}


def compare_losses(plan: Plan) -> Iterator[Row]:
    """Ten steps of `original`, here and on this machine's CPU in float32."""
    config = plan.config("original", min(8, plan.batch_sizes[0]))
    # Large enough that ten updates change the loss, and so tell of the gradients.
    quick = replace(config.optimizer, learning_rate=1e-3)
    config = replace(config, optimizer=quick)
    with jax.default_matmul_precision("float32"):
        expected = _losses(config, jax.devices("cpu")[0])
    for what, precision, matmul in (
        ("float32", "float32", "float32"),
        ("float32, tf32 where there is", "float32", None),
        ("bfloat16", "bfloat16", None),
    ):
        model = replace(config.model, precision=precision)
        with jax.default_matmul_precision(matmul):
            found = _losses(replace(config, model=model), jax.devices()[0])
        off = np.abs(found / expected - 1)
        yield {
            "what": what,
            "largest_relative_difference": float(off.max()),
            "first_loss": float(found[0].sum()),
            "last_loss": float(found[-1].sum()),
        }


def _losses(config: TrainConfig, device: Any) -> np.ndarray:
    with jax.default_device(device):
        state = init_state(jax.random.key(config.seed), config)
        state, batch = jax.device_put((state, draw_batch(config)), device)
        step, losses = jit_step(), []
        for _ in range(_COMPARED):
            state, metrics = step(state, batch)
            losses.append([metrics["loss_a"], metrics["loss_b"]])
        return np.array(jax.device_get(losses), np.float64)


def time_steps(plan: Plan) -> Iterator[Row]:
    """The step of every preset in every precision and batch size, bfloat16 first."""
    names = ["original", "original-fast", "lite"]
    names += [name for name in list_presets() if name not in names]
    forms = (("bfloat16", None), ("float32", None), ("float32", "float32"))
    for batch_size in plan.batch_sizes:
        for precision, matmul in forms:
            for name in names:
                config = plan.config(name, batch_size, precision=precision)
                exact = "" if precision == "bfloat16" else ", tf32 where there is"
                exact = ", no tf32" if matmul else exact
                what = f"{name}, {precision}{exact}, batch {batch_size}"
                yield _try(what, lambda c=config, m=matmul: _time_step(c, m))


def _time_step(config: TrainConfig, matmul: str | None) -> Row:
    with jax.default_matmul_precision(matmul):
        result = measure_step(config, steps=_count(20), warmup=2)
    names = "images_per_second step_ms step_ms_min step_ms_max compile_seconds tflops"
    shares = "share_of_peak share_of_matmul device_peak_memory_mb"
    return {name: getattr(result, name) for name in f"{names} {shares}".split()}


def _count(steps: int) -> int:
    return steps if jax.default_backend() != "cpu" else 3


def time_peer(plan: Plan) -> Iterator[Row]:
    """`original` against PyTorch's forms, in turns."""
    if not plan.peer_python:
        yield {"what": "original", "left_out": "no Python with torch (--peer-python)"}
        return
    python, rounds = Path(plan.peer_python), 3
    result = measure_ratio(
        plan.config("original"), python=python, steps=_count(20), rounds=rounds
    )
    names = "ratio_float32 peer_best_float32 ratio_bfloat16 peer_best failed"
    row = {name: getattr(result, name) for name in names.split()}
    yield {"what": "ours to PyTorch's best", **row, **result.images_per_second}


def time_loop(plan: Plan) -> Iterator[Row]:
    """The real loop with the loader on this machine's cores, against the step alone."""
    workers = os.cpu_count() or 1
    for name in ("original", "lite"):
        config = plan.config(name, precision="bfloat16")
        config = replace(config, workers=workers)
        yield _try(f"{name}, bfloat16, {workers} workers", lambda c=config: _loop(c))


def _loop(config: TrainConfig) -> Row:
    result = measure_train(config, steps=_count(100), rounds=2, faces=64)
    names = "end_to_end_images_per_second step_only_images_per_second ratio data_wait"
    return {name: getattr(result, name) for name in names.split()}


def time_dispatches(plan: Plan) -> Iterator[Row]:
    """Several steps a dispatch of `lite`, and `pmap` on one device beside `jit`."""
    config = plan.config("lite")
    for steps in _DISPATCHES:
        what = f"lite, {steps} steps a dispatch"
        yield _try(what, lambda n=steps: _dispatch(config, n, mapped=False))
    for name in ("lite", "original"):
        config = plan.config(name)
        for form in ("jit", "pmap"):
            mapped = form == "pmap"
            what = f"{name}, {form} on one device"
            yield _try(what, lambda c=config, m=mapped: _dispatch(c, 1, mapped=m))


def _dispatch(config: TrainConfig, steps: int, *, mapped: bool) -> Row:
    device = jax.devices()[0]
    state = init_state(jax.random.key(config.seed), config)
    batch: Any = draw_batch(config)
    if steps > 1:
        batch = jax.tree.map(lambda x: np.stack([x] * steps), batch)
    step = jit_step(stacked=steps > 1)
    if mapped:
        state, batch = jax.tree.map(lambda x: np.asarray(x)[None], (state, batch))
        step = pmap_step(AXIS, devices=[device])
    state: Any = jax.device_put(state, device)
    batch = jax.device_put(batch, device)
    state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    times = []
    for _ in range(3):
        calls = max(1, _count(64) // steps)
        start = time.perf_counter()
        for _ in range(calls):
            state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append((time.perf_counter() - start) / calls / steps)
    step_ms = 1e3 * statistics.median(times)
    return {"step_ms": step_ms, "images_per_second": 2e3 * config.batch_size / step_ms}


def weigh_steps(plan: Plan) -> Iterator[Row]:
    """Memory of the compiled step with and without ``--remat``."""
    for batch_size in plan.batch_sizes:
        for remat in (False, True):
            config = replace(plan.config("original", batch_size), remat=remat)
            what = f"original, batch {batch_size}{', remat' * remat}"
            yield _try(what, lambda c=config: _weigh(c))


def _weigh(config: TrainConfig) -> Row:
    state = init_state(jax.random.key(0), config)
    step: Any = jit_step()
    compiled = step.lower(state, draw_batch(config)).compile()
    found: Any = compiled.memory_analysis()
    return {
        "temporary_mb": found.temp_size_in_bytes / 1e6,
        "arguments_mb": found.argument_size_in_bytes / 1e6,
    }


def train_and_judge(plan: Plan) -> Iterator[Row]:
    """`original-fast` on real faces for some minutes, judged as `evaluate` does."""
    if not plan.faces:
        yield {"what": "original-fast", "left_out": "no face sets (--a and --b)"}
        return
    config = replace(plan.config("original-fast"), steps=None, minutes=plan.minutes)
    run = Path(plan.out) / "run"
    result = train(plan.faces["a"], plan.faces["b"], run, config, devices=1)
    yield {
        "what": f"trained {plan.minutes:g} minutes",
        "step": result.step,
        "images_per_second": result.images_per_second,
        "preview": str(run / PREVIEW_NAME),
    }
    found = asdict(evaluate(run))
    for part in ("a", "b", "a_to_b", "b_to_a"):
        yield {"what": f"evaluate {part}", **found[part]}


def time_swaps(plan: Plan) -> Iterator[Row]:
    """Crops of a clip to swaps, as `convert` has them, by the run if there is one."""
    run = Path(plan.out) / "run"
    with tempfile.TemporaryDirectory() as name:
        if not run.is_dir():
            run = _train_briefly(plan, Path(name))
        trained = load_run(run)
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
    yield {"what": f"{_CROPS} crops of {model.crop_size} px", "faces_per_second": rate}


def _train_briefly(plan: Plan, folder: Path) -> Path:
    for seed, side in enumerate("ab"):
        write_drawn_set(folder / side, 16, seed=seed)
    config = replace(plan.config("original-fast", 2), steps=2, minutes=None)
    train(folder / "a", folder / "b", folder / "run", config, devices=1)
    return folder / "run"


def _try(what: str, measure: Callable[[], Row]) -> Row:
    """A row, or what was wrong: a batch that does not fit must not end the others."""
    try:
        return {"what": what, **measure()}
    except (ValueError, RuntimeError, MemoryError) as error:
        return {"what": what, "error": str(error).splitlines()[0][:300]}


# In order of importance.
PARTS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "device": describe_device,
    "correctness": compare_losses,
    "peer": time_peer,
    "step": time_steps,
    "loop": time_loop,
    "dispatch": time_dispatches,
    "memory": weigh_steps,
    "train": train_and_judge,
    "swap": time_swaps,
}


def main(args: list[str]) -> None:
    """Runs some parts: the plan as JSON, then their names; `gpu` calls it."""
    values = json.loads(args[0])
    for name in ("settings", "batch_sizes"):
        values[name] = tuple(values[name])
    plan = Plan(**values)
    logging.basicConfig(format="deepfake-jax: %(message)s", level=logging.WARNING)
    for name in args[1:]:
        print(json.dumps({"part": name}), flush=True)
        # The training's own share of the time is kept for it.
        until = plan.until if name not in ("train", "swap") else math.inf
        rows = PARTS[name](plan)
        while time.time() < until and (row := next(rows, None)) is not None:
            print(format_json({"part": name, **row}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
