"""The run that a student learns its swaps from, and what its folder says of that.

``teacher.json`` in the student's folder names the teacher's folder and its very
parameters; ``teacher/`` keeps these. They are no part of the student's checkpoints: a
student that goes on reads them from there, whatever became of the teacher meanwhile.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.json_files import read_checked, write_checked
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.runs.checkpoint import list_checkpoints, save_best
from deepfake_jax.runs.run_folder import CHECKPOINTS, RunError
from deepfake_jax.runs.trained_run import TrainedRun, load_run, read_trained
from deepfake_jax.train_config import ConfigError, TrainConfig
from deepfake_jax.training.state import Teacher, params_to_tree

TEACHER_NAME = "teacher.json"  # in a student's folder
TEACHER = "teacher"  # a folder of one checkpoint there


@dataclass(frozen=True, eq=False)
class TeacherRun:
    """A run to learn from.

    Attributes:
        folder: the run's.
        trained: what it has learned.
    """

    folder: Path
    trained: TrainedRun

    @property
    def name(self) -> str:
        """What names its very parameters."""
        return self.trained.model_hash

    @property
    def network(self) -> Teacher:
        """What a training step needs of it."""
        return Teacher(params=self.trained.params, model=self.trained.model)


def load_teacher(
    folder: str | Path | None, run: Path, config: TrainConfig
) -> TeacherRun | None:
    """Reads the run that a student learns from; None for a run without a teacher.

    Args:
        folder: the teacher's; its newest good checkpoint is read, or for a student that
            goes on, that which it began with.
        run: the student's.
        config: the student's.

    Raises:
        ConfigError: only one of a teacher and a weight of its swaps is given, or the
            student would align codes.
        RunError: the teacher cannot be read, is the student, or has faces of another
            size.
        CheckpointError: every checkpoint of the teacher is damaged.
    """
    weight = config.loss.swap_weight
    if folder is None:
        if not weight:
            return None
        known = _read_record(run).get("folder", "TEACHER")
        raise ConfigError(
            f"loss.swap_weight = {weight:g} compares swaps with a teacher's, and none "
            f"is given; go on with: deepfake-jax distill --teacher {known} --run {run}"
        )
    if not weight:
        raise ConfigError(
            "loss.swap_weight = 0 learns nothing of a teacher; give a weight, such as 1"
        )
    if config.model.align_codes:
        raise ConfigError(
            "model.align_codes = true is for networks that guess how to swap; a "
            "student is told by its teacher: give false"
        )
    folder = Path(folder)
    if folder.resolve() == run.resolve():
        raise RunError(f"--teacher and --run are both {run}; give the student its own")
    trained = _find_known(folder, run) or load_run(folder)
    own = make_autoencoder(config.model).crop_size
    if trained.model.crop_size != own:
        raise RunError(
            f"the teacher {folder} draws faces of {trained.model.crop_size} px and the "
            f"student of {own} px; both must be the same: give another --set model.name"
        )
    return TeacherRun(folder, trained)


def check_teacher(run: Path, teacher: TeacherRun | None) -> None:
    """Checks that a run that goes on has the teacher that it began with, or none.

    Raises:
        RunError: it has another one.
    """
    if not list_checkpoints(run / CHECKPOINTS):
        return
    known = _read_record(run)
    now = None if teacher is None else teacher.name
    if known.get("model_hash") == now:
        return
    if not known:
        raise RunError(
            f"{run} was trained without a teacher; name a new --run to distill into"
        )
    # A weight of 0 and no teacher also come here: the rest of such a run would be
    # trained for something else than its beginning.
    raise RunError(
        f"{run} has learned from {known.get('folder')}, step {known.get('step')}, "
        f"parameters {str(known.get('model_hash'))[:12]}; now its teacher is "
        + (
            "none"
            if teacher is None
            else f"{teacher.folder}, step {teacher.trained.step}, {teacher.name[:12]}"
        )
        + ". Give it the same one, or distill into a new --run"
    )


def _find_known(folder: Path, run: Path) -> TrainedRun | None:
    """What a student that goes on began to learn from; None if it must be read anew."""
    record, kept = _read_record(run), run / TEACHER
    if record.get("folder") != str(folder.resolve()):
        return None
    if list_checkpoints(kept):
        trained = read_trained(kept)
        assert trained is not None
        return replace(trained, model_hash=record["model_hash"])
    # Students of earlier versions kept nothing.
    step, earlier = record.get("step"), folder / CHECKPOINTS
    if list_checkpoints(run / CHECKPOINTS) and step in list_checkpoints(earlier):
        return read_trained(earlier, step=step)
    return None


def write_teacher(run: Path, teacher: TeacherRun | None) -> None:
    """Records in a run's folder who teaches it, or that nobody does."""
    if teacher is None:
        # One that was recorded before a first step.
        (run / TEACHER_NAME).unlink(missing_ok=True)
        shutil.rmtree(run / TEACHER, ignore_errors=True)
        return
    record = {
        "folder": str(teacher.folder.resolve()),
        "step": teacher.trained.step,
        "model_hash": teacher.name,
    }
    step, trained = teacher.trained.step, teacher.trained
    if list_checkpoints(run / TEACHER) != [step]:
        tree = params_to_tree(step, trained.params)
        save_best(run / TEACHER, step, tree, facts=trained.facts)
    write_checked(run / TEACHER_NAME, record)


def _read_record(run: Path) -> dict[str, Any]:
    """What `write_teacher` wrote; nothing where there was no teacher."""
    path = run / TEACHER_NAME
    if not path.exists():
        return {}
    try:
        return read_checked(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is damaged ({error}); bring it back, or distill into a new --run"
        ) from None
