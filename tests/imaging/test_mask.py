"""Masks: range, symmetry, soft borders, and the classic smooth_mask."""

from typing import Literal

import numpy as np
import pytest

from deepfake_jax.imaging.mask import (
    classic_mask,
    combine_masks,
    erode_mask,
    feather_mask,
    smooth_mask,
)
from deepfake_jax.imaging.mask_shapes import oval_mask, rectangle_mask

MASKS = {"rectangle": rectangle_mask, "oval": oval_mask}
HOW: list[Literal["product", "union", "minimum"]] = ["product", "union", "minimum"]
SIZES = [1, 2, 64, 101, 256]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("face_size", SIZES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.49])
def test_masks_lie_in_zero_to_one_and_are_symmetric(
    name: str, face_size: int, share: float
):
    mask = feather_mask(MASKS[name](face_size), share)
    assert mask.shape == (face_size, face_size)
    assert mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    # Blurred sums run in one direction: float32 rounding.
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(mask, mask[::-1], atol=1e-6)


@pytest.mark.parametrize("face_size", SIZES)
def test_rectangle_leaves_its_inset_free(face_size: int):
    border = face_size // 15
    mask = rectangle_mask(face_size)
    inner = mask[border : face_size - border, border : face_size - border]
    assert np.all(inner == 1)
    assert mask.sum() == inner.size
    assert np.all(rectangle_mask(face_size, inset=0.0) == 1)


def test_masks_name_a_share_that_leaves_nothing():
    for inset in (0.5, -0.1):
        with pytest.raises(ValueError, match=f"inset.*{inset}"):
            rectangle_mask(64, inset=inset)
        with pytest.raises(ValueError, match=f"share.*{inset}"):
            feather_mask(oval_mask(64), inset)


def test_oval_has_the_area_of_its_ellipse():
    mask = oval_mask(512, width=0.8, height=0.9, exponent=2.0)
    # pi a b, up to the pixels along the outline.
    assert mask.mean() == pytest.approx(np.pi / 4 * 0.8 * 0.9, rel=5e-3)
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    assert columns.mean() == pytest.approx(0.8, abs=2 / 512)
    assert rows.mean() == pytest.approx(0.9, abs=2 / 512)
    areas = [oval_mask(128, exponent=exponent).sum() for exponent in (1.0, 2.0, 4.0)]
    assert areas == sorted(areas)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_feather_falls_from_the_middle_outwards(name: str, share: float):
    mask = feather_mask(MASKS[name](256), share)
    for line in (mask[128, 128:], mask[128:, 128], np.diag(mask)[128:]):
        assert np.all(np.diff(line) <= 1e-6)  # float32 sums of the blur
        assert line[0] > 0.9
    # Soft: no step of more than twice the even slope over the border's width.
    assert np.abs(np.diff(mask[128])).max() < 4 / (share * 256)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_feather_ends_where_the_mask_ended(name: str, share: float):
    mask = MASKS[name](256)
    soft = feather_mask(mask, share)
    assert np.all(soft <= mask)
    radius = round(share * 128)
    # Where the mask is far from its end it stays whole: 2 radii along the middle row.
    first = int(np.argmax(mask[128] > 0))
    # Round borders come nearer above and below, which costs the oval half a percent.
    assert soft[128, first + 2 * radius] > 0.99
    assert 0 < soft[128, first] < 0.2


def test_feather_of_zero_width_is_the_mask():
    mask = oval_mask(64)
    np.testing.assert_array_equal(feather_mask(mask, 0.0), mask)


def test_feather_of_a_full_or_an_empty_mask():
    full = feather_mask(np.ones((64, 64), np.float32), 0.2)
    assert full[32, 32] == pytest.approx(1, abs=1e-5)
    assert full[0].max() < 0.2
    assert not feather_mask(np.zeros((64, 64), np.float32), 0.2).any()


def test_feather_looks_alike_at_any_resolution():
    large, small = (feather_mask(oval_mask(size), 0.2) for size in (256, 128))
    halved = large.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    # The outline falls on other pixels, worth a pixel of the border's slope.
    assert np.abs(halved - small).max() < 2 / (0.2 * 128)


def test_smooth_mask_keeps_the_border_and_shows_the_new_face_inside():
    old = np.zeros((160, 160, 3), np.uint8)
    new = np.full((160, 160, 3), 255, np.uint8)
    out = smooth_mask(old, new)
    # The box is inset by 160 // 15 = 10, the blur of 15 px reaches 7 beyond.
    for border in (out[:3], out[-3:], out[:, :3], out[:, -3:]):
        assert np.all(border == 0)
    assert np.all(out[17:143, 17:143] == 255)
    assert 0 < out[8, 80, 0] < 255
    # A face's own value comes back: the weights sum to one.
    np.testing.assert_array_equal(smooth_mask(new, new), new)


def test_smooth_mask_mixes_by_the_classic_mask(rng: np.random.Generator):
    old, new = rng.integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    mask = classic_mask(160)[..., None].astype(np.float64)
    expected = mask * new + (1 - mask) * old
    # Rounded once; float32 arithmetic may fall to the other side of a half.
    assert np.abs(smooth_mask(old, new) - expected).max() <= 0.5 + 1e-3


def test_classic_mask_is_a_soft_box():
    mask = classic_mask(150)
    assert mask.shape == (150, 150) and mask.dtype == np.float32
    assert mask[75, 75] == pytest.approx(1, abs=1e-6)
    assert mask[:3].max() == 0 and mask[0].max() == 0
    # Half-way at the box's edge, between pixels 9 and 10.
    assert mask[9:11, 75].mean() == pytest.approx(0.5, abs=1e-5)


def test_smooth_mask_names_both_shapes(unchecked: None):
    old, new = np.zeros((160, 160, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"one shape.*\(160, 160, 3\).*\(64, 64, 3\)"):
        smooth_mask(old, new)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2])
def test_erosion_moves_the_border_by_its_share(share: float):
    mask = np.zeros((200, 200), np.float32)
    mask[50:150, 50:150] = 1
    for sign in (1, -1):
        moved = erode_mask(mask, sign * share)
        width = moved[100].sum()
        assert width == pytest.approx(100 - 2 * sign * share * 200, abs=1e-3)
    oval = oval_mask(200, width=0.7, height=0.7, exponent=2.0)
    for sign in (1, -1):
        # The octagon reaches 0 to 8 % further than a disc of its radius.
        side = 2 * np.sqrt(erode_mask(oval, sign * share).sum() / np.pi)
        expected = 140 - 2 * sign * share * 200
        assert abs(side - expected) < 2 * 0.08 * share * 200 + 1


def test_erosion_is_continuous_in_its_share():
    mask = oval_mask(128, width=0.8, height=0.8)
    shares = np.linspace(-0.06, 0.06, 121)
    moved = [erode_mask(mask, share) for share in shares]
    for one, next_one in zip(moved, moved[1:], strict=False):
        assert np.all(next_one <= one + 1e-6)
        # A step of a thousandth is 0.128 pixels, twice that where two octagons meet.
        assert np.abs(next_one - one).max() < 0.27


def test_erosion_of_nothing_and_of_everything():
    mask = oval_mask(64)
    assert erode_mask(mask, 0.0) is mask
    full = erode_mask(np.ones((64, 64), np.float32), 0.125)
    assert full[8:-8, 8:-8].min() == 1 and full[:8].max() == 0
    assert not erode_mask(np.zeros((64, 64), np.float32), -0.2).any()
    assert erode_mask(np.ones((64, 64), np.float32), -0.2).min() == 1
    for share in (0.5, -0.5):
        with pytest.raises(ValueError, match=f"share.*{share}"):
            erode_mask(mask, share)


def test_masks_are_combined(rng: np.random.Generator):
    one, two, three = rng.random((3, 16, 16), dtype=np.float32)
    both = {how: combine_masks([one, two], how) for how in HOW}
    np.testing.assert_array_equal(both["product"], one * two)
    np.testing.assert_array_equal(both["minimum"], np.minimum(one, two))
    np.testing.assert_allclose(both["union"], one + two - one * two, atol=1e-6)
    assert np.all(both["union"] >= np.maximum(one, two) - 1e-6)
    for how in HOW:
        np.testing.assert_allclose(combine_masks([one], how), one, atol=1e-7)
        assert combine_masks([one, two, three], how).dtype == np.float32


def test_masks_that_cannot_be_combined_are_named(unchecked: None):
    with pytest.raises(ValueError, match="at least one"):
        combine_masks([], "product")
    with pytest.raises(ValueError, match=r"one shape.*\(8, 8\).*\(6, 6\)"):
        combine_masks([oval_mask(8), oval_mask(6)], "union")
