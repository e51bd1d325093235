"""What a training step minimises: a sum of losses, pure functions of a batch.

Each loss is a function of what the network made of a batch, of the batch and of the
state; it gives what it adds to the sum, and its metrics. `choose_losses` names those
that a run has, when a step is traced: a new loss is a new function and a line there.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from deepfake_jax.models import losses
from deepfake_jax.models.face_mesh import mesh_distance
from deepfake_jax.models.network import Network
from deepfake_jax.models.perceptual import cut_window, perceptual_distance
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.forward import Forward, draw_swaps, run_forward
from deepfake_jax.training.state import Teacher, TrainState
from deepfake_jax.types import DIRECTIONS, SIDES, Side, other_side

Metrics = dict[str, Any]
_LOOK_EVERY = 2  # of a batch's faces; the features of all take a fifth of a step
_AROUND, _FEATURES = 0.1, 4.0  # weight of what is no face, and of eyes and mouths more
_MESH_EVERY = 4  # the face mesh costs as much as a head, and its loss is a quiet one


def draw_taught(teacher: Teacher, batch: Batch) -> Batch:
    """A batch with its targets as the teacher swaps them.

    The targets, not the warped faces: the teacher at its best is the example, and a
    student undoes the warp as it does for its own side.

    Args:
        teacher: the network; no gradient reaches its parameters.
        batch: in float32.
    """

    def draw(side: Side, pair: Pair) -> Pair:
        swapped = swap_faces(
            teacher.model,
            teacher.params,
            pair.target,
            to=other_side(side),
            source=side,
        )
        return replace(pair, swapped=jax.lax.stop_gradient(swapped))

    return {side: draw(side, pair) for side, pair in batch.items()}


class Moments(NamedTuple):
    """Of a batch's codes of one side: means of each number, of its square, and of 1.

    Each times what its face weighs, so that those of several devices can be averaged.
    """

    mean: Array
    square: Array
    weight: Array


Loss = Callable[[Forward, Batch, TrainState], tuple[Array, Metrics]]


def choose_losses(batch: Batch, state: TrainState) -> list[Loss]:
    """The losses that a run has: those that its batch and its state have data for."""
    taught = batch["a"].swapped is not None
    shaped = batch["a"].shape is not None and state.model.align_codes
    shaped = shaped and state.loss.shape_weight > 0
    asked: list[tuple[bool, Loss]] = [
        (True, reconstruct),
        (taught, follow_teacher),
        (shaped, read_shapes),
        (state.mesh is not None, follow_mesh),
        (state.features is not None, look_alike),
    ]
    return [loss for wanted, loss in asked if wanted]


def sum_losses(
    network: Network, state: TrainState, batch: Batch
) -> tuple[Array, tuple[Metrics, dict[Side, Moments]]]:
    """What a step minimises: the sum of a run's losses.

    Args:
        network: the parameters to differentiate by, in place of the state's.
        state: the network's functions, the loss and `remat`.
        batch: in float32.

    Returns:
        The sum; the metrics of all losses; and where codes are aligned, the moments of
        each side's, else an empty dict.
    """
    forward = run_forward(network, state, batch)
    terms = [loss(forward, batch, state) for loss in choose_losses(batch, state)]
    total = sum((value for value, _ in terms), start=jnp.zeros(()))
    metrics = {name: value for _, more in terms for name, value in more.items()}
    return total, (metrics, _take_moments(forward.vectors, batch))


def reconstruct(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How each side's faces come back from their warped pictures: ``loss_a``, ..."""
    metrics = {f"loss_{side}": error for side, error in forward.error.items()}
    return forward.error["a"] + forward.error["b"], metrics


def follow_teacher(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How far both directions' swaps are from a teacher's: ``loss_swap``, their mean.

    By the same measure as faces are; codes must not be aligned.
    """
    both = [
        forward.compare(forward.code[side], batch[side].swapped, batch[side].mask, to)
        for side, to in DIRECTIONS
    ]
    total = both[0] + both[1]
    return state.loss.swap_weight * total, {"loss_swap": total / 2}


def read_shapes(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How far shapes that one map reads from both sides' codes are off: ``loss_shape``.

    On average, in shares of the crop's side; see `data.cut_shapes`.
    """
    vectors = jnp.concatenate([forward.vectors[side] for side in SIDES])
    shapes = jnp.concatenate([batch[side].shape for side in SIDES])
    readout = forward.network.readout[:, : shapes.shape[1]]
    error = jnp.mean(jnp.abs(vectors.astype(jnp.float32) @ readout - shapes))
    return state.loss.shape_weight * error, {"loss_shape": error}


def follow_mesh(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How far swaps' landmarks are from where the source's expression puts them.

    ``loss_mesh``, the mean of both directions over a quarter of the batch, in shares of
    the crop's side; 0 before it begins. What a decoder makes of the other person's
    codes has no target: this is the only loss that asks for it.
    """

    guide = state.mesh
    assert guide is not None

    def measure() -> Array:
        swaps = draw_swaps(state, forward, every=_MESH_EVERY)
        faces = [batch[side].target[::_MESH_EVERY] for side in SIDES]
        middles = [
            _repeat(guide.middles[side], len(own))
            for side, own in zip(SIDES, faces, strict=True)
        ]
        # Both directions at once: the network takes seconds to compile.
        return mesh_distance(
            guide.network,
            jnp.concatenate([swaps[side] for side in SIDES]),
            jnp.concatenate(faces),
            middle=jnp.concatenate(middles),
            swap_middle=jnp.concatenate(middles[::-1]),
        )

    begun = state.step >= state.loss.mesh_start
    error = jax.lax.cond(begun, measure, lambda: jnp.zeros(()))
    return state.loss.mesh_weight * error, {"loss_mesh": error}


def look_alike(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How unlike faces as their own side draws them look to a network that knows some.

    ``loss_perceptual``, the mean over both sides of half of the batch, of eyes or of
    mouths; 0 before it begins. Around the face nothing is unlike.
    """
    network = state.features
    assert network is not None

    def measure() -> Array:
        drawn = jnp.concatenate([forward.drawn[s][::_LOOK_EVERY] for s in SIDES])
        parts = [batch[side] for side in SIDES]
        true = jnp.concatenate([own.target[::_LOOK_EVERY] for own in parts])
        if parts[0].mask is None:
            drawn, true = cut_window([drawn, true], state.step)
            return perceptual_distance(network, drawn, true)
        mask = jnp.concatenate([own.mask[::_LOOK_EVERY] for own in parts])
        shown = losses.soften(mask[..., 0])[..., None]
        drawn = true + shown * (drawn - true)
        drawn, true, mask = cut_window([drawn, true, mask], state.step)
        features = mask[..., 1] + mask[..., 2]
        weights = _AROUND + mask[..., 0] + _FEATURES * features
        return perceptual_distance(
            network, drawn, true, weights=weights / jnp.mean(weights)
        )

    begun = state.step >= state.loss.perceptual_start
    error = jax.lax.cond(begun, measure, lambda: jnp.zeros(()))
    return state.loss.perceptual_weight * error, {"loss_perceptual": error}


def _repeat(array: Array, count: int) -> Array:
    return jnp.broadcast_to(array, (count, *array.shape))


def _take_moments(vectors: dict[Side, Array], batch: Batch) -> dict[Side, Moments]:
    moments: dict[Side, Moments] = {}
    for side, own in vectors.items():
        own = jax.lax.stop_gradient(own).astype(jnp.float32)
        weights = batch[side].weight
        if weights is None:
            weights = jnp.ones(len(own), jnp.float32)
        counted = weights[:, None] * own
        moments[side] = Moments(
            counted.mean(0), (counted * own).mean(0), weights.mean()
        )
    return moments
