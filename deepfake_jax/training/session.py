"""What a call of `train` begins with: a `Session`, in which nothing changes.

`start_session` reads and checks all that can be refused before it writes anything, and
the run's config last: a start that fails leaves a run as it was. Every process of a run
calls it alike and comes to the same result.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64, Int64, UInt8

from deepfake_jax.evaluation.held_out import Gauge
from deepfake_jax.face_sets.face_arrays import ShiftedFaces
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.models.network import Network
from deepfake_jax.output_lock import lock_output
from deepfake_jax.runs.checkpoint import restore_checkpoint
from deepfake_jax.runs.consent import record_consent
from deepfake_jax.runs.feature_network import load_feature_network
from deepfake_jax.runs.held_out import Split
from deepfake_jax.runs.metrics_file import truncate_metrics
from deepfake_jax.runs.recorded_sets import check_people, write_sets
from deepfake_jax.runs.run_card import hash_sets, write_card
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    LOCK_NAME,
    METRICS_NAME,
    check_run,
    read_run_config,
    write_run_config,
)
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.training.devices import Devices, find_devices
from deepfake_jax.training.host_memory import keep_freed_memory
from deepfake_jax.training.init_run import load_parameters, start_with
from deepfake_jax.training.mesh_guide import make_mesh_guide
from deepfake_jax.training.precision import settle_precision
from deepfake_jax.training.processes import compare_processes, fingerprint_run
from deepfake_jax.training.run_faces import (
    describe_run,
    find_chances,
    find_landmarks,
    find_masks,
    find_middles,
    find_weights,
    record_split,
    split_faces,
)
from deepfake_jax.training.state import (
    Teacher,
    TrainState,
    init_state,
    state_from_tree,
)
from deepfake_jax.training.teacher import (
    TeacherRun,
    check_teacher,
    load_teacher,
    write_teacher,
)
from deepfake_jax.types import SIDES, Side

_log = logging.getLogger("deepfake_jax")


@dataclass(frozen=True, eq=False, kw_only=True)
class Session:
    """One call of `train`, as it begins.

    Attributes:
        run: the run's folder.
        config: the run's.
        devices: to train on.
        rows: this process's share of each batch.
        step: updates that the run has had.
        facts: what else it knows.
        state: of that step, on the devices; the first update takes its memory.
        teacher: whose swaps to learn, on the devices, or None.
        faces: of both sides, as they are trained on.
        among: which of them are.
        chances: of each of these to be drawn, where rare ones are drawn more often, or
            None.
        landmarks: of all faces, where a run learns their shapes, or None.
        middles: their means, of faces in which both people do the same, likewise.
        masks: of all faces, where the loss weighs parts of the face.
        weights: likewise, of how much each counts in the moments of codes, where these
            are aligned.
        gauge: measures held-out faces in the leader's process; None where there are
            none or nobody asked.
    """

    run: Path
    config: TrainConfig
    devices: Devices
    rows: slice
    step: int
    facts: RunFacts
    state: TrainState
    teacher: Teacher | None
    faces: Mapping[Side, UInt8[Any, "_ h w 3"]]
    among: Mapping[Side, Int64[np.ndarray, "_"]]
    chances: Mapping[Side, Float64[np.ndarray, "_"]] | None
    landmarks: Mapping[Side, Float64[np.ndarray, "_ p 2"]] | None
    middles: Mapping[Side, Float64[np.ndarray, "p 2"]] | None
    masks: Mapping[Side, UInt8[np.ndarray, "_ m m 3"]] | None
    weights: Mapping[Side, Float64[np.ndarray, "_"]] | None
    gauge: Gauge | None


@contextmanager
def start_session(
    folders: Mapping[Side, str | Path],
    run: Path,
    config: TrainConfig,
    *,
    min_faces: int = 1,
    devices: int | None = None,
    init: str | Path | None = None,
    init_decoders: bool = False,
    teacher: str | Path | None = None,
    consent: str = "",
) -> Iterator[Session]:
    """Holds a run folder, which nobody else trains meanwhile; see `loop.train`.

    Args:
        folders: of both sides' face sets.
        run: the run's.
        config: what to do.
        min_faces: as for `train`; likewise all that follow.
        devices: likewise.
        init: likewise.
        init_decoders: likewise.
        teacher: likewise.
        consent: likewise.
    """
    place = find_devices(devices)
    rows = place.rows(config.batch_size)
    is_new = not run.exists()
    with ExitStack() as stack:
        try:
            config = _settle(run, config)
            keep_freed_memory(config.model)
            sets: dict[Side, FaceSet] = {
                side: load_faces(
                    folders[side],
                    min_faces=min_faces,
                    memory_limit_mb=config.memory_limit_mb,
                )
                for side in SIDES
            }
            taught = load_teacher(teacher, run, config)
            start = load_parameters(run, config, init, decoders=init_decoders)
            check_run(run, config)
            check_teacher(run, taught)
            if place.leads:
                check_people(run, sets)
                stack.callback(_remove_empty, run, is_new=is_new)
                stack.enter_context(lock_output(run, lock=run / LOCK_NAME))
            splits = split_faces(run, sets, config, teacher=taught)
            session = _begin(run, config, sets, splits, place, rows, start, taught)
        except BaseException:
            place.meet(0, 0, 0)
            raise
        told = "" if taught is None else taught.name
        counts = [len(own) for own in session.among.values()]
        fingerprint = fingerprint_run(config, session.facts, told, *counts)
        compare_processes(place.meet(1, session.step, fingerprint), run)
        if place.leads:
            _record_start(session, sets, splits, taught, consent)
        yield session


def _record_start(
    session: Session,
    sets: Mapping[Side, FaceSet],
    splits: Mapping[Side, Split],
    teacher: TeacherRun | None,
    consent: str,
) -> None:
    """Writes down what the run is of; its metrics go on from the session's step."""
    run, config = session.run, session.config
    if not session.step:
        record_split(run, sets, splits)
    write_teacher(run, teacher)
    write_sets(run, sets)
    if consent:
        record_consent(run, consent, hash_sets(sets))
    write_card(run, sets, config)
    truncate_metrics(run / METRICS_NAME, session.step, every=config.log_every)
    write_run_config(run, config)


def _settle(run: Path, config: TrainConfig) -> TrainConfig:
    """The config with the run's own type of arithmetic for `auto`, or the faster."""
    existing = read_run_config(run)
    recorded = None if existing is None else existing.model
    return replace(config, model=settle_precision(config.model, recorded))


def _remove_empty(run: Path, *, is_new: bool) -> None:
    """Removes the folder that a start made for its lock alone."""
    if is_new and run.is_dir() and not any(run.iterdir()):
        run.rmdir()


def _begin(
    run: Path,
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    splits: Mapping[Side, Split],
    devices: Devices,
    rows: slice,
    start: Network | None,
    teacher: TeacherRun | None,
) -> Session:
    """The session of a run that begins or goes on; writes nothing."""
    among: dict[Side, np.ndarray] = {side: splits[side].train for side in SIDES}
    facts = describe_run(config, sets, among, teacher)
    state = start_with(init_state(jax.random.key(config.seed), config), start)
    landmarks = find_landmarks(config, sets)
    weights = find_weights(config, sets, among)
    if config.loss.mesh_weight:
        state = replace(state, mesh=make_mesh_guide(sets, among, weights))
    if config.loss.perceptual_weight:
        state = replace(state, features=load_feature_network())
    state, facts = _go_on(run, state, facts)
    judged = config.judge_every and all(len(split.held) for split in splits.values())
    if config.until and not judged:
        _log.warning(
            "until %s: without held-out faces of both sides, or with judge_every 0, "
            "nobody sees whether the run improves; it ends by steps or minutes",
            config.until,
        )
    return Session(
        run=run,
        config=config,
        devices=devices,
        rows=rows,
        step=int(state.step),
        facts=facts,
        state=devices.put_state(state),
        teacher=None if teacher is None else devices.put_state(teacher.network),
        faces={"a": ShiftedFaces(sets["a"].faces, facts.shift), "b": sets["b"].faces},
        among=among,
        landmarks=landmarks,
        middles=None if landmarks is None else find_middles(landmarks, weights),
        chances=find_chances(config, sets, among),
        masks=find_masks(config, sets),
        weights=weights,
        gauge=(
            Gauge(state.model, sets, splits, facts)
            if judged and devices.leads
            else None
        ),
    )


def _go_on(
    run: Path, state: TrainState, facts: RunFacts
) -> tuple[TrainState, RunFacts]:
    """A fresh state and its facts, or those of the run's newest good checkpoint."""
    restored = restore_checkpoint(run / CHECKPOINTS)
    if restored is None:
        return state, facts
    _log.info("going on at step %d", restored.step)
    if restored.facts.color_shift != facts.color_shift:
        _log.info("the run keeps the shift of color that it began with")
    known = replace(
        restored.facts,
        model=facts.model,
        identities=facts.identities,
        glasses=facts.glasses,
        settings=facts.settings,
    )
    return state_from_tree(restored.tree, state), known
