"""What a training step minimises: a sum of losses, pure functions of a batch.

Each loss is a function of what the network made of a batch, of the batch and of the
state; it gives what it adds to the sum, and its metrics. `choose_losses` names those
that a run has, when a step is traced: a new loss is a new function and a line there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from deepfake_jax.models import losses
from deepfake_jax.models.autoencoder import move_codes
from deepfake_jax.models.face_mesh import mesh_distance
from deepfake_jax.models.network import Network
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.train_config import LossConfig
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.critic import Drawn, fooling_loss
from deepfake_jax.training.state import Teacher, TrainState
from deepfake_jax.types import DIRECTIONS, SIDES, Side, other_side

Metrics = dict[str, Any]
# `align.COVERAGE` of `align.FACE_SIZE`, which import OpenCV: pixels of a face picture
# that the network sees.
CROP_SIDE = 160.0
_MESH_EVERY = 4  # the face mesh costs as much as a head, and its loss is a quiet one


def reconstruction_loss(
    config: LossConfig, output: Array, target: Array, mask: Array | None = None
) -> Array:
    """The loss that a config describes, a scalar.

    Args:
        config: which losses, and what they weigh.
        output: the network's crops.
        target: the true ones.
        mask: of the targets' face, eyes and mouth, see `face_masks`; None weighs all
            pixels alike.
    """
    weights, feature_weights = None, None
    if mask is not None:
        face, eyes, mouth = (mask[..., channel] for channel in range(3))
        weights = config.background + (1 - config.background) * losses.soften(face)
        extra = config.eyes_weight * eyes + config.mouth_weight * mouth
        feature_weights = weights + extra
    if config.pixel == "mse":
        total = losses.mse(output, target, weights=feature_weights)
    else:
        total = losses.mae(output, target, weights=feature_weights)
    if config.dssim_weight:
        structure = losses.multiscale_dssim(
            output,
            target,
            scales=config.dssim_scales,
            step=config.dssim_step,
            weights=weights,
        )
        total = total + config.dssim_weight * structure
    if config.laplacian_weight:
        detail = losses.laplacian(output, target, weights=weights)
        total = total + config.laplacian_weight * detail
    return total


def draw_swaps(teacher: Teacher, batch: Batch) -> Batch:
    """A batch with its targets as the teacher swaps them.

    The targets, not the warped faces: the teacher at its best is the example, and a
    student undoes the warp as it does for its own side.

    Args:
        teacher: the network; no gradient reaches its parameters.
        batch: in float32; where it has shapes, the teacher recalls by them, as a
            conversion does by landmarks.
    """

    def draw(side: Side, pair: Pair) -> Pair:
        bank, landmarks = teacher.params.bank.get(side), None
        if bank is not None and pair.shape is not None:
            if pair.shape.shape[1] == len(bank.middle):
                landmarks = CROP_SIDE * pair.shape + bank.middle[None]
        swapped = swap_faces(
            teacher.model,
            teacher.params,
            pair.target,
            to=other_side(side),
            source=side,
            landmarks=landmarks,
        )
        return replace(pair, swapped=jax.lax.stop_gradient(swapped))

    return {side: draw(side, pair) for side, pair in batch.items()}


class Moments(NamedTuple):
    """Of a batch's codes of one side: means of each number, and of its square."""

    mean: Array
    square: Array


@dataclass(frozen=True)
class Forward:
    """What the network makes of a batch.

    Attributes:
        network: its parameters, by which the sum is differentiated.
        code: of each side's warped faces.
        vectors: the bottleneck's, before they are widened to `code`; empty where codes
            are not aligned.
        error: of each side's faces as its own decoder draws them.
        drawn: these faces.
        compare: a side's code, as a side draws it, against a target and its mask: the
            error, and what was drawn.
        shown: faces for the critic, empty without one; see `_mix_swaps`.
    """

    network: Network
    code: dict[Side, Array]
    vectors: dict[Side, Array]
    error: dict[Side, Array]
    drawn: Drawn
    compare: Callable[[Array, Array, Array | None, Side], tuple[Array, Array]]
    shown: Drawn


Loss = Callable[[Forward, Batch, TrainState], tuple[Array, Metrics]]


def choose_losses(batch: Batch, state: TrainState) -> list[Loss]:
    """The losses that a run has: those that its batch and its state have data for."""
    taught = batch["a"].swapped is not None
    shaped = batch["a"].shape is not None and state.model.align_codes
    asked: list[tuple[bool, Loss]] = [
        (True, reconstruct),
        (taught, follow_teacher),
        (shaped, read_shapes),
        (state.mesh is not None, follow_mesh),
        (state.critic is not None, fool_critic),
    ]
    return [loss for wanted, loss in asked if wanted]


def sum_losses(
    network: Network, state: TrainState, batch: Batch
) -> tuple[Array, tuple[Metrics, dict[Side, Moments], Drawn]]:
    """What a step minimises: the sum of a run's losses.

    Args:
        network: the parameters to differentiate by, in place of the state's.
        state: the network's functions, the loss and `remat`.
        batch: in float32.

    Returns:
        The sum; the metrics of all losses; where codes are aligned, the moments of each
        side's, else an empty dict; and faces that the critic is shown.
    """
    # A batch of smaller crops is one of the first steps, see `half_steps`.
    state = replace(state, model=state.model.at_size(batch["a"].target.shape[1]))
    forward = run_forward(network, state, batch)
    terms = [loss(forward, batch, state) for loss in choose_losses(batch, state)]
    total = sum((value for value, _ in terms), start=jnp.zeros(()))
    metrics = {name: value for _, more in terms for name, value in more.items()}
    return total, (metrics, _take_moments(forward.vectors), forward.shown)


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
        forward.compare(forward.code[side], batch[side].swapped, batch[side].mask, to)[
            0
        ]
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
        swaps, faces, middles, swap_middles = [], [], [], []
        for source, to in DIRECTIONS:
            swaps.append(_swap(state, forward, source, to, every=_MESH_EVERY))
            faces.append(batch[source].target[::_MESH_EVERY])
            middles.append(_repeat(guide.middles[source], len(faces[-1])))
            swap_middles.append(_repeat(guide.middles[to], len(faces[-1])))
        # Both directions at once: the network takes seconds to compile.
        return mesh_distance(
            guide.network,
            jnp.concatenate(swaps),
            jnp.concatenate(faces),
            middle=jnp.concatenate(middles),
            swap_middle=jnp.concatenate(swap_middles),
        )

    begun = state.step >= state.loss.mesh_start
    error = jax.lax.cond(begun, measure, lambda: jnp.zeros(()))
    return state.loss.mesh_weight * error, {"loss_mesh": error}


def fool_critic(
    forward: Forward, batch: Batch, state: TrainState
) -> tuple[Array, Metrics]:
    """How far drawn faces are from fooling the critic; 0 before it begins."""
    assert state.critic is not None
    fooling = jax.lax.cond(
        state.step >= state.loss.critic_start,
        fooling_loss,
        lambda params, shown: jnp.zeros(()),
        state.critic.params,
        forward.shown,
    )
    return state.loss.critic_weight * fooling, {}


def run_forward(network: Network, state: TrainState, batch: Batch) -> Forward:
    """Encodes both sides' warped faces, and draws each with its own decoder."""
    model = state.model

    def encode(network: Network, faces: Array) -> tuple[Array, Array | None]:
        if not model.align_codes:
            return model.encode(network, faces), None
        vectors = model.compress(network, faces)
        return model.widen(network, vectors), vectors

    def compare(
        network: Network, code: Array, target: Array, mask: Array | None, side: Side
    ) -> tuple[Array, Array]:
        output, logits = model.draw(network, code, side)
        error = reconstruction_loss(state.loss, output, target, mask)
        if logits is not None and mask is not None:
            wrong = losses.mask_cross_entropy(logits, mask[..., 0])
            error = error + state.loss.mask_weight * wrong
        return error, output

    if state.remat:
        # Encoder and decoders apart: only one of the three has its activations alive
        # at a time. One checkpoint around all would save nothing at its peak.
        encode = jax.checkpoint(encode)
        compare = jax.checkpoint(compare, static_argnums=4)
    # A and B go through the encoder in one go: one large product, not two.
    warped = jnp.concatenate([batch[side].warped for side in SIDES])
    code, vectors = encode(network, warped)
    codes = _split(code)
    found: dict[Side, tuple[Array, Array]] = {
        s: compare(network, codes[s], batch[s].target, batch[s].mask, s) for s in SIDES
    }
    drawn: Drawn = {side: output for side, (_, output) in found.items()}
    forward = Forward(
        network=network,
        code=codes,
        vectors={} if vectors is None else _split(vectors),
        error={side: error for side, (error, _) in found.items()},
        drawn=drawn,
        compare=partial(compare, network),
        shown={},
    )
    if state.critic is None:
        return forward
    begun = state.step >= state.loss.critic_start
    shown = jax.lax.cond(begun, lambda: _mix_swaps(state, forward), lambda: drawn)
    return replace(forward, shown=shown)


def _split(both: Array) -> dict[Side, Array]:
    """A's half of an array, and B's."""
    count = len(both) // 2
    return {"a": both[:count], "b": both[count:]}


def _mix_swaps(state: TrainState, forward: Forward) -> Drawn:
    """What the critic is shown: of each side, swaps and other drawn faces by turns.

    Swaps are what it is for: no target tells how they should look.
    """
    shown: Drawn = {}
    for source, to in DIRECTIONS:
        swapped = _swap(state, forward, source, to, every=2)
        shown[to] = jnp.concatenate([swapped, forward.drawn[to][1::2]])
    return shown


def _swap(
    state: TrainState, forward: Forward, source: Side, to: Side, *, every: int
) -> Array:
    """Every so many faces of a batch as the other person's decoder draws them."""
    part = forward.code[source][::every]
    if forward.vectors:
        # The moments are those of the state; no gradient reaches them.
        known = state.statistics
        vectors = forward.vectors[source][::every]
        moved = move_codes(vectors, known[source], known[to])
        part = state.model.widen(forward.network, moved)
    return state.model.decode(forward.network, part, to)


def _repeat(array: Array, count: int) -> Array:
    return jnp.broadcast_to(array, (count, *array.shape))


def _take_moments(vectors: dict[Side, Array]) -> dict[Side, Moments]:
    moments: dict[Side, Moments] = {}
    for side, own in vectors.items():
        own = jax.lax.stop_gradient(own).astype(jnp.float32)
        moments[side] = Moments(own.mean(0), jnp.square(own).mean(0))
    return moments
