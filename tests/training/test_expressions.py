"""Faces whose features are moved: pictures, masks and landmarks go together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.imaging.face_template import FACE_SIZE, template_landmarks
from deepfake_jax.runs.run_folder import RunError
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.augment import apply_cuts, draw_cuts
from deepfake_jax.training.data import make_batch
from deepfake_jax.training.expressions import (
    MOVES,
    NUMBERS,
    displace,
    draw_expressions,
    move_landmarks,
    move_places,
    moves_anything,
)
from deepfake_jax.training.face_masks import cut_masks, draw_face_masks
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES

STILL: dict[str, Any] = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "warp_scale": 0.0}
UPPER_LIDS, LOWER_LIDS = [37, 38, 43, 44], [40, 41, 46, 47]


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    """Of a face whose mouth is open."""
    found = template_landmarks(FACE_SIZE, count=68)
    found[60:68, 1] += np.where(np.arange(60, 68) < 65, -3, 3)
    found[55:60, 1] += 3
    return found


def gaps(points: np.ndarray, upper: list[int], lower: list[int]) -> np.ndarray:
    return points[:, lower, 1].mean(1) - points[:, upper, 1].mean(1)


def test_so_many_faces_are_moved_and_each_draw_is_its_seeds(landmarks) -> None:
    many = np.repeat(landmarks[None], 2000, axis=0)
    drawn = [
        draw_expressions(np.random.default_rng(5), many, share=share)
        for share in (0.3, 0.3, 0.0)
    ]
    assert drawn[0].shape == (2000, MOVES, NUMBERS)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert 0.26 < moves_anything(drawn[0]).mean() < 0.34
    assert not moves_anything(drawn[2]).any()


def test_mouths_open_and_close_and_lids_close(landmarks) -> None:
    many = np.repeat(landmarks[None], 500, axis=0)
    moves = draw_expressions(np.random.default_rng(0), many, share=1.0)
    moved = move_landmarks(many, moves)
    lids = gaps(moved, UPPER_LIDS, LOWER_LIDS) / gaps(many, UPPER_LIDS, LOWER_LIDS)
    assert (lids > 0).all() and lids.min() < 0.2 and lids.max() > 1.1
    lips = gaps(moved, [61, 62, 63], [65, 66, 67])
    lips /= gaps(many, [61, 62, 63], [65, 66, 67])
    assert (lips > 0).all() and lips.min() < 0.6 and lips.max() > 1.5
    corners = moved[:, [48, 54]] - many[:, [48, 54]]
    assert 1 < corners.std() < 8


def test_nothing_is_folded(landmarks) -> None:
    many = np.repeat(landmarks[None], 300, axis=0)
    y, x = np.indices((FACE_SIZE, FACE_SIZE)).astype(np.float32)
    folded = []
    for moves in draw_expressions(np.random.default_rng(1), many, share=1.0):
        places = np.stack([x, y])
        move_places(places[:, None], moves)
        rise = np.diff(places[1], axis=0)
        folded.append((rise < -0.05).mean())
    assert np.mean(np.array(folded) > 0.002) < 0.05


def test_places_are_moved_as_the_sum_of_all_moves_says(landmarks) -> None:
    rng = np.random.default_rng(2)
    (moves,) = draw_expressions(rng, landmarks[None], share=1.0)
    start = draw_cuts(rng, 1, crop_size=96)[0, 1].transpose(2, 0, 1)
    places = cv2.resize(start.transpose(1, 2, 0), (96, 96)).transpose(2, 0, 1)
    places = np.ascontiguousarray(places, np.float32)
    x, y = places
    wanted = places + sum(np.stack(displace(x, y, move)) for move in moves)
    move_places(places[:, None], moves)
    np.testing.assert_allclose(places, wanted, atol=1e-4)


def test_landmarks_masks_and_pictures_are_moved_alike(landmarks) -> None:
    n = 40
    many = np.repeat(landmarks[None], n, axis=0)
    rng = np.random.default_rng(3)
    moves = draw_expressions(rng, many, share=1.0)
    moved = move_landmarks(many, moves)
    grids = draw_cuts(rng, n, crop_size=160, flip=0.0, **STILL)
    chosen = np.zeros(n, np.int64)
    # Corners of the mouth, a brow and the chin: dots, whose middles are found again.
    for point in (48, 54, 19, 8):
        face = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
        place = tuple(int(v) for v in landmarks[point].round())
        cv2.circle(face, place, 2, (255, 255, 255), -1, cv2.LINE_AA)
        _, targets = apply_cuts(face[None], chosen, grids, 160, moves)
        for target, where in zip(targets, moved[:, point], strict=True):
            weights = target[..., 0].astype(float)
            y, x = (np.indices(weights.shape) * weights).sum((1, 2)) / weights.sum()
            at = np.array([x, y]) + (FACE_SIZE - 160) / 2
            assert np.linalg.norm(at - where - place + landmarks[point]) < 1.5
    bare = np.full((n, FACE_SIZE, FACE_SIZE, 3), 160, np.uint8)
    masks = draw_face_masks(landmarks[None], bare[:1])
    own = cut_masks(masks, chosen, grids[:, 1], 160, moves)
    again = draw_face_masks(moved, bare)
    wanted = cut_masks(again, np.arange(n), grids[:, 1], 160)
    mouth = np.abs(own[..., 2].astype(int) - wanted[..., 2])
    assert mouth.mean() < 0.03 * 255 * 0.5
    assert mouth.mean() < 0.5 * np.abs(own[..., 2].astype(int) - own[:1, ..., 2]).mean()


def test_a_batch_shows_what_its_landmarks_say(landmarks) -> None:
    rng = np.random.default_rng(4)
    face = cv2.resize(
        rng.integers(0, 256, (32, 32, 3), np.uint8), (FACE_SIZE, FACE_SIZE)
    )
    faces = dict.fromkeys(SIDES, face[None])
    options: dict[str, Any] = {
        **{"seed": 1, "step": 2, "batch_size": 8, "crop_size": 64},
        "landmarks": dict.fromkeys(SIDES, landmarks[None]),
        "masks": dict.fromkeys(SIDES, draw_face_masks(landmarks[None], face[None])),
    }
    still = make_batch(faces, augment=AugmentConfig(), **options)["a"]
    moved = make_batch(faces, augment=AugmentConfig(expressions=0.5), **options)["a"]
    # The same warps; of some faces other features.
    same = [
        np.array_equal(*pair) for pair in zip(moved.target, still.target, strict=True)
    ]
    assert 1 <= sum(same) <= 7
    for name in ("warped", "shape", "mask"):
        parts = zip(getattr(moved, name), getattr(still, name), strict=True)
        assert [np.allclose(*pair, atol=1e-6) for pair in parts] == same, name


def test_moving_features_needs_68_landmarks(tmp_path: Path) -> None:
    for side in SIDES:
        write_face_set(tmp_path / side, 4)
    config = replace(tiny_config(batch_size=4), augment=AugmentConfig(expressions=0.5))
    with pytest.raises(RunError, match="augment.expressions.*no 68 landmarks"):
        train(tmp_path / "a", tmp_path / "b", tmp_path / "run", config)
