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
from deepfake_jax.imaging.landmark_masks import (
    eyes_mask,
    features_mask,
    hull_mask,
    mean_landmarks,
)
from deepfake_jax.imaging.mask import classic_mask, erode_mask, feather_mask
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


def test_networks_own_mask_bounds_what_is_drawn():
    seen = np.ones((48, 48), np.float32)
    seen[:, 24:] = 0

    def draw(**changes: object) -> np.ndarray:
        options = MaskOptions(names=("hull",), **changes)  # type: ignore[arg-type]
        given = {"face": None, "landmarks": LANDMARKS, "mask_size": SIDE, "seen": seen}
        return draw_mask(options, **given).mask  # type: ignore[arg-type]

    hull, bounded = hull_mask(LANDMARKS, SIDE), draw(drawn=True)
    # Without such a mask a face has a rim of background.
    options = MaskOptions(names=("hull",), drawn=True)
    unseen = draw_mask(options, face=None, landmarks=LANDMARKS, mask_size=SIDE).mask
    np.testing.assert_array_equal(unseen, erode_mask(hull, 0.03))
    np.testing.assert_array_equal(draw(), hull)
    np.testing.assert_array_equal(bounded[:, : SIDE // 2 - 1], hull[:, : SIDE // 2 - 1])
    assert bounded[:, SIDE // 2 + 1 :].max() == 0 < hull[:, SIDE // 2 + 1 :].max()


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
    assert large.mask.shape == (2 * SIDE, 2 * SIDE) and large.mask.max() > 0.99


def open_mouth(share: float) -> np.ndarray:
    """The mean face with its jaw and lower lip lowered by a share of the side."""
    landmarks = LANDMARKS.copy()
    landmarks[5:12, 1] += share * SIDE
    landmarks[[55, 56, 57, 58, 59, 65, 66, 67], 1] += share * SIDE
    return landmarks


@pytest.mark.parametrize("mask", ["hull", "extended", "oval", "rectangle"])
@pytest.mark.parametrize("opened", [0.0, 0.08])
def test_features_of_the_source_are_covered(mask: str, opened: float):
    landmarks = open_mouth(opened)
    features = features_mask(landmarks, SIDE)

    def leak(*, cover: bool) -> float:
        options = MaskOptions(names=(mask,), erode=0.06, feather=0.18, cover=cover)
        built = build_mask(options, face=None, landmarks=landmarks, mask_size=SIDE)
        return float((features * (1 - built.mask)).sum() / features.sum())

    # A hull without forehead ends in the middle of the brows.
    assert leak(cover=False) > 0.15
    assert leak(cover=True) < (0.15 if mask == "hull" else 0.02)


def test_cover_shows_no_more_than_the_mask_does():
    options = MaskOptions(names=("eyes",), erode=0.06, feather=0.18, cover=True)
    built = build_mask(options, face=None, landmarks=LANDMARKS, mask_size=SIDE)
    mouth = LANDMARKS[48:68].astype(int)
    assert not built.mask[mouth[:, 1], mouth[:, 0]].any()
    # What a mask is made of fades out within a tenth of the side beyond it.
    beyond = erode_mask(eyes_mask(LANDMARKS, SIDE), -0.04) == 0
    assert not built.mask[beyond].any()
    classic = MaskOptions(names=("classic",), cover=True)
    drawn = draw_mask(classic, face=None, landmarks=LANDMARKS, mask_size=SIDE)
    assert drawn.cover is None


def test_cover_follows_its_landmarks_without_jumps():
    options = MaskOptions(names=("extended",), cover=True)
    masks = [
        build_mask(
            options, face=None, landmarks=LANDMARKS + offset, mask_size=SIDE
        ).mask
        for offset in (0.0, 0.02, 0.04)
    ]
    assert np.abs(np.diff(masks, axis=0)).max() < 0.02


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
