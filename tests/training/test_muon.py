"""Updates whose matrices are orthogonal."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deepfake_jax.training.muon import COLUMNS, RMS, orthogonalize, scale_by_muon


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def make_orthogonal(kernel: np.ndarray) -> np.ndarray:
    return np.asarray(orthogonalize([jnp.asarray(kernel)])[0])


def make_matrix(rows: int, columns: int, smallest: float) -> np.ndarray:
    """Of singular values from 1 down to `smallest`, evenly in their logarithms."""
    left, _ = np.linalg.qr(draw(rows, columns, seed=1))
    right, _ = np.linalg.qr(draw(columns, columns, seed=2))
    values = np.geomspace(1, smallest, columns)
    return ((left * values) @ right).astype(np.float32)


@pytest.mark.parametrize("rows, columns", [(300, 40), (64, 64), (40, 300), (9, 5)])
def test_singular_values_become_alike_and_vectors_stay(rows: int, columns: int):
    tall = make_matrix(max(rows, columns), min(rows, columns), smallest=0.02)
    matrix = tall if rows >= columns else tall.T
    found = make_orthogonal(matrix) / max(rows, columns) ** 0.5
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    assert values.max() / values.min() == pytest.approx(50, rel=0.01)
    inner = left.T @ found @ right.T
    grown = np.diag(inner)
    assert grown.min() > 0.4 and grown.max() < 1.6
    np.testing.assert_allclose(inner, np.diag(grown), atol=2e-3)
    # Nothing beside these directions.
    np.testing.assert_allclose(left @ inner @ right, found, atol=2e-3)


def test_size_is_that_of_an_update_of_adam():
    for shape in ((3, 3, 64, 128), (3, 3, 16, 768), (128, 4096)):
        found = make_orthogonal(draw(*shape))
        assert found.shape == shape
        assert np.sqrt(np.mean(found**2)) == pytest.approx(1, abs=0.15)


def test_wide_kernels_are_cut_by_columns():
    kernel = draw(3, 3, 40, 2 * COLUMNS + 16)
    whole = make_orthogonal(kernel)
    for start in range(0, kernel.shape[-1], COLUMNS):
        part = kernel[..., start : start + COLUMNS]
        alone = make_orthogonal(part)
        np.testing.assert_allclose(
            whole[..., start : start + COLUMNS], alone, atol=1e-4
        )


def test_kernels_together_are_what_they_are_alone():
    # Of a few widths, of which several are alike, both ways up.
    shapes = ((3, 3, 16, 64), (64, 300), (300, 64), (5, 5, 3, 2 * COLUMNS), (256, 96))
    kernels = [draw(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    together = orthogonalize([jnp.asarray(kernel) for kernel in kernels])
    for kernel, found in zip(kernels, together, strict=True):
        np.testing.assert_allclose(found, make_orthogonal(kernel), atol=1e-4)


def test_gradients_without_directions_give_finite_updates():
    one = np.outer(draw(200), draw(50)).astype(np.float32)  # of one direction
    for matrix in (np.zeros((200, 50), np.float32), one, 1e-20 * one, 1e10 * one):
        found = make_orthogonal(matrix)
        assert np.isfinite(found).all()
        assert np.abs(np.linalg.svd(found / 200**0.5)[1]).max() < 1.6
    assert not make_orthogonal(np.zeros((200, 50), np.float32)).any()


def update_three_times(tx: optax.GradientTransformation, params: Any) -> Any:
    """The third update, the state after it, and the three gradients."""
    state, found, gradients = tx.init(params), None, []
    for seed in range(3):
        gradients.append(
            jax.tree.map(
                lambda leaf, s=seed: jnp.asarray(draw(*leaf.shape, seed=s)), params
            )
        )
        with jax.numpy_dtype_promotion("standard"):  # which optax takes for granted
            found, state = tx.update(gradients[-1], state)
    return found, state, gradients


def test_the_mean_of_gradients_is_made_orthogonal_and_adam_does_the_rest():
    layer = {"kernel": draw(24, 8), "bias": draw(8)}
    params = jax.tree.map(jnp.asarray, {"layer": layer, "readout": draw(8, 6)})
    found, state, gradients = update_three_times(scale_by_muon(b1=0.9), params)
    adam = optax.scale_by_adam(b1=0.9, eps=1e-7)
    expected, adams_state, _ = update_three_times(adam, params)
    mean = np.zeros((24, 8), np.float32)
    for gradient in (*gradients, gradients[-1]):
        mean = 0.9 * mean + 0.1 * np.asarray(gradient["layer"]["kernel"])
    np.testing.assert_allclose(
        found["layer"]["kernel"], RMS * make_orthogonal(mean), atol=1e-5
    )
    np.testing.assert_array_equal(found["layer"]["bias"], expected["layer"]["bias"])
    np.testing.assert_array_equal(found["readout"], expected["readout"])
    # The state of the one is the other's.
    jax.tree.map(np.testing.assert_array_equal, state, adams_state)
