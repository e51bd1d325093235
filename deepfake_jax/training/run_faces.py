"""The faces of a run: which it trains on and which it is judged by; what they tell.

Every process of a run comes to the same results.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int, UInt8

from deepfake_jax.face_sets.face_colors import mean_color_shift
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import (
    align_hands,
    align_landmarks,
    stack_landmarks,
)
from deepfake_jax.imaging.glasses import Glasses, find_glasses
from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.held_out import Split, begin_split, resume_split, write_held
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.runs.run_folder import CHECKPOINTS, RunError
from deepfake_jax.train_config import TrainConfig, config_to_dict
from deepfake_jax.training.face_masks import draw_face_masks
from deepfake_jax.training.overlap_weights import weigh_alike
from deepfake_jax.training.rare_faces import weigh_rare
from deepfake_jax.training.teacher import TeacherRun
from deepfake_jax.types import Side, spread

# Fewer faces than this, and what comes of them; see "Small sets" in BENCHMARKS.md.
_SMALL_SETS = (
    (5, "a likeness in that pose and light; other ones come out wrong"),
    (30, "most poses and expressions are missing, and come out wrong"),
    (100, "enough for a first look, with faults where a pose or expression is new"),
)
# Of a side's faces, in which glasses are looked for, and degrees that they may turn.
_LOOKED_AT, _AHEAD = 60, 25
_log = logging.getLogger("deepfake_jax")


def split_faces(
    run: Path,
    sets: Mapping[Side, FaceSet],
    config: TrainConfig,
    *,
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
    return splits


def record_split(
    run: Path, sets: Mapping[Side, FaceSet], splits: Mapping[Side, Split]
) -> None:
    """Records the split of a run that begins, and says what to expect of it."""
    for side, split in splits.items():
        _say_what_to_expect(side, len(split.train))
    write_held(
        run, {side: [sets[side].records[i] for i in splits[side].held] for side in sets}
    )


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


def describe_run(
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
    teacher: TeacherRun | None,
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
        identities={
            side: faces.header["identity"]
            for side, faces in sets.items()
            if "identity" in faces.header
        },
        glasses=_find_glasses(sets, among),
        settings=config_to_dict(replace(config, steps=None, minutes=None)),
    )


def _find_glasses(
    sets: Mapping[Side, FaceSet], among: Mapping[Side, Int[np.ndarray, "_"]]
) -> dict[Side, Glasses]:
    """The glasses of those who wear some, by some of their faces that look ahead."""
    worn: dict[Side, Glasses] = {}
    for side, faces in sets.items():
        known = [
            index
            for index in among[side].tolist()
            if len(faces.records[index].landmarks) == 68
            and abs(faces.records[index].yaw or 0) < _AHEAD
        ]
        looked_at = [known[index] for index in spread(len(known), _LOOKED_AT)]
        glasses = find_glasses(
            [np.asarray(faces.faces[index]) for index in looked_at],
            [align_landmarks(faces.records[index]) for index in looked_at],
        )
        if glasses is not None:
            worn[side] = glasses
    return worn


def find_landmarks(
    config: TrainConfig, sets: Mapping[Side, FaceSet]
) -> dict[Side, Float64[np.ndarray, "_ p 2"]] | None:
    """Landmarks of all faces, where a run learns their shapes or moves features.

    Raises:
        RunError: features are to be moved, and a face has no 68 landmarks.
    """
    if config.augment.expressions:
        return dict(_stack_68("augment.expressions", sets))
    if not (config.loss.shape_weight and config.model.align_codes):
        return None
    found = stack_landmarks({side: faces.records for side, faces in sets.items()})
    full = found is not None and all(own.shape[1] == 68 for own in found.values())
    if not full and (told := _count_few(sets)):
        learned = "no shapes are learned" if found is None else "all give but five"
        _log.warning("%s; %s. %s", told, learned, _LEAVE_OUT)
    return found


_LEAVE_OUT = (
    "`deepfake-jax faces SET --drop 'landmarks<68'` leaves such faces out, and extract "
    "--landmarks mesh finds all 68"
)


def _count_few(sets: Mapping[Side, FaceSet]) -> str:
    """Which sets have faces without 68 landmarks, beside others; "" for none.

    Where no face has them, they were not wanted.
    """
    few = {
        side: sum(len(record.landmarks) != 68 for record in faces.records)
        for side, faces in sets.items()
    }
    if all(few[side] == len(faces.records) for side, faces in sets.items()):
        return ""
    return " and ".join(
        f"{few[side]} of the {len(faces.records)} faces of {side.upper()} "
        f"({faces.folder}) have no 68 landmarks"
        for side, faces in sets.items()
        if few[side]
    )


def find_chances(
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
) -> dict[Side, Float64[np.ndarray, "_"]] | None:
    """How likely each face is drawn, where rare ones are more often; else None.

    Args:
        config: the run's.
        sets: of both sides.
        among: which faces are trained on.

    Raises:
        RunError: a face has no 68 landmarks.
    """
    if not config.rare_share:
        return None
    chances: dict[Side, np.ndarray] = {}
    for side, own in _stack_68("rare_share", sets).items():
        rarity = weigh_rare(sets[side].faces, own, among[side])
        share = config.rare_share
        chances[side] = share * rarity + (1 - share) / len(rarity)
    return chances


def find_weights(
    config: TrainConfig,
    sets: Mapping[Side, FaceSet],
    among: Mapping[Side, Int[np.ndarray, "_"]],
) -> dict[Side, Float64[np.ndarray, "_"]] | None:
    """How much each face counts where codes of both people are compared.

    None where a run does not align codes, or a face has no 68 landmarks.

    Args:
        config: the run's.
        sets: of both sides.
        among: which faces are trained on.
    """
    if not config.model.align_codes:
        return None
    landmarks = stack_landmarks({side: faces.records for side, faces in sets.items()})
    if landmarks is None or any(own.shape[1] != 68 for own in landmarks.values()):
        return None
    return weigh_alike(sets, landmarks, among)


def find_middles(
    landmarks: Mapping[Side, Float64[np.ndarray, "_ p 2"]],
    weights: Mapping[Side, Float64[np.ndarray, "_"]] | None,
) -> dict[Side, Float64[np.ndarray, "p 2"]]:
    """Both people's mean landmarks.

    Args:
        landmarks: of all faces.
        weights: of each of them, see `find_weights`; None weighs them alike.
    """
    return {
        side: np.average(
            own, axis=0, weights=None if weights is None else weights[side]
        )
        for side, own in landmarks.items()
    }


def find_masks(
    config: TrainConfig, sets: Mapping[Side, FaceSet]
) -> dict[Side, UInt8[np.ndarray, "_ m m 3"]] | None:
    """Masks of all faces, where a run's loss weighs their parts; else None.

    Raises:
        RunError: a face has no 68 landmarks.
    """
    if not config.loss.weighs_parts:
        return None
    asking = "loss.background, eyes_weight, mouth_weight or mask_weight"
    found = _stack_68(asking, sets)
    return {
        side: draw_face_masks(own, sets[side].faces, align_hands(sets[side].records))
        for side, own in found.items()
    }


def _stack_68(
    asking: str, sets: Mapping[Side, FaceSet]
) -> Mapping[Side, Float64[np.ndarray, "_ 68 2"]]:
    """All faces' landmarks, for settings that need 68 of each."""
    landmarks = stack_landmarks({side: faces.records for side, faces in sets.items()})
    if landmarks is None or any(own.shape[1] != 68 for own in landmarks.values()):
        told = _count_few(sets) or "the faces have no 68 landmarks"
        raise RunError(
            f"the run looks at parts of the face ({asking}), but {told}; {_LEAVE_OUT}. "
            "Without them train --preset lite"
        )
    return landmarks
