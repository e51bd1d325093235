"""Masks of hands: fingers and palm, nothing else, wherever the hand lies."""

import numpy as np
import pytest

from deepfake_jax.imaging.hand_mask import hand_mask, no_hands

# A flat hand, upright, its fingers spread: wrist, thumb, then the other four.
ROOTS = [(46, 62), (54, 60), (62, 61), (70, 64)]
HAND = np.array(
    [(58, 100), (46, 94), (36, 86), (28, 78), (22, 70)]
    + [(x + (x - 58) * s * 0.2, y - 14 * s) for x, y in ROOTS for s in range(4)],
    np.float64,
)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_hand_is_covered_and_little_beside_it(scale: float):
    size = round(128 * scale)
    mask = hand_mask(HAND[None] * scale, size)
    assert mask.shape == (size, size) and mask.dtype == np.float32
    x, y = np.rint(HAND * scale).astype(int).T
    assert mask[y, x].min() > 0.85
    palm = HAND[[0, 5, 17]].mean(axis=0) * scale
    assert mask[round(palm[1]), round(palm[0])] == 1
    assert 0.1 < mask.mean() < 0.3 and mask.max() <= 1
    # Beside a finger's end, and above the hand.
    tip = HAND[8] * scale
    assert mask[round(tip[1]), round(tip[0] - 18 * scale)] < 0.1
    assert mask[: round(8 * scale)].max() < 0.1


def test_no_hand_and_hands_out_of_the_picture_cover_nothing():
    assert not hand_mask(no_hands(), 64).any()
    assert not hand_mask(HAND[None] + 5000, 64).any()
    assert not hand_mask(HAND[None] - 5000, 64).any()
    half = hand_mask(HAND[None] - [60, 0], 128)
    assert half[:, :30].any() and not half[:, 60:].any()
    flat = hand_mask(np.zeros((1, 21, 2)) + 32, 64)  # all points in one place
    assert flat.max() <= 1 and flat.mean() < 0.01


def test_two_hands_are_both_covered():
    other = HAND + [40, 20]
    both = hand_mask(np.stack([HAND, other]), 160)
    alone = [hand_mask(hand[None], 160) for hand in (HAND, other)]
    np.testing.assert_array_equal(both, np.maximum(*alone))
