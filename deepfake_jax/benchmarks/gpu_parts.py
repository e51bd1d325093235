"""What `benchmark gpu` measures, part by part, in a process of its own.

A part gives rows: figures by name, ``what`` first. They go to stdout as they come, a
JSON object a line, so that all but the row under way outlive a crash.
Nothing here reads a video, or needs more than JAX, Flax, optax, orbax and OpenCV.
"""

import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from deepfake_jax.benchmarks.against_pytorch import measure_ratio
from deepfake_jax.benchmarks.gpu_timings import (
    Row,
    count_steps,
    find_losses,
    time_dispatch,
    time_step,
    time_swapper,
    time_training,
    weigh_step,
)
from deepfake_jax.benchmarks.layers import measure_layers
from deepfake_jax.benchmarks.loader import measure_loader
from deepfake_jax.benchmarks.machine import describe_machine
from deepfake_jax.benchmarks.quality_curve import SWAPS
from deepfake_jax.benchmarks.train import write_drawn_set
from deepfake_jax.evaluation.evaluate import evaluate
from deepfake_jax.json_files import format_json
from deepfake_jax.runs.run_folder import PREVIEW_NAME
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import (
    TrainConfig,
    load_preset,
    override_config,
)
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES

_DISPATCHES = (1, 8, 32)
_NETWORKS = ("original", "original-fast", "lite", "lite128")  # the first matters most
_LARGER = ("mid256", "hd256")
# Of PyTorch; the other forms compile for minutes. Its compiler chooses the layout.
_PEER_FORMS = (
    "bfloat16-compile-channels_last",
    "bfloat16-eager-channels_last",
    "bfloat16-eager-contiguous",
    "float32-eager-channels_last",
)


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
    # Large enough that ten updates change the loss, and so tell of the gradients. At
    # 1e-3 losses diverge, and two forms of convolution on a CPU are 14 % apart.
    quick = replace(config.optimizer, learning_rate=1e-4)
    config = replace(config, optimizer=quick)
    with jax.default_matmul_precision("float32"):
        expected = find_losses(config, jax.devices("cpu")[0])
    for what, precision, matmul in (
        ("float32", "float32", "float32"),
        ("float32, tf32 where there is", "float32", None),
        ("bfloat16", "bfloat16", None),
    ):
        model = replace(config.model, precision=precision)
        with jax.default_matmul_precision(matmul):
            found = find_losses(replace(config, model=model), jax.devices()[0])
        off = np.abs(found / expected - 1)
        yield {
            "what": what,
            "largest_relative_difference": float(off.max()),
            "first_loss": float(found[0].sum()),
            "last_loss": float(found[-1].sum()),
        }


def time_steps(plan: Plan) -> Iterator[Row]:
    """The step of the smaller presets in bfloat16, of `original` in float32, too."""
    for name in _NETWORKS:
        yield _time_form(plan, name, "bfloat16")
    for matmul in (None, "float32"):
        yield _time_form(plan, "original", "float32", matmul)


def time_more_steps(plan: Plan) -> Iterator[Row]:
    """Larger networks, larger batches, and the smaller ones in float32."""
    larger = plan.batch_sizes[1:]
    for name in _LARGER:
        yield _time_form(plan, name, "bfloat16")
    for batch_size in larger:
        for name in _NETWORKS:
            yield _time_form(plan, name, "bfloat16", batch_size=batch_size)
    for batch_size in plan.batch_sizes:
        for name in _NETWORKS:
            for matmul in (None, "float32"):
                if name != "original" or batch_size in larger:
                    yield _time_form(
                        plan, name, "float32", matmul, batch_size=batch_size
                    )


def _time_form(
    plan: Plan,
    name: str,
    precision: str,
    matmul: str | None = None,
    *,
    batch_size: int = 0,
) -> Row:
    """The row of a preset's step."""
    config = plan.config(name, batch_size, precision=precision)
    exact = "" if precision == "bfloat16" else ", tf32 where there is"
    exact = ", no tf32" if matmul else exact
    what = f"{name}, {precision}{exact}, batch {config.batch_size}"
    return _try(what, lambda: time_step(config, matmul))


def time_peer(plan: Plan) -> Iterator[Row]:
    """`original` against PyTorch's forms, in turns."""
    if not plan.peer_python:
        yield {"what": "original", "left_out": "no Python with torch (--peer-python)"}
        return
    python, rounds = Path(plan.peer_python), 3
    result = measure_ratio(
        plan.config("original"),
        python=python,
        steps=count_steps(20),
        rounds=rounds,
        forms=_PEER_FORMS,
    )
    names = "ratio_float32 peer_best_float32 ratio_bfloat16 peer_best failed"
    row = {name: getattr(result, name) for name in names.split()}
    yield {"what": "ours to PyTorch's best", **row, **result.images_per_second}


def time_loop(plan: Plan) -> Iterator[Row]:
    """The real loop against the step alone, by where pairs are cut out of faces."""
    for where, workers in (("device", 2), ("host", min(8, os.cpu_count() or 1))):
        for name in ("original", "lite"):
            config = plan.config(name, precision="bfloat16")
            config = replace(config, workers=workers, warp_on=cast(Any, where))
            what = f"{name}, bfloat16, warps on the {where}"
            yield _try(what, lambda c=config: time_training(c))


def time_dispatches(plan: Plan) -> Iterator[Row]:
    """Several steps a dispatch of `lite`, and `pmap` on one device beside `jit`."""
    config = plan.config("lite", precision="bfloat16")
    for graphs in (False, True):
        for steps in _DISPATCHES:
            what = f"lite, {steps} steps a dispatch{', graphs' * graphs}"
            yield _try(
                what, lambda n=steps, g=graphs: time_dispatch(config, n, graphs=g)
            )
    for name in ("original", "lite"):
        config = plan.config(name, precision="bfloat16")
        what = f"{name}, jit, graphs"
        yield _try(what, lambda c=config: time_dispatch(c, 1, graphs=True))
        for form in ("jit", "pmap"):
            mapped = form == "pmap"
            what = f"{name}, {form} on one device"
            yield _try(what, lambda c=config, m=mapped: time_dispatch(c, 1, mapped=m))


def weigh_steps(plan: Plan) -> Iterator[Row]:
    """Memory of the compiled step with and without ``--remat``."""
    for batch_size in plan.batch_sizes:
        for remat in (False, True):
            config = replace(plan.config("original", batch_size), remat=remat)
            what = f"original, batch {batch_size}{', remat' * remat}"
            yield _try(what, lambda c=config: weigh_step(c))


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
    for part in (*SIDES, *SWAPS):
        yield {"what": f"evaluate {part}", **found[part]}


def time_swaps(plan: Plan) -> Iterator[Row]:
    """Crops of a clip to swaps, as `convert` has them, by the run if there is one."""
    run = Path(plan.out) / "run"
    with tempfile.TemporaryDirectory() as name:
        if not run.is_dir():
            run = _train_briefly(plan, Path(name))
        yield time_swapper(load_run(run))


def _train_briefly(plan: Plan, folder: Path) -> Path:
    for seed, side in enumerate(SIDES):
        write_drawn_set(folder / side, 16, seed=seed)
    config = replace(plan.config("original-fast", 2), steps=2, minutes=None)
    train(folder / "a", folder / "b", folder / "run", config, devices=1)
    return folder / "run"


def time_loader(plan: Plan) -> Iterator[Row]:
    """The loader alone, beside the classic augmentation."""
    size = plan.batch_sizes[0]
    found = asdict(measure_loader(batch_size=size, rounds=count_steps(7)))
    names = "faces_per_second faces_per_second_per_core ratio cores_for_a_3_ms_step"
    yield {"what": f"batch {size}", **{name: found[name] for name in names.split()}}


def time_layers(plan: Plan) -> Iterator[Row]:
    """Every convolution of `original` in bfloat16, in every form, milliseconds."""
    if jax.default_backend() == "cpu":
        told = "takes minutes on a CPU (benchmark layers)"
        yield {"what": "original", "left_out": told}
        return
    found = measure_layers(plan.config("original", precision="bfloat16"))
    for layer, forms in found.milliseconds.items():
        row: Row = {"what": layer, "chosen": found.chosen[layer]}
        for form, (value, gradients) in forms.items():
            row |= {form: value, f"{form}, gradients": gradients}
        yield row


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
    "more_steps": time_more_steps,
    "train": train_and_judge,
    "swap": time_swaps,
    "loader": time_loader,
    "layers": time_layers,
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
