"""The mask that options describe: what is drawn, and what is said when it cannot be."""

import numpy as np
import pytest

from deepfake_jax.conversion.face_mask import (
    MaskOptions,
    build_mask,
    draw_mask,
    finish_mask,
)
from deepfake_jax.convert_config import MASKS
from deepfake_jax.imaging.landmark_masks import hull_mask, mean_landmarks
from deepfake_jax.imaging.mask import classic_mask, feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask, rectangle_mask
from deepfake_jax.imaging.skin_mask import skin_mask

SIDE = 96
LANDMARKS = mean_landmarks(SIDE)
GREY = np.full((SIDE, SIDE, 3), 90, np.uint8)


@pytest.fixture
def skin_face() -> np.ndarray:
    face = np.full((SIDE, SIDE, 3), (70, 90, 150), np.uint8)
    face[12:84, 20:76] = (200, 140, 115)
    return face


@pytest.mark.parametrize("name", MASKS)
def test_every_name_is_drawn_then_softened(name: str, skin_face: np.ndarray):
    options = MaskOptions(names=(name,))
    drawn = draw_mask(options, face=skin_face, landmarks=LANDMARKS, mask_size=SIDE)
    built = build_mask(options, face=skin_face, landmarks=LANDMARKS, mask_size=SIDE)
    assert drawn.fell_back == built.fell_back == ()
    assert drawn.mask.dtype == np.float32 and drawn.mask.max() == pytest.approx(1)
    np.testing.assert_array_equal(built.mask, finish_mask(drawn.mask, options))
    if name == "classic":
        np.testing.assert_array_equal(built.mask, classic_mask(SIDE))
    else:
        assert built.mask.shape == (SIDE, SIDE)
        np.testing.assert_array_equal(built.mask, feather_mask(drawn.mask, 0.15))
        assert built.mask.sum() < drawn.mask.sum()


def test_names_are_joined_and_eroded():
    def draw(names: tuple[str, ...], **changes: object) -> np.ndarray:
        options = MaskOptions(names=names, **changes)  # type: ignore[arg-type]
        return draw_mask(options, face=None, landmarks=LANDMARKS, mask_size=SIDE).mask

    hull, oval = hull_mask(LANDMARKS, SIDE), oval_mask(SIDE)
    np.testing.assert_array_equal(draw(("hull", "oval")), hull * oval)
    both = draw(("hull", "oval"), combine="union")
    np.testing.assert_allclose(both, np.maximum(hull, oval), atol=1e-6)
    assert draw(("hull",), erode=0.05).sum() < hull.sum()
    assert draw(("hull",), erode=-0.05).sum() > hull.sum()


def test_without_landmarks_the_mean_face_is_drawn_and_said():
    options = MaskOptions(names=("hull", "eyes", "oval"), combine="union")
    drawn = draw_mask(options, face=None, landmarks=None, mask_size=SIDE)
    with_mean = draw_mask(options, face=None, landmarks=LANDMARKS, mask_size=SIDE)
    np.testing.assert_array_equal(drawn.mask, with_mean.mask)
    assert [text.split()[0] for text in drawn.fell_back] == ["hull", "eyes"]
    assert with_mean.fell_back == ()


def test_too_little_skin_gives_hull_or_rectangle(skin_face: np.ndarray):
    options = MaskOptions(names=("skin",))
    found = draw_mask(options, face=skin_face, landmarks=LANDMARKS, mask_size=SIDE)
    np.testing.assert_array_equal(found.mask, skin_mask(skin_face).mask)
    for landmarks, expected, word in (
        (LANDMARKS, hull_mask(LANDMARKS, SIDE), "hull"),
        (None, rectangle_mask(SIDE), "rectangle"),
    ):
        built = draw_mask(options, face=GREY, landmarks=landmarks, mask_size=SIDE)
        np.testing.assert_array_equal(built.mask, expected)
        assert len(built.fell_back) == 1 and word in built.fell_back[0]


def test_skin_needs_the_face_of_any_size(skin_face: np.ndarray):
    options = MaskOptions(names=("skin",))
    with pytest.raises(ValueError, match="skin needs.*face.*None"):
        draw_mask(options, face=None, landmarks=None, mask_size=SIDE)
    large = draw_mask(options, face=skin_face, landmarks=None, mask_size=2 * SIDE)
    assert large.mask.shape == (2 * SIDE, 2 * SIDE) and large.mask.max() == 1


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"names": ()}, "at least one"),
        ({"names": ("classic", "hull")}, "give it alone"),
        ({"erode": 0.5}, "erode.*0.5"),
        ({"feather": -0.1}, "feather.*-0.1"),
    ],
)
def test_options_are_checked_when_made(changes: dict, words: str):
    with pytest.raises(ValueError, match=words):
        MaskOptions(**changes)
