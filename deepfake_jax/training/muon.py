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

from collections import defaultdict
from collections.abc import Sequence
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
        updates: Any, state: optax.OptState, params: Any = None
    ) -> tuple[Any, optax.OptState]:
        adams, after = adam.update(updates, state, params)
        assert isinstance(after, optax.ScaleByAdamState)
        paths, structure = jax.tree_util.tree_flatten_with_path(adams)
        chosen = [at for at, (path, _) in enumerate(paths) if _is_kernel(path)]
        leaves = [leaf for _, leaf in paths]
        means, latest = jax.tree.leaves(after.mu), jax.tree.leaves(updates)
        # Nesterov's: the mean as the next such gradient would leave it.
        ahead = [b1 * means[at] + (1 - b1) * latest[at] for at in chosen]
        for at, kernel in zip(chosen, orthogonalize(ahead), strict=True):
            leaves[at] = RMS * kernel
        return jax.tree.unflatten(structure, leaves), after

    return optax.GradientTransformation(adam.init, update)


def _is_kernel(path: tuple[Any, ...]) -> bool:
    return getattr(path[-1], "key", None) == "kernel"


def orthogonalize(kernels: Sequence[Array]) -> list[Array]:
    """The nearest matrices with orthogonal columns, or rows; about, and scaled.

    A kernel is the matrix of what it multiplies its inputs with: all axes but the last
    are one. Of more than `COLUMNS` columns as many are taken at once.

    Args:
        kernels: float32, of any two or more axes.

    Returns:
        Each in its shape, such that the root of the mean square is about 1. Singular
        values of a hundredth of the largest and more become 0.4 to 1.6 times one size;
        zeros stay zeros.
    """
    parts = [_cut(kernel) for kernel in kernels]
    # Small matrices of all kernels at once: a GPU takes as long for one as for many.
    of_width: dict[int, list[Array]] = defaultdict(list)
    # A small product that rounding makes negative grows without end: no TF32 here.
    with jax.default_matmul_precision("float32"):
        for part in (part for own in parts for part in own):
            of_width[part.shape[1]].append(part.T @ part)
        factors = {
            width: iter(_find_factors(jnp.stack(products)))
            for width, products in of_width.items()
        }
        found = [
            jnp.concatenate([part @ next(factors[part.shape[1]]) for part in own], 1)
            for own in parts
        ]
    scaled = (matrix * matrix.shape[0] ** 0.5 for matrix in found)
    return [
        (matrix if _is_tall(kernel) else matrix.T).reshape(kernel.shape)
        for kernel, matrix in zip(kernels, scaled, strict=True)
    ]


def _cut(kernel: Float32[Array, "*k n"]) -> list[Float32[Array, "m c"]]:
    """A kernel's matrix, lying ones stood up, in parts of norms of a little under 1."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    matrix = matrix if _is_tall(kernel) else matrix.T
    # By the largest number first: squares of small ones vanish.
    matrix = matrix / jnp.maximum(jnp.max(jnp.abs(matrix)), _SMALL)
    cuts = list(range(COLUMNS, matrix.shape[1], COLUMNS))
    parts = jnp.split(matrix, cuts, axis=1)
    sizes = (jnp.sqrt(jnp.sum(jnp.square(part))) for part in parts)
    return [
        part / jnp.maximum(1.01 * size, _SMALL)
        for part, size in zip(parts, sizes, strict=True)
    ]


def _is_tall(kernel: Array) -> bool:
    return kernel.size >= kernel.shape[-1] ** 2


def _find_factors(products: Float32[Array, "b n n"]) -> Float32[Array, "b n n"]:
    """What makes matrices orthogonal, multiplied from the right: by their products.

    The polynomials are of n x n matrices alone, not of a kernel's height: less than
    half of the operations where that is nine times as high as wide.
    """
    unit = jnp.broadcast_to(jnp.eye(products.shape[1]), products.shape)
    factors = unit
    for index, (first, third, fifth) in enumerate(_POLYNOMIALS):
        step = first * unit + third * products + fifth * (products @ products)
        factors = factors @ step if index else step
        if index + 1 < len(_POLYNOMIALS):
            products = step @ (products @ step)
    return factors
