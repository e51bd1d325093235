"""Weights by which two people are compared doing the same."""

import numpy as np
import pytest

from deepfake_jax.training.overlap_weights import weigh_overlap
from deepfake_jax.types import SIDES, Side


def draw_lids(rng: np.random.Generator, *, count: int, shut: float) -> np.ndarray:
    """Openings of eyes that are shut in so large a share of the faces."""
    lids = rng.normal(0.36, 0.02, count)
    closed = rng.random(count) < shut
    return np.where(closed, rng.normal(0.06, 0.01, count), lids)[:, None]


def test_weighted_means_are_equal_where_plain_ones_are_not(rng: np.random.Generator):
    doings: dict[Side, np.ndarray] = {
        "a": draw_lids(rng, count=300, shut=0.05),
        "b": draw_lids(rng, count=500, shut=0.4),
    }
    assert doings["a"].mean() - doings["b"].mean() > 0.08
    weights = weigh_overlap(doings)
    for side in SIDES:
        assert weights[side].min() >= 0
        np.testing.assert_allclose(weights[side].sum(), 1)
    means = {side: weights[side] @ doings[side] for side in SIDES}
    np.testing.assert_allclose(means["a"], means["b"], atol=0.003)
    # Shut eyes still count on both sides: neither person's are left out.
    assert 0.05 < weights["b"] @ (doings["b"][:, 0] < 0.2) < 0.3


def test_faces_of_people_who_do_the_same_weigh_nearly_alike(rng: np.random.Generator):
    doings: dict[Side, np.ndarray] = {side: rng.normal(size=(400, 2)) for side in SIDES}
    for side, own in weigh_overlap(doings).items():
        assert 1 / np.square(own).sum() > 0.95 * len(doings[side])


@pytest.mark.parametrize("apart", [3.0, 50.0])
def test_people_who_never_do_the_same_keep_enough_faces(
    rng: np.random.Generator, apart: float
):
    doings: dict[Side, np.ndarray] = {
        s: rng.normal(apart * i, 1, (100, 1)) for i, s in enumerate(SIDES)
    }
    for own in weigh_overlap(doings).values():
        assert np.isfinite(own).all()
        assert 1 / np.square(own).sum() >= 20


def test_numbers_that_never_vary_weigh_nothing():
    doings: dict[Side, np.ndarray] = {side: np.full((7, 2), 0.3) for side in SIDES}
    for own in weigh_overlap(doings).values():
        np.testing.assert_allclose(own, 1 / 7)
