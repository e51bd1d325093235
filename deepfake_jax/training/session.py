"""What a run begins with, or goes on with: its faces, its parameters, its description.

Every process of a run calls these alike and comes to the same results.
"""

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int, UInt8

from deepfake_jax.face_sets.face_colors import mean_color_shift
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import stack_landmarks
from deepfake_jax.files import lock_output
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.fine_detail import measure_energies
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.held_out import Split, begin_split, resume_split, write_held
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    LOCK_NAME,
    RunError,
    check_run,
    write_run_config,
)
from deepfake_jax.runs.trained_run import load_start
from deepfake_jax.train_config import TrainConfig, config_to_yaml
from deepfake_jax.training.face_masks import draw_face_masks
from deepfake_jax.training.history import TrainingError
from deepfake_jax.training.state import TrainState
from deepfake_jax.training.teacher import TeacherRun, check_teacher, write_teacher
from deepfake_jax.types import Side

_MEASURED = 64  # faces a side whose detail is measured
# Fewer faces than this, and what comes of them; see "Small sets" in BENCHMARKS.md.
_SMALL_SETS = (
    (5, "a likeness in that pose and light; other ones come out wrong"),
    (30, "most poses and expressions are missing, and come out wrong"),
    (100, "enough for a first look, with faults where a pose or expression is new"),
)
_log = logging.getLogger("deepfake_jax")


def split_faces(
    run: Path,
    sets: Mapping[Side, FaceSet],
    config: TrainConfig,
    *,
    leads: bool,
    teacher: TeacherRun | None = None,
) -> dict[Side, Split]:
    """Which faces of both sides to train on, and which to judge by.

    A run that goes on has what it recorded, or holds none out if it recorded nothing.
    Without a checkpoint nothing was trained yet, and the split is made anew: all
    processes come to the same one, whether or not they see the leader's record. A
    student holds out what its teacher did, or they could not be compared.

    Args:
        run: its folder.
        sets: of both sides.
        config: the run's.
        leads: whether this process records the split of a run that begins.
        teacher: of a student.

    Raises:
        FaceSetError: the record cannot be read.
    """
    goes_on = bool(list_checkpoints(run / CHECKPOINTS))
    splits: dict[Side, Split] = {}
    for side, faces in sets.items():
        if goes_on or teacher is not None:
            known = run if goes_on or teacher is None else teacher.folder
            splits[side] = resume_split(known, side, faces.records)
        else:
            share, seed = config.holdout, config.seed
            splits[side] = begin_split(side, faces.records, share, seed)
    if goes_on:
        return splits
    if leads:
        for side, split in splits.items():
            _say_what_to_expect(side, len(split.train))
        chosen = {str(side): splits[side].held for side in sets}
        records = {str(side): faces.records for side, faces in sets.items()}
        write_held(run, {s: [records[s][i] for i in chosen[s]] for s in chosen})
    return splits


def _say_what_to_expect(side: Side, count: int) -> None:
    """Warns of a set too small for a good swap.

    Seen with 1, 10, 30 and some 75 faces a side; the limits between are estimates.
    """
    for below, outcome in _SMALL_SETS:
        if count < below:
            _log.warning(
                "%s has %d face%s to train on: %s. Some hundred faces in varied poses, "
                "expressions and light work best; extract more footage of this person",
                side.upper(),
                count,
                "s" * (count != 1),
                outcome,
            )
            return


def load_parameters(
    run: Path, config: TrainConfig, init: str | Path | None, *, decoders: bool
) -> Network | None:
    """The parameters that a new run takes over; None where it takes none or goes on.

    Args:
        run: its folder.
        config: the run's.
        init: another run, whose encoder to take; None takes nothing.
        decoders: take its decoders, too.

    Raises:
        RunError: `init` cannot be used, or decoders are asked for without it.
        CheckpointError: every checkpoint of it is damaged.
    """
    if init is None:
        if decoders:
            raise RunError("--init-decoders needs --init RUN, whose decoders to take")
        return None
    if list_checkpoints(run / CHECKPOINTS):
        _log.info("%s goes on from its own state; --init is for new runs", run)
        return None
    start = load_start(init, config.model, decoders=decoders)
    taken = "encoder and both decoders" if decoders else "encoder"
    _log.info("starting with %s of %s", taken, init)
    return start


def start_with(state: TrainState, start: Network | None) -> TrainState:
    """A fresh state with the encoder, and decoders, of another run."""
    if start is None:
        return state
    taken: Network = jax.tree.map(jnp.asarray, start)
    decoders = taken.decoders or state.network.decoders
    network = replace(state.network, encoder=taken.encoder, decoders=decoders)
    ema = None
    if state.ema is not None:
        ema = jax.tree.map(jnp.copy, SwapParams(network, state.statistics))
    return replace(state, network=network, ema=ema)


def describe_run(
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
    teacher: TeacherRun | None = None,
) -> RunFacts:
    """What a checkpoint must say for a swap to need nothing else.

    Args:
        config: the run's.
        sets: of both sides.
        among: which faces are trained on; the skins' mean colors are matched.
        teacher: of a student, which sees A's faces in the teacher's colors.
    """
    shift = np.zeros(3)
    if teacher is not None:
        shift = teacher.trained.facts.shift
    elif config.match_color:
        shift = mean_color_shift(sets, among=among)
    red, green, blue = shift.tolist()
    return RunFacts(
        model=config.model,
        color_shift=(red, green, blue),
        detail=_note_detail(config, sets, among),
        identities={
            side: faces.header["identity"]
            for side, faces in sets.items()
            if "identity" in faces.header
        },
    )


def find_landmarks(
    config: TrainConfig, sets: Mapping[Side, FaceSet], *, taught: bool = False
) -> dict[Side, Float64[np.ndarray, "_ p 2"]] | None:
    """Landmarks of all faces, where a run learns their shapes; else None.

    Args:
        config: the run's.
        sets: of both sides.
        taught: whether the run has a teacher, who recalls by them.
    """
    if not (taught or (config.loss.shape_weight and config.model.align_codes)):
        return None
    return stack_landmarks({side: faces.records for side, faces in sets.items()})


def find_masks(
    config: TrainConfig, sets: Mapping[Side, FaceSet]
) -> dict[Side, UInt8[np.ndarray, "_ m m 3"]] | None:
    """Masks of all faces, where a run's loss weighs their parts; else None.

    Raises:
        RunError: a face has no 68 landmarks.
    """
    if not config.loss.weighs_parts:
        return None
    landmarks = stack_landmarks({side: faces.records for side, faces in sets.items()})
    if landmarks is None or any(own.shape[1] != 68 for own in landmarks.values()):
        raise RunError(
            "the loss weighs parts of the face (loss.background, eyes_weight, "
            "mouth_weight or mask_weight), but some faces have no 68 landmarks; "
            "extract them with --landmarks mesh, or train --preset lite"
        )
    return {side: draw_face_masks(own) for side, own in landmarks.items()}


def _note_detail(
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
) -> dict[Side, tuple[float, float]]:
    """How much fine detail each side's training faces have; see `detail`."""
    size = make_autoencoder(config.model).crop_size
    found: dict[Side, tuple[float, float]] = {}
    for side, faces in sets.items():
        own = among[side]
        # As many of any set: one program measures them.
        picked = own[np.linspace(0, len(own) - 1, _MEASURED).round().astype(int)]
        crops = crop_faces(np.asarray(faces.faces[picked]), size)
        fine, coarse = measure_energies(crops).tolist()
        found[side] = fine, coarse
    return found


@contextmanager
def claim_run(
    run: Path, config: TrainConfig, teacher: TeacherRun | None
) -> Iterator[None]:
    """Holds a run folder, which nobody else trains meanwhile."""
    check_run(run, config)
    check_teacher(run, teacher)
    with lock_output(run, lock=run / LOCK_NAME):
        write_run_config(run, config)
        write_teacher(run, teacher)
        yield


def compare_processes(told: Int[np.ndarray, "_ 3"], run: Path) -> None:
    """Checks what processes told each other: started, step, `fingerprint_run`.

    Raises:
        TrainingError: they would not train the same run alike.
    """
    leader, others = told[0], list(enumerate(told))[1:]
    for index, (started, step, fingerprint) in [(0, leader), *others]:
        if not started:
            raise TrainingError(f"process {index} could not start; see what it says")
        if step != leader[1]:
            raise TrainingError(
                f"process {index} finds step {step} in {run}, process 0 step "
                f"{leader[1]}; the run folder must be on a disk that all hosts see"
            )
        if fingerprint != leader[2]:
            raise TrainingError(
                f"process {index} has other settings or face sets than process 0; "
                "start all with the same command and the same face sets"
            )


def fingerprint_run(
    config: TrainConfig, facts: RunFacts, teacher: str, *counts: int
) -> int:
    """A number that differs where processes would train different things."""
    # Hosts may differ in cores and memory.
    settings = config_to_yaml(replace(config, workers=1, memory_limit_mb=0))
    text = settings + json.dumps([facts.color_shift, counts]) + teacher
    return zlib.crc32(text.encode()) >> 1  # the sign's bit stays free
