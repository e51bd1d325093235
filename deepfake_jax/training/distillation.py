"""A large run's swaps in a small network: the student is told what the teacher draws.

A network by itself learns faces of both people and is hoped to swap them. A student is
trained on swaps, the teacher's, beside the faces, so it needs less room to get there.

Reference:
    Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network".
"""

from bisect import bisect_right
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.network import count_parameters
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.run_folder import RunError, read_run_config
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.train_config import ModelConfig, TrainConfig, load_preset
from deepfake_jax.training.loop import TrainResult, train

_BYTES = 4  # of a parameter, float32
SHARE = 0.1  # of the teacher's parameters that a student has, at most
# Largest random transforms of a student's faces; see BENCHMARKS.md.
_MOVES: dict[str, Any] = {"rotation": 3.0, "zoom": 0.02, "shift": 0.01}
_WIDTHS = range(8, 1025, 2)  # those that `ModelConfig` takes


def distill(
    teacher: str | Path,
    run: str | Path,
    config: TrainConfig | None = None,
    *,
    a: str | Path | None = None,
    b: str | Path | None = None,
    devices: int | None = None,
) -> TrainResult:
    """Trains, or goes on training, a small run to swap as a large one does.

    The student holds out the faces that the teacher held out, so that both can be
    judged by them, and sees A's faces in the teacher's colors. In all else it is a run
    as others; see `train`.

    Args:
        teacher: folder of the trained run.
        run: the student's.
        config: the student's; the run's own if None, or for a new run `lite` with the
            widest network of a tenth of the teacher's parameters. For another preset
            see `student_config`.
        a: face set of A; that which the teacher was trained on if None.
        b: face set of B; likewise.
        devices: as for `train`.

    Raises:
        FaceSetError: a set cannot be used, or is not where the teacher remembers it.
        ConfigError: the config cannot be a student's.
        RunError: the teacher or the run folder cannot be used, or the run goes on with
            another teacher.
        CheckpointError: no checkpoint of the teacher, or of the run, is good.
        TrainingError: as for `train`.
    """
    teacher, run = Path(teacher), Path(run)
    config = config or read_run_config(run)
    config = config or student_config(load_run(teacher), load_preset("lite"))
    return train(
        find_set(teacher, "a") if a is None else a,
        find_set(teacher, "b") if b is None else b,
        run,
        config,
        devices=devices,
        teacher=teacher,
    )


def describe(result: TrainResult, run: Path, teacher: Path) -> str:
    """Both sizes, and how to compare the two, as lines to read."""
    config = read_run_config(teacher) or TrainConfig()
    known = count_model(config.model)
    sizes = [f"{_BYTES * count / 1e6:.2f} MB" for count in (result.parameters, known)]
    return (
        f"step {result.step}, loss A {result.loss_a:.4f} B {result.loss_b:.4f}; saved "
        f"{result.checkpoint}\n"
        f"student: {result.parameters:,} parameters, {sizes[0]} in float32; "
        f"teacher: {known:,}, {sizes[1]}; {result.parameters / known:.1%} of it\n"
        "compare their identity transfer on the same held-out faces:\n"
        f"  deepfake-jax evaluate --run {teacher}\n"
        f"  deepfake-jax evaluate --run {run}"
    )


def student_config(
    teacher: TrainedRun, config: TrainConfig, *, width: int | None = None
) -> TrainConfig:
    """A student's config: its width, no aligned codes, a weight of swaps.

    Faces are turned and moved less: it need not do more than it is for.

    Args:
        teacher: whose parameters count.
        config: where the rest is from; the weight, too, unless it is 0.
        width: of the student; None takes the widest that has at most `SHARE` of the
            teacher's parameters.

    Raises:
        RunError: even the narrowest network has more.
    """
    model = replace(config.model, align_codes=False)
    width = width or _choose_width(model, count_parameters(teacher.params.network))
    weight = config.loss.swap_weight or 1.0
    loss = replace(config.loss, swap_weight=weight, shape_weight=0.0)
    most = {name: min(getattr(config.augment, name), _MOVES[name]) for name in _MOVES}
    augment = replace(config.augment, **most)
    model = replace(model, width=width)
    return replace(config, model=model, augment=augment, loss=loss)


def _choose_width(model: ModelConfig, known: int) -> int:
    def count(width: int) -> int:
        return count_model(replace(model, width=width))

    place = bisect_right(_WIDTHS, SHARE * known, key=count)
    if not place:
        raise RunError(
            f"the narrowest {model.name} network has {count(_WIDTHS[0])} parameters, "
            f"more than {SHARE:g} of the teacher's {known}; distill a larger run, or "
            "choose a width by --set model.width=N"
        )
    return _WIDTHS[place - 1]


@cache  # a quarter of a second each
def count_model(model: ModelConfig) -> int:
    """How many parameters a network has; nothing is computed."""
    return count_parameters(make_autoencoder(model).shapes())
