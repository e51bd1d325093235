"""Colour: the mean moves where it should, and nothing wraps."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from deepfake_jax.convert_config import COLORS
from deepfake_jax.imaging.color import (
    MAX_GAIN,
    adjust_avg_color,
    match_color,
    measure_color,
    transfer_color,
)
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask


def test_own_colour_changes_nothing(rng: np.random.Generator):
    face = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(adjust_avg_color(face, face), face)
    mask = rng.random((64, 64), dtype=np.float32)
    np.testing.assert_array_equal(adjust_avg_color(face, face, mask=mask), face)


def test_whole_levels_are_moved_exactly(rng: np.random.Generator):
    new = rng.integers(60, 190, (32, 32, 3), dtype=np.uint8)
    old = new[::-1, ::-1] + np.array([40, 0, 25], np.uint8)
    np.testing.assert_array_equal(
        adjust_avg_color(old, new), new + np.array([40, 0, 25], np.uint8)
    )


@pytest.mark.parametrize("masked", [False, True])
def test_mean_becomes_the_old_ones_where_nothing_clips(
    rng: np.random.Generator, masked: bool
):
    old = rng.integers(90, 180, (64, 64, 3), dtype=np.uint8)
    new = rng.integers(100, 150, (64, 64, 3), dtype=np.uint8)
    mask = rng.random((64, 64), dtype=np.float32) if masked else None
    out = adjust_avg_color(old, new, mask=mask)
    means = [
        np.average(
            p.reshape(-1, 3), axis=0, weights=None if mask is None else mask.ravel()
        )
        for p in (old, out)
    ]
    # All pixels move by one number, so rounding can cost the mean half a level.
    assert np.abs(means[0] - means[1]).max() <= 0.5 + 1e-6
    assert len(np.unique(out.astype(int) - new, axis=None)) <= 6  # the face keeps shape


def test_nothing_wraps_at_either_end(rng: np.random.Generator):
    dark = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
    bright = rng.integers(200, 256, (16, 16, 3), dtype=np.uint8)
    mixed = np.where(rng.random((16, 16, 1)) < 0.5, dark, bright)
    raised = adjust_avg_color(bright, mixed)
    assert np.all(raised >= mixed) and raised.max() == 255
    lowered = adjust_avg_color(dark, mixed)
    assert np.all(lowered <= mixed) and lowered.min() == 0


def test_channels_are_moved_apart():
    old = np.zeros((8, 8, 3), np.uint8) + np.array([10, 120, 200], np.uint8)
    new = np.zeros((8, 8, 3), np.uint8) + np.array([90, 90, 90], np.uint8)
    np.testing.assert_array_equal(adjust_avg_color(old, new), old)


def test_pixels_weigh_as_much_as_they_show():
    old = np.full((8, 8, 3), 100, np.uint8)
    old[:, 4:] = 200
    new = np.full((8, 8, 3), 50, np.uint8)
    mask = np.zeros((8, 8), np.float32)
    mask[:, :4] = 1
    assert np.all(adjust_avg_color(old, new, mask=mask) == 100)
    assert np.all(adjust_avg_color(old, new, mask=1 - mask) == 200)
    assert np.all(adjust_avg_color(old, new) == 150)
    # A mask that shows nothing weighs all pixels alike instead of dividing by zero.
    assert np.all(adjust_avg_color(old, new, mask=0 * mask) == 150)


def test_inputs_stay_as_they_are(rng: np.random.Generator):
    old, new = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    before = old.copy(), new.copy()
    adjust_avg_color(old, new)
    np.testing.assert_array_equal(old, before[0])
    np.testing.assert_array_equal(new, before[1])


def test_errors_name_both_shapes(unchecked: None):
    old, new = np.zeros((8, 8, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)
    with pytest.raises(ValueError, match=r"one shape.*\(8, 8, 3\).*\(6, 6, 3\)"):
        adjust_avg_color(old, new)
    with pytest.raises(ValueError, match=r"mask.*\(8, 8\).*\(6, 6\)"):
        adjust_avg_color(old, old, mask=np.ones((6, 6), np.float32))


METHODS = list(COLORS)
# Those that move every pixel of a color alike; "border" moves places.
WHOLE = [method for method in METHODS if method != "border"]


def draw_colors(rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Correlated colours around skin, hardly any of them near 0 or 255."""
    mix = np.array([[18.0, 8, 4], [8, 14, 6], [4, 6, 12]])
    pixels = rng.normal(0, 1, (size, size, 3)) @ mix + [150, 120, 105]
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def moments(face: np.ndarray, mask: np.ndarray | None = None) -> tuple:
    pixels = face.reshape(-1, 3).astype(np.float64)
    weights = None if mask is None else mask.ravel().astype(np.float64)
    covariance = np.cov(pixels.T, aweights=weights, bias=True)
    return np.average(pixels, axis=0, weights=weights), covariance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_faces_own_color_is_kept(
    rng: np.random.Generator, draw_face: Callable, method: str, masked: bool
):
    mask = rng.random((64, 64), dtype=np.float32) if masked else None
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    flat = np.full((64, 64, 3), 77, np.uint8)
    for face in (noise, flat, draw_face(rng, 64)):
        out = transfer_color(face, face, method, mask=mask)
        # Lab and back loses up to half a level before it is rounded.
        assert np.abs(out.astype(int) - face).max() <= 1


@pytest.mark.parametrize("method", WHOLE)
def test_statistics_become_the_old_ones(rng: np.random.Generator, method: str):
    old, new = draw_colors(rng), draw_colors(rng)[..., [0, 2, 1]]
    new = np.rint(60 + 0.6 * new).astype(np.uint8)
    mask = rng.random((64, 64), dtype=np.float32)
    wanted = measure_color(old, method, mask=mask)
    out = transfer_color(old, new, method, mask=mask)
    got = measure_color(out, method, mask=mask)
    if method == "linear":
        # Rounding adds a twelfth to variances of 200 to 400; clipping is rare.
        np.testing.assert_allclose(got[:3], wanted[:3], atol=0.1)
        np.testing.assert_allclose(got[3:], wanted[3:], atol=3)
    else:
        # Half a level of rounding; a histogram stretched by 1.7 has gaps, in which
        # quantiles miss theirs by up to a level more.
        atol = 1.5 if method == "histogram" else 0.5
        np.testing.assert_allclose(got, wanted, atol=atol)


@pytest.mark.parametrize("masked", [False, True])
def test_moments_are_numpys(rng: np.random.Generator, masked: bool):
    face = draw_colors(rng)
    mask = rng.random((64, 64), dtype=np.float32) if masked else None
    mean, covariance = moments(face, mask)
    # float32 sums of 4096 pixels.
    np.testing.assert_allclose(measure_color(face, "avg", mask=mask), mean, rtol=1e-5)
    stats = measure_color(face, "linear", mask=mask)
    np.testing.assert_allclose(stats[:3], mean, rtol=1e-5)
    np.testing.assert_allclose(stats[3:], covariance.ravel(), rtol=1e-4, atol=1e-2)


def test_linear_undoes_a_known_change(rng: np.random.Generator):
    old = draw_colors(rng)
    # Symmetric, so it is the Monge-Kantorovich map itself; gains 0.7 to 1.2.
    change = np.array([[0.9, 0.15, 0.0], [0.15, 0.95, 0.1], [0.0, 0.1, 0.85]])
    shifted = (old - 120.0) @ change + [125, 110, 130]
    assert shifted.min() > 0 and shifted.max() < 255
    new = np.rint(shifted).astype(np.uint8)
    out = transfer_color(old, new, "linear")
    error = np.abs(out.astype(int) - old)
    # Half a level of `new` times gains of up to 1.5, and rounding again.
    assert error.max() <= 2 and error.mean() < 0.6
    # Methods that know no correlation between channels cannot.
    assert np.abs(transfer_color(old, new, "avg").astype(int) - old).mean() > 1.5


def test_reinhard_undoes_a_change_of_lab(rng: np.random.Generator):
    old = draw_colors(rng)
    lab = cv2.cvtColor(old.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    moved = (lab - [55, 10, 10]) * [0.8, 1.2, 0.9] + [50, 12, 14]
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB) * 255
    assert rgb.min() >= 0 and rgb.max() <= 255
    out = transfer_color(old, np.rint(rgb).astype(np.uint8), "reinhard")
    # Half a level of rounding, in two directions, times gains of up to 1.25.
    assert np.abs(out.astype(int) - old).max() <= 3
    assert np.abs(out.astype(int) - old).mean() < 0.6


def test_histogram_is_the_reference(rng: np.random.Generator):
    from skimage.exposure import match_histograms

    old, new = draw_colors(rng, 128), draw_colors(rng, 128)
    new = np.rint(255 * (new / 255.0) ** 1.6).astype(np.uint8)
    expected = match_histograms(new, old, channel_axis=-1)
    out = transfer_color(old, new, "histogram")
    error = np.abs(out.astype(float) - expected)
    # 64 quantiles against all levels: a level inside, more in the outermost percent,
    # where the reference meets single pixels.
    assert error.mean() < 0.7
    assert np.quantile(error, 0.97) <= 1.5
    # Monotone: no two levels of a channel change their order.
    for channel in range(3):
        order = np.argsort(new[..., channel], axis=None)
        assert np.all(np.diff(out[..., channel].ravel()[order].astype(int)) >= 0)


@pytest.mark.parametrize("method", WHOLE)
def test_gains_are_limited(rng: np.random.Generator, method: str):
    harsh = rng.integers(0, 2, (64, 64, 3), dtype=np.uint8) * 255
    faint = (120 + rng.integers(-2, 3, (64, 64, 3))).astype(np.uint8)
    tiny = np.zeros((64, 64), np.float32)
    tiny[30, 30:32] = 1
    for mask in (None, tiny):
        out = transfer_color(harsh, faint, method, mask=mask).astype(int)
        # The faint face has 5 levels; L*, a* and b* may each add to a channel's.
        limit = MAX_GAIN * 5 * (2 if method == "reinhard" else 1) + 1
        assert np.ptp(out, axis=(0, 1)).max() <= limit


@pytest.mark.parametrize("method", METHODS)
def test_hairs_make_a_level_at_most(rng: np.random.Generator, method: str):
    """As two backends part: rounded before a gain it would be two levels."""
    old, soft = draw_colors(rng), draw_colors(rng).astype(np.float32)
    new = 120 + np.float32(0.55) * (soft - 120)  # some lie between two levels
    hairs = rng.uniform(-0.01, 0.01, new.shape).astype(np.float32)
    beside = np.clip(new + hairs, 0, 255)
    matched = [transfer_color(old, face, method) for face in (new, beside)]
    assert all(face.dtype == np.uint8 for face in matched)
    assert np.abs(matched[0].astype(int) - matched[1]).max() == 1


@pytest.mark.parametrize("method", METHODS)
def test_statistics_may_be_averaged(rng: np.random.Generator, method: str):
    dark, light = draw_colors(rng), draw_colors(rng)
    dark = np.rint(0.7 * dark).astype(np.uint8)
    stats = [measure_color(face, method) for face in (dark, light)]
    assert all(s.dtype == np.float64 and s.ndim == 1 for s in stats)
    out = match_color(light, (stats[0] + stats[1]) / 2, stats[1], method)
    means = [face.mean() for face in (dark, out, light)]
    if method == "none":
        np.testing.assert_array_equal(out, light)
    else:
        # Lab's lightness is no linear function of levels.
        assert means[1] == pytest.approx((means[0] + means[2]) / 2, abs=2)


def test_statistics_are_checked(unchecked: None):
    face = np.zeros((8, 8, 3), np.uint8)
    stats = measure_color(face, "avg")
    with pytest.raises(ValueError, match="linear are 12 numbers, got 3"):
        match_color(face, stats, stats, "linear")
    with pytest.raises(ValueError, match="no 'lab'; there are none, avg"):
        measure_color(face, "lab")
    with pytest.raises(ValueError, match="no 'lab'; there are none, avg"):
        match_color(face, stats, stats, "lab")


OVAL = feather_mask(oval_mask(160, width=0.8, height=0.9), 0.18)


def light_from_left(face: np.ndarray, strength: float) -> np.ndarray:
    ramp = np.linspace(strength, -strength, face.shape[1])[None, :, None]
    return np.rint(np.clip(face + ramp, 0, 255)).astype(np.uint8)


def step_at_border(old: np.ndarray, new: np.ndarray, mask: np.ndarray) -> float:
    """Mean difference of faces where the mask is half shown."""
    rim = (mask > 0.3) & (mask < 0.7)
    assert rim.sum() > 500
    blurred = [cv2.GaussianBlur(x.astype(np.float32), (0, 0), 4) for x in (old, new)]
    return float(np.abs(blurred[0] - blurred[1])[rim].mean())


def test_border_follows_light_from_one_side(rng: np.random.Generator):
    old = light_from_left(draw_colors(rng, 160), 40)
    new = light_from_left(draw_colors(rng, 160), -25)
    steps = {
        method: step_at_border(old, transfer_color(old, new, method, mask=OVAL), OVAL)
        for method in METHODS
    }
    assert steps["border"] < 0.3 * min(steps[m] for m in METHODS if m != "border")


def test_border_has_no_eye_for_the_middle(rng: np.random.Generator):
    face = draw_colors(rng, 160)
    beard = face.copy()
    beard[60:100, 60:100] = 0
    stats = [measure_color(x, "border", mask=OVAL) for x in (face, beard)]
    assert stats[0].shape == (16 * 16 * 3 + 2,)
    # But for what the middle adds to what is usual of the face.
    np.testing.assert_allclose(stats[0][:-2], stats[1][:-2], atol=1)
    assert abs(measure_color(beard, "avg", mask=OVAL).mean() - face.mean()) > 5


def test_border_carries_no_beard_inwards():
    skin = np.full((160, 160, 3), (200, 150, 130), np.uint8)
    bearded = np.clip(skin - np.int16(15), 0, 255).astype(np.uint8)
    bearded[105:] = (80, 65, 60)
    moved = transfer_color(bearded, skin, "border", mask=OVAL)
    wanted = skin.astype(int) - 15
    # The lips, above a chin that is covered by hair, and the other way round.
    off = moved[90:105, 65:95] - wanted[90:105, 65:95]
    assert np.abs(off.mean((0, 1))).max() < 6
    moved = transfer_color(skin, bearded, "border", mask=OVAL)
    found = moved[60:100, 60:100].astype(int) - skin[60:100, 60:100]
    assert np.abs(found.mean((0, 1))).max() < 6


def test_border_changes_color_smoothly(rng: np.random.Generator):
    # Flat colors: what is added has no edge of its own, and nowhere exceeds the border.
    old = light_from_left(np.full((160, 160, 3), 128, np.uint8), 60)
    new = np.full((160, 160, 3), 128, np.uint8)
    moved = transfer_color(old, new, "border", mask=OVAL).astype(int)
    assert np.abs(np.diff(moved, axis=0)).max() <= 1
    assert np.abs(np.diff(moved, axis=1)).max() <= 3
    assert old.min() - 2 <= moved.min() and moved.max() <= old.max() + 2
    assert moved[80, :, 0].argmax() < 40 and moved[80, :, 0].argmin() > 110


def light_inside(face: np.ndarray) -> float:
    """How much brighter the left cheek is than the right one."""
    return float(face[70:90, 45:65].mean() - face[70:90, 95:115].mean())


def test_border_softens_a_harder_light_and_hardens_none(rng: np.random.Generator):
    flat = np.full((160, 160, 3), 128, np.uint8)
    features = (
        np.kron(rng.integers(-20, 21, (80, 80, 1)), np.ones((2, 2, 1)))
        * OVAL[..., None]
    )
    cheeks = np.zeros((160, 160, 1))
    cheeks[45:115, 25:75], cheeks[45:115, 85:135] = 60, -60
    cheeks = cv2.GaussianBlur(cheeks, (0, 0), 8)[..., None]
    soft = np.clip(flat + 0.6 * cheeks, 0, 255).astype(np.uint8)
    hard = np.clip(flat + cheeks + features, 0, 255).astype(np.uint8)
    softened = transfer_color(soft, hard, "border", mask=OVAL)
    # To the other's light, but for what the features add to it.
    assert light_inside(softened) == pytest.approx(light_inside(soft), rel=0.15)
    assert light_inside(hard) > 1.5 * light_inside(soft)
    inner = np.s_[65:95, 45:115]
    edges = [
        np.abs(np.diff(x[inner].astype(int), axis=1)).mean() for x in (softened, hard)
    ]
    assert edges[0] == pytest.approx(edges[1], rel=0.1)
    # At most to a half of what is not the border's, and the other way round not at all.
    stats = [measure_color(face, "border", mask=OVAL) for face in (flat, hard)]
    stats[0][-1] = 255  # whatever is glare
    unsoftened = match_color(
        hard, np.append(stats[0][:-2], [999.0, 255]), stats[1], "border"
    )
    halved = match_color(hard, stats[0], stats[1], "border")
    assert 0.45 < light_inside(halved) / light_inside(unsoftened) < 0.65
    # Eyes are as dark as they were, beside skin whose shade is softened.
    eyed = hard.copy()
    eyed[62:72, 94:112] = 40
    moved = match_color(
        eyed, *(stats[0], measure_color(eyed, "border", mask=OVAL)), "border"
    )
    assert moved[64:70, 98:108].mean() < 75
    assert moved[76:84, 95:115].mean() > hard[76:84, 95:115].mean() + 10
    old, new = (measure_color(face, "border", mask=OVAL) for face in (hard, soft))
    flattest = np.append(new[:-2], [0.0, new[-1]])
    np.testing.assert_array_equal(
        match_color(soft, old, new, "border"),
        match_color(soft, old, flattest, "border"),
    )


def test_border_makes_no_glare():
    """Rims of a stage's light, on a face that is matched to a brighter one."""
    bright = np.full((160, 160, 3), (180, 150, 140), np.uint8)
    dim = np.full((160, 160, 3), (90, 75, 70), np.uint8)
    rims = dim.copy()
    rims[60:66, 50:110] = 140
    moved = transfer_color(bright, rims, "border", mask=OVAL).astype(int)
    assert abs(moved[100, 80] - bright[100, 80].astype(int)).max() < 8
    rim = moved[62:64, 60:100].mean()
    # Twice as bright it would be white.
    assert moved[100, 80].mean() < rim < bright[0, 0].mean() + 30
    # And what the frame's face has itself stays.
    lit = bright.copy()
    lit[60:66, 50:110] = 240
    kept = transfer_color(lit, lit, "border", mask=OVAL)
    assert np.abs(kept.astype(int) - lit).max() <= 1


def test_border_keeps_what_is_dark_in_a_face_dark():
    def draw(skin: int, pupil: int) -> np.ndarray:
        face = np.full((160, 160, 3), skin, np.uint8)
        face[70:76, 50:56] = face[70:76, 104:110] = pupil
        return face

    bright, dim = draw(160, 60), draw(80, 20)
    raised = transfer_color(bright, dim, "border", mask=OVAL)
    lowered = transfer_color(dim, bright, "border", mask=OVAL)
    for moved, skin, pupils in ((raised, 160, (28, 60)), (lowered, 80, (10, 30))):
        np.testing.assert_allclose(moved[90:100, 70:90], skin, atol=2)
        # Additions would make them 100 and 0.
        assert pupils[0] <= moved[73, 53].min() <= moved[73, 53].max() <= pupils[1]


@pytest.mark.parametrize("size", [48, 64, 100, 256])
def test_border_means_the_same_at_any_size(size: int, draw_face: Callable):
    rng = np.random.default_rng(4)
    face = cv2.GaussianBlur(draw_face(rng, 160), (0, 0), 4)
    wanted = measure_color(face, "border", mask=OVAL)
    small = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(OVAL, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(
        measure_color(small, "border", mask=mask), wanted, atol=6
    )
