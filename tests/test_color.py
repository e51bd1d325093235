"""Colour: the mean moves where it should, and nothing wraps."""

import numpy as np
import pytest

from deepfake_jax.color import adjust_avg_color


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
