"""Codes that swaps move: to the target's moments, and further along expression."""

import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.models.code_moves import find_parting, move_codes
from deepfake_jax.models.network import CodeStatistics

Moments = tuple[CodeStatistics, CodeStatistics]  # of source and target


def test_moved_codes_come_near_the_targets_moments(rng: np.random.Generator):
    codes = {s: rng.normal(3 * i, 1 + i / 4, (200, 5)) for i, s in enumerate("ab")}
    moments = {
        side: CodeStatistics(
            mean=jnp.asarray(own.mean(0), jnp.float32),
            variance=jnp.asarray(own.var(0), jnp.float32),
        )
        for side, own in codes.items()
    }
    source = jnp.asarray(codes["a"], jnp.float32)
    moved = np.asarray(move_codes(source, moments["a"], moments["b"]))
    # Seven tenths of the way, of means and of deviations.
    mean = 0.3 * codes["a"].mean(0) + 0.7 * codes["b"].mean(0)
    deviation = 0.3 * codes["a"].std(0) + 0.7 * codes["b"].std(0)
    np.testing.assert_allclose(moved.mean(0), mean, atol=1e-4)
    np.testing.assert_allclose(moved.std(0), deviation, rtol=1e-3)
    same = move_codes(source, moments["a"], moments["a"])
    np.testing.assert_allclose(same, codes["a"], atol=1e-5)


def test_codes_of_a_few_faces_do_not_freeze_a_swap():
    source = CodeStatistics(jnp.zeros(3), jnp.ones(3))
    frozen = CodeStatistics(jnp.full(3, 5.0), jnp.zeros(3))
    moved = move_codes(jnp.eye(3), source, frozen)
    expected = 0.3 * np.eye(3) + 0.7 * (5 + np.eye(3) / 1.5)
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_a_number_that_never_varies_is_only_moved():
    still = CodeStatistics(jnp.ones(1), jnp.zeros(1))
    other = CodeStatistics(jnp.full(1, 4.0), jnp.zeros(1))
    moved = move_codes(jnp.full((2, 1), 1.5), still, other)
    np.testing.assert_allclose(moved, 1.5 + 0.7 * 3, rtol=1e-6)


@pytest.fixture
def statistics(rng: np.random.Generator) -> Moments:
    def draw(shift: float) -> CodeStatistics:
        mean = jnp.asarray(rng.normal(shift, 1, 6), jnp.float32)
        return CodeStatistics(mean, jnp.asarray(rng.uniform(0.5, 2, 6), jnp.float32))

    return draw(0), draw(3)


def test_expression_takes_codes_further_from_the_same_middle(
    rng: np.random.Generator, statistics: Moments
):
    vectors = jnp.asarray(rng.normal(size=(50, 6)), jnp.float32)
    vectors = vectors + (statistics[0].mean - vectors.mean(0))[None]
    plain = np.asarray(move_codes(vectors, *statistics))
    further = np.asarray(move_codes(vectors, *statistics, expression=1.25))
    np.testing.assert_allclose(further.mean(0), plain.mean(0), atol=1e-5)
    apart = plain - plain.mean(0)
    np.testing.assert_allclose(further - plain.mean(0), 1.25 * apart, atol=1e-4)


def test_mouth_doubles_how_far_lips_part_and_nothing_across(
    rng: np.random.Generator, statistics: Moments
):
    readout = jnp.asarray(rng.normal(size=(6, 102)), jnp.float32)
    vectors = jnp.asarray(rng.normal(size=(50, 6)), jnp.float32)
    plain = np.asarray(move_codes(vectors, *statistics, readout=readout))
    wide = np.asarray(move_codes(vectors, *statistics, mouth=2.0, readout=readout))

    # Landmarks 61 to 63 and 65 to 67 of 68, of which a readout leaves out 17.
    def part(codes: np.ndarray) -> np.ndarray:
        read = (codes @ np.asarray(readout)).reshape(len(codes), 51, 2)[..., 1]
        return (read[:, [50, 49, 48]] - read[:, [44, 45, 46]]).mean(1)

    lips = part(plain) - part(wide)
    apart = plain - np.asarray(move_codes(statistics[0].mean[None], *statistics))
    np.testing.assert_allclose(lips, -part(apart), rtol=1e-3, atol=1e-4)
    parting = np.asarray(find_parting(readout))
    across = np.linalg.svd(parting[None])[2][1:]
    np.testing.assert_allclose(wide @ across.T, plain @ across.T, atol=1e-4)


@pytest.mark.parametrize("readout", [None, jnp.ones((6, 10)), jnp.zeros((6, 102))])
def test_mouth_does_nothing_where_no_lips_are_read(
    readout: jnp.ndarray | None, statistics: Moments
):
    vectors = jnp.eye(6)
    plain = move_codes(vectors, *statistics)
    moved = move_codes(vectors, *statistics, mouth=2.0, readout=readout)
    np.testing.assert_array_equal(moved, plain)
