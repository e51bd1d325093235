"""The shift of color that matches two people: their skins', whatever is behind them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import write_face_set

from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_colors import mean_color_shift, measure_skin
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.imaging.landmark_masks import fill_hull
from deepfake_jax.types import SIDES, Side

FACE = fill_hull(template_landmarks(count=68), 256, margin=20.0) > 0
SKINS = {"a": (190, 140, 120), "b": (163, 150, 128)}
WALLS = {"a": (40, 60, 200), "b": (245, 245, 245)}


def paint(folder: Path, skin: tuple, wall: tuple, *, points: int = 68) -> FaceSet:
    """A set of even faces before an even wall."""
    faces = load_faces(write_face_set(folder, 3, points=points))
    picture = np.where(FACE[..., None], skin, wall).astype(np.uint8)
    return replace(faces, faces=np.stack([picture] * 3))


@pytest.mark.parametrize("points", [68, 5, 3])
def test_a_blue_wall_and_a_white_one_do_not_count(tmp_path: Path, points: int):
    sets: dict[Side, FaceSet] = {
        side: paint(tmp_path / side, SKINS[side], WALLS[side], points=points)
        for side in SIDES
    }
    shift = mean_color_shift(sets)
    np.testing.assert_allclose(shift, np.subtract(SKINS["b"], SKINS["a"]), atol=0.5)
    # Over whole pictures red would have to rise by far.
    whole = sets["b"].faces.mean(axis=(0, 1, 2)) - sets["a"].faces.mean(axis=(0, 1, 2))
    assert whole[0] > 50
    moved = replace(sets["a"], faces=shift_color(sets["a"].faces, shift))
    again = mean_color_shift({"a": moved, "b": sets["b"]})
    assert np.abs(again).max() <= 0.5 + 1e-3  # whole levels


def test_only_the_faces_chosen_count(tmp_path: Path):
    faces = paint(tmp_path / "a", SKINS["a"], WALLS["a"])
    faces.faces[1:] = 0
    none = np.arange(3)
    assert measure_skin(faces, chosen=none[:1]) == pytest.approx(SKINS["a"], abs=1e-3)
    assert measure_skin(faces) == pytest.approx(np.divide(SKINS["a"], 3), abs=1e-3)
    shift = mean_color_shift(
        {"a": faces, "b": faces}, among={"a": none[:1], "b": none[1:]}
    )
    assert shift == pytest.approx(np.negative(SKINS["a"]), abs=1e-3)
