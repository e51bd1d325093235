"""Muon: the momentum of each kernel as the nearest orthogonal matrix; Adam elsewhere.

A gradient's few large directions drown its many small ones, in which rare looks are
learned. Made orthogonal, all of them take part in an update alike: `lite128` then needs
little more than half of the steps that it needs with Adam, see BENCHMARKS.md.

References:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    Liu et al. 2025, "Muon is scalable for LLM training", section 2.2, of updates as
    large as Adam's, so that one step size serves both.
    Amsel et al. 2025, "The Polar Express", algorithm 1, of the polynomials.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float32

RMS = 0.2  # of an update's numbers, before the step size; Adam's are about as large
COLUMNS = 128  # most of a matrix; wider ones are cut, since work grows by their square
_SMALL = 1e-30  # a gradient that is none
# Odd polynomials a x + b x^3 + c x^5, one after another, that bring singular values
# between a thousandth and 1 nearest to 1.
_POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)


def scale_by_muon(
    *, b1: float = 0.95, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """Muon for the leaves called ``kernel``, `optax.scale_by_adam` for all others.

    The state is Adam's, with both moments of every leaf: a run can go on with the other
    optimizer.

    Args:
        b1: decay of the mean of the gradients, of which both make their updates.
        b2: decay of the mean of their squares, which is Adam's alone.
        eps: Adam's.
    """
    adam = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def update(
        gradients: Any, state: optax.OptState, params: Any = None
    ) -> tuple[Any, optax.OptState]:
        updates, after = adam.update(gradients, state, params)
        assert isinstance(after, optax.ScaleByAdamState)

        def choose(path: Any, other: Array, gradient: Array, mean: Array) -> Array:
            if getattr(path[-1], "key", None) != "kernel":
                return other
            ahead = b1 * mean + (1 - b1) * gradient  # Nesterov's
            return RMS * orthogonalize(ahead)

        updates = jax.tree_util.tree_map_with_path(choose, updates, gradients, after.mu)
        return updates, after

    return optax.GradientTransformation(adam.init, update)


def orthogonalize(kernel: Float32[Array, "... n"]) -> Float32[Array, "... n"]:
    """The nearest matrix with orthogonal columns, or rows; about, and scaled.

    A kernel is the matrix of what it multiplies its inputs with: all axes but the last
    are one. Of more than `COLUMNS` columns as many are taken at once.

    Returns:
        In the kernel's shape, with singular values of 0.4 to 1.6 of the same size, such
        that the root of the mean square is about 1; zeros stay zeros.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    tall = matrix.shape[0] >= matrix.shape[1]
    matrix = matrix if tall else matrix.T
    rows, columns = matrix.shape
    cuts = list(range(COLUMNS, columns, COLUMNS))
    parts = [_find_polar_factor(part) for part in jnp.split(matrix, cuts, axis=1)]
    whole = jnp.concatenate(parts, axis=1) * rows**0.5
    return (whole if tall else whole.T).reshape(kernel.shape)


def _find_polar_factor(matrix: Float32[Array, "m n"]) -> Float32[Array, "m n"]:
    """U V^T of U S V^T, by polynomials of the n x n matrix of products.

    Of those only two products have the matrix's height: a fifth of the time of products
    with the matrix itself, where it is nine times as high as wide.
    """
    # By the largest number first: squares of small ones vanish.
    matrix = matrix / jnp.maximum(jnp.max(jnp.abs(matrix)), _SMALL)
    size = jnp.sqrt(jnp.sum(jnp.square(matrix)))
    matrix = matrix / jnp.maximum(1.01 * size, _SMALL)
    # A small one that rounding makes negative grows without end: no TF32 here.
    with jax.default_matmul_precision("float32"):
        products = matrix.T @ matrix
        unit = jnp.eye(matrix.shape[1])
        factor = unit
        for index, (first, third, fifth) in enumerate(_POLYNOMIALS):
            step = first * unit + third * products + fifth * (products @ products)
            factor = factor @ step if index else step
            if index + 1 < len(_POLYNOMIALS):
                products = step @ (products @ step)
        return matrix @ factor
