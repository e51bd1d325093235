"""Skin: the rules at their borders, cleaning, and what is kept."""

import numpy as np
import pytest

from deepfake_jax.imaging.skin_mask import MIN_SKIN, SkinSpace, find_skin, skin_mask

SPACES: list[SkinSpace] = ["rgb", "hsv", "ycrcb"]
SKIN, WALL = (200, 140, 115), (70, 90, 150)


def passes(color: tuple[int, int, int], space: SkinSpace) -> bool:
    return bool(find_skin(np.full((2, 2, 3), color, np.uint8), space=space).all())


def rgb_rule(face: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(face.astype(int), -1, 0)
    first = (r > g) & (r > b) & (abs(r - g) > 15)
    spread = face.max(axis=2).astype(int) - face.min(axis=2) > 15
    daylight = (r > 95) & (g > 40) & (b > 20) & spread
    return first & (daylight | ((r > 220) & (g > 210) & (b > 170)))


def test_rgb_is_the_rule_as_written(rng: np.random.Generator):
    face = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    # Half of the colours lie close to one of the rule's limits.
    limits = np.array([[96, 41, 21], [221, 211, 171], [120, 105, 105]])
    near = limits[rng.integers(0, 3, (128, 256))] + rng.integers(-16, 17, (128, 256, 3))
    face[:128] = np.clip(near, 0, 255)
    expected = rgb_rule(face)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(find_skin(face, space="rgb") > 0, expected)


@pytest.mark.parametrize("space", SPACES)
def test_rules_know_skin_from_walls(space: SkinSpace):
    for color in (SKIN, (225, 172, 150), (141, 85, 60)):
        assert passes(color, space), color
    for color in (WALL, (40, 120, 40), (128, 128, 128), (0, 0, 0), (255, 255, 255)):
        assert not passes(color, space), color


def test_hsv_and_ycrcb_end_where_they_say():
    # Saturation 0.5 at full red: hue 0 is blue = green, 60 is green = red.
    assert passes((200, 180, 100), "hsv")  # hue 48 degrees
    assert not passes((200, 190, 100), "hsv")  # 54
    assert not passes((200, 170, 160), "hsv")  # saturation 0.20
    assert not passes((200, 80, 60), "hsv")  # saturation 0.70
    # Full-range chroma of a grey plus red: Cr 128 + 0.713 (R - Y), so Cr 134 needs
    # 12 more red than grey, and blue as grey keeps Cb above 70.
    assert not passes((110, 100, 100), "ycrcb")  # Cr 133 of 255: 132.4 of 224
    assert passes((113, 100, 97), "ycrcb")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("side", [64, 128])
def test_face_is_kept_without_specks_and_holes(
    space: SkinSpace, side: int, rng: np.random.Generator
):
    y, x = np.mgrid[:side, :side] / side - 0.5
    disc = x**2 + y**2 < 0.33**2
    face = np.where(disc[..., None], SKIN, WALL).astype(np.uint8)
    clean = skin_mask(face, space=space)
    assert clean.mask.dtype == np.float32
    assert clean.share == pytest.approx(disc.mean(), rel=0.05)
    for cx, cy in ((-0.12, -0.1), (0.12, -0.1), (0, 0.15)):  # eyes and mouth
        hole = (x - cx) ** 2 + (y - cy) ** 2 < 0.05**2
        face[hole] = (30, 25, 60)
    corner = (x < -0.4) & (y < -0.4)  # skin elsewhere: a hand
    face[corner] = SKIN
    speck = rng.random((side, side)) < 0.003
    face[speck & ~disc] = SKIN
    face[speck & disc] = WALL
    dirty = skin_mask(face, space=space)
    assert dirty.mask[corner].max() < 0.05
    assert dirty.mask[np.hypot(x, y) < 0.28].min() > 0.95
    assert np.abs(dirty.mask - clean.mask).mean() < 0.02


def test_share_tells_when_there_is_no_skin():
    for color in (WALL, (90, 90, 90)):
        none = skin_mask(np.full((64, 64, 3), color, np.uint8))
        assert none.share == 0 and not none.mask.any()
    full = skin_mask(np.full((64, 64, 3), SKIN, np.uint8))
    assert full.share == 1 and full.mask.min() > 0.999
    edge = np.full((64, 64, 3), WALL, np.uint8)
    edge[:, :12] = SKIN  # a neighbour's cheek, none in the middle
    assert skin_mask(edge).share == 0
    assert 0 < MIN_SKIN < 0.5


def test_unknown_space_is_named(unchecked: None):
    with pytest.raises(ValueError, match="rgb, hsv or ycrcb.*'lab'"):
        find_skin(np.zeros((4, 4, 3), np.uint8), space="lab")  # type: ignore[arg-type]
