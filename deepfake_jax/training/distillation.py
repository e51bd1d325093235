"""A large run's swaps in a small network: the student is told what the teacher draws.

A network by itself learns faces of both people and is hoped to swap them. A student is
trained on swaps, the teacher's, beside the faces, so it needs less room to get there.

Reference:
    Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network".
"""

from dataclasses import dataclass
from pathlib import Path

from deepfake_jax.models.autoencoder import count_parameters
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.run_folder import load_run, read_run_config
from deepfake_jax.train_config import TrainConfig, load_preset
from deepfake_jax.training.loop import TrainResult, train
from deepfake_jax.training.observer import Observer
from deepfake_jax.training.teacher import count_model, student_config

_BYTES = 4  # of a parameter, float32


@dataclass(frozen=True, kw_only=True)
class DistillResult(TrainResult):
    """How a session of a student's training ended, and how large it is.

    Attributes:
        run: the student's folder.
        teacher: the teacher's.
        parameters: of the student.
        teacher_parameters: of the teacher.
    """

    run: str
    teacher: str
    parameters: int
    teacher_parameters: int

    @property
    def size_mb(self) -> float:
        """The student's parameters in float32, 1e6 bytes."""
        return self.parameters * _BYTES / 1e6

    @property
    def teacher_mb(self) -> float:
        """The teacher's, likewise."""
        return self.teacher_parameters * _BYTES / 1e6


def distill(
    teacher: str | Path,
    run: str | Path,
    config: TrainConfig | None = None,
    *,
    a: str | Path | None = None,
    b: str | Path | None = None,
    devices: int | None = None,
    observer: Observer | None = None,
) -> DistillResult:
    """Trains, or goes on training, a small run to swap as a large one does.

    The student holds out the faces that the teacher held out, so that both can be
    judged by them, and sees A's faces in the teacher's colors. In all else it is a run
    as others; see `train`.

    Args:
        teacher: folder of the trained run.
        run: the student's.
        config: the student's; the run's own if None, or for a new run `lite` with the
            widest network of a tenth of the teacher's parameters. For another preset
            see `teacher.student_config`.
        a: face set of A; that which the teacher was trained on if None.
        b: face set of B; likewise.
        devices: as for `train`.
        observer: likewise.

    Raises:
        FaceSetError: a set cannot be used, or is not where the teacher remembers it.
        ConfigError: the config cannot be a student's.
        RunError: the teacher or the run folder cannot be used, or the run goes on with
            another teacher.
        CheckpointError: no checkpoint of the teacher, or of the run, is good.
        TrainingError: as for `train`.
    """
    teacher, run = Path(teacher), Path(run)
    trained = load_run(teacher)
    config = config or read_run_config(run)
    config = config or student_config(trained, load_preset("lite"))
    result = train(
        find_set(teacher, "a") if a is None else a,
        find_set(teacher, "b") if b is None else b,
        run,
        config,
        devices=devices,
        teacher=teacher,
        observer=observer,
    )
    return DistillResult(
        **vars(result),
        run=str(run),
        teacher=str(teacher),
        parameters=count_model(config.model),
        teacher_parameters=count_parameters(trained.params),
    )


def describe(result: DistillResult) -> str:
    """Both sizes, and how to compare the two, as lines to read."""
    share = result.parameters / result.teacher_parameters
    return (
        f"step {result.step}, loss A {result.loss_a:.4f} B {result.loss_b:.4f}; saved "
        f"{result.checkpoint}\n"
        f"student: {result.parameters:,} parameters, {result.size_mb:.2f} MB in "
        f"float32; teacher: {result.teacher_parameters:,}, {result.teacher_mb:.2f} MB; "
        f"{share:.1%} of it\n"
        "compare their identity transfer on the same held-out faces:\n"
        f"  deepfake-jax evaluate --run {result.teacher}\n"
        f"  deepfake-jax evaluate --run {result.run}"
    )
