"""What a training step minimises: pure functions of parameters and a batch."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from deepfake_jax.models import losses
from deepfake_jax.models.autoencoder import Params, move_codes
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.train_config import LossConfig
from deepfake_jax.training.critic import Drawn, fooling_loss
from deepfake_jax.training.state import Teacher, TrainState
from deepfake_jax.types import Side

Metrics = dict[str, Any]
# `align.COVERAGE` of `align.FACE_SIZE`, which import OpenCV: pixels of a face picture
# that the network sees.
CROP_SIDE = 160.0


def reconstruction_loss(config: LossConfig, output: Array, target: Array) -> Array:
    """The loss that a config describes, a scalar."""
    pixel = {"mae": losses.mae, "mse": losses.mse}[config.pixel]
    total = pixel(output, target)
    if config.dssim_weight:
        structure = losses.dssim(output, target, step=config.dssim_step)
        total = total + config.dssim_weight * structure
    return total


def draw_swaps(teacher: Teacher, pairs: Mapping[str, Array]) -> dict[str, Array]:
    """A batch's targets as the teacher swaps them.

    The targets, not the warped faces: the teacher at its best is the example, and a
    student undoes the warp as it does for its own side.

    Args:
        teacher: the network; no gradient reaches its parameters.
        pairs: a batch in float32; where it has shapes, the teacher recalls by them, as
            a conversion does by landmarks.

    Returns:
        ``swapped_a``, A's faces as B, and ``swapped_b``, B's as A.
    """

    bank = teacher.params.get("bank", {})

    def draw(side: Side, to: Side) -> Array:
        faces, landmarks = pairs[f"target_{side}"], None
        if f"shape_{side}" in pairs and "middle" in bank.get(side, {}):
            middle, shapes = bank[side]["middle"], pairs[f"shape_{side}"]
            if shapes.shape[1] == len(middle):
                landmarks = CROP_SIDE * shapes + middle[None]
        return swap_faces(
            teacher.model,
            teacher.params,
            faces,
            to=to,
            source=side,
            landmarks=landmarks,
        )

    drawn = {"swapped_a": draw("a", "b"), "swapped_b": draw("b", "a")}
    return jax.lax.stop_gradient(drawn)


def sum_losses(
    params: Params, state: TrainState, pairs: dict[str, Array]
) -> tuple[Array, tuple[Metrics, Params, Drawn]]:
    """What a step minimises: A's loss plus B's, those of swaps, and the critic's.

    Args:
        params: those to differentiate by, in place of the state's.
        state: the network, the loss and `remat`.
        pairs: a batch in float32. With ``swapped_a`` and ``swapped_b``, see
            `draw_swaps`, both directions' swaps are compared with them by the same
            loss, times the config's `swap_weight`; codes must not be aligned. With
            ``shape_a`` and ``shape_b``, see `faceshape.cut_shapes`, and aligned codes,
            these are read from the codes by ``params["readout"]``.

    Returns:
        The sum; as metrics both sides' losses and, where swaps are compared, the mean
        of both directions' as ``loss_swap``, and where shapes are read, how far they
        are off on average, in shares of the face's side, as ``loss_shape``; and where
        codes are aligned, the batch's mean of each side's codes and of their squares,
        else an empty dict; and faces that each decoder drew, for the critic.
    """
    model = state.model

    def encode(params: Params, faces: Array) -> tuple[Array, Array | None]:
        if not model.align_codes:
            return model.encode(params, faces), None
        vectors = model.compress(params, faces)
        return model.widen(params, vectors), vectors

    def loss_of(
        params: Params, code: Array, target: Array, side: Side
    ) -> tuple[Array, Array]:
        output = state.model.decode(params, code, side)
        return reconstruction_loss(state.loss, output, target), output

    if state.remat:
        # Encoder and decoders apart: only one of the three has its activations alive
        # at a time. One checkpoint around all would save nothing at its peak.
        encode = jax.checkpoint(encode)
        loss_of = jax.checkpoint(loss_of, static_argnums=3)
    # A and B go through the encoder in one go: one large product, not two.
    count = pairs["warped_a"].shape[0]
    warped = jnp.concatenate([pairs["warped_a"], pairs["warped_b"]])
    code, vectors = encode(params, warped)
    loss_a, drawn_a = loss_of(params, code[:count], pairs["target_a"], "a")
    loss_b, drawn_b = loss_of(params, code[count:], pairs["target_b"], "b")
    total, metrics = loss_a + loss_b, {"loss_a": loss_a, "loss_b": loss_b}
    if "swapped_a" in pairs:
        both, _ = loss_of(params, code[:count], pairs["swapped_a"], "b")
        both = both + loss_of(params, code[count:], pairs["swapped_b"], "a")[0]
        total = total + state.loss.swap_weight * both
        metrics["loss_swap"] = both / 2
    if "shape_a" in pairs and vectors is not None:
        shapes = jnp.concatenate([pairs["shape_a"], pairs["shape_b"]])
        readout = params["readout"][:, : shapes.shape[1]]
        read = vectors.astype(jnp.float32) @ readout
        metrics["loss_shape"] = jnp.mean(jnp.abs(read - shapes))
        total = total + state.loss.shape_weight * metrics["loss_shape"]
    drawn: Drawn = {"a": drawn_a, "b": drawn_b}
    if state.critic is not None:
        fooling, drawn = jax.lax.cond(
            state.step >= state.loss.critic_start,
            partial(_fool, state),
            lambda params, code, vectors, drawn: (jnp.zeros(()), drawn),
            params,
            code,
            vectors,
            drawn,
        )
        total = total + state.loss.critic_weight * fooling
    codes: Params = {}
    if vectors is not None:
        vectors = jax.lax.stop_gradient(vectors).astype(jnp.float32)
        for side, own in (("a", vectors[:count]), ("b", vectors[count:])):
            codes[side] = {"mean": own.mean(0), "square": jnp.square(own).mean(0)}
    return total, (metrics, codes, drawn)


def _fool(
    state: TrainState, params: Params, code: Array, vectors: Array | None, drawn: Drawn
) -> tuple[Array, Drawn]:
    """What the critic makes of drawn faces, and the faces: swaps and others by turns.

    Swaps are what it is for: no target tells how they should look.
    """
    model, count = state.model, drawn["a"].shape[0]
    ways: tuple[tuple[Side, Side, slice], ...] = (
        ("b", "a", slice(count, None, 2)),
        ("a", "b", slice(0, count, 2)),
    )
    shown: Drawn = {}
    for source, to, place in ways:
        if vectors is None:
            part = code[place]
        else:
            # The moments are those of the state; no gradient reaches them.
            codes = state.params["codes"]
            moved = move_codes(vectors[place], codes[source], codes[to])
            part = model.widen(params, moved)
        swapped = model.decode(params, part, to)
        shown[to] = jnp.concatenate([swapped, drawn[to][1::2]])
    assert state.critic is not None
    return fooling_loss(state.critic.params, shown), shown
