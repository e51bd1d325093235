"""The seam figure: full for a hard paste, little for a soft one, blind to texture."""

import numpy as np
import pytest
from skimage.color import deltaE_cie76, lab2rgb, rgb2lab

from deepfake_jax.evaluation.seam import seam_error
from deepfake_jax.imaging.blend import alpha_blend
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask, rectangle_mask

FLAT, OTHER = (150, 110, 95), (165, 118, 90)


def fill(color: tuple[int, ...], side: int = 160) -> np.ndarray:
    return np.full((side, side, 3), color, np.uint8)


def draw_texture(rng: np.random.Generator, side: int = 160) -> np.ndarray:
    """Coarse noise: strong edges every ten pixels."""
    cells = rng.uniform(0.25, 0.75, (side // 10, side // 10, 3))
    return np.rint(np.kron(cells, np.ones((10, 10, 1))) * 255).astype(np.uint8)


@pytest.mark.parametrize("side", [60, 160, 400])
@pytest.mark.parametrize("shape", ["oval", "rectangle"])
def test_hard_paste_shows_its_whole_step(side: int, shape: str):
    mask = oval_mask(side) if shape == "oval" else rectangle_mask(side)
    old, new = fill(FLAT, side), fill(OTHER, side)
    expected = float(deltaE_cie76(rgb2lab(old[0, 0] / 255), rgb2lab(new[0, 0] / 255)))
    assert expected > 5
    # OpenCV's Lab is in float32 with a table: 0.01.
    found = seam_error(old, alpha_blend(old, new, mask), mask)
    assert found == pytest.approx(expected, rel=0.01)


def test_soft_border_shows_little_and_a_softer_one_less():
    old, new = fill(FLAT), fill(OTHER)
    errors = []
    for share in (0.0, 0.05, 0.1, 0.2, 0.3):
        mask = feather_mask(oval_mask(160, width=0.9, height=0.9), share)
        errors.append(seam_error(old, alpha_blend(old, new, mask), mask))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.5 * errors[0] and errors[4] < 0.2 * errors[0]


def test_untouched_picture_has_no_seam(rng: np.random.Generator):
    source = draw_texture(rng)
    assert seam_error(source, source.copy(), oval_mask(160)) == 0


def test_texture_of_the_source_does_not_count(rng: np.random.Generator):
    source, mask = draw_texture(rng), oval_mask(160)
    offset = np.array([6.0, 3.0, -2.0])
    shifted = lab2rgb(rgb2lab(source / 255) + offset)
    new = np.rint(shifted * 255).astype(np.uint8)
    found = seam_error(source, alpha_blend(source, new, mask), mask)
    # Rounding to levels costs up to 0.3 a point, clipped colors a little more; sampling
    # between the pixels of an edge mixes in RGB and not in Lab.
    assert found == pytest.approx(np.linalg.norm(offset), rel=0.05)


def test_texture_that_the_swap_changes_counts_little(rng: np.random.Generator):
    # Fine grain of the same mean inside: no edge runs along the border.
    old = fill(FLAT)
    grain = rng.normal(0, 12, (160, 160, 1))
    new = np.rint(old + grain).astype(np.uint8)
    mask = oval_mask(160)
    step = np.abs(rgb2lab(new / 255) - rgb2lab(old / 255))[..., 0].std()
    assert step > 2.5
    assert seam_error(old, alpha_blend(old, new, mask), mask) < 0.5 * step


def test_part_of_a_border_counts_as_its_share():
    old, new = fill(FLAT), fill(OTHER)
    new[:, :80] = FLAT
    mask = oval_mask(160)
    whole = seam_error(old, alpha_blend(old, fill(OTHER), mask), mask)
    half = seam_error(old, alpha_blend(old, new, mask), mask)
    # Half of the contour, so the root of a half; smoothing blurs where it ends.
    assert half == pytest.approx(whole * np.sqrt(0.5), rel=0.05)


def test_borders_on_the_edge_of_the_box_do_not_count():
    old, new = fill(FLAT), fill(OTHER)
    assert seam_error(old, new, np.ones((160, 160), np.float32)) == 0
    assert seam_error(old, new, np.zeros((160, 160), np.float32)) == 0
    # Half a face at the picture's edge shows the step of the half that is there.
    mask = np.ascontiguousarray(oval_mask(160)[:, 80:])
    result = alpha_blend(old[:, 80:], new[:, 80:], mask)
    whole = oval_mask(160)
    expected = seam_error(old, alpha_blend(old, new, whole), whole)
    found = seam_error(old[:, 80:], result, mask)
    assert found == pytest.approx(expected, rel=0.02)


def test_hole_of_a_mask_is_a_border_too():
    old, new = fill(FLAT, 300), fill(OTHER, 300)
    mask = np.ones((300, 300), np.float32)
    mask[120:180, 120:180] = 0
    result = alpha_blend(old, new, mask)
    assert seam_error(old, result, mask) > 5


@pytest.mark.usefixtures("unchecked")
def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one height and width"):
        seam_error(fill(FLAT), fill(FLAT, 80), oval_mask(160))
