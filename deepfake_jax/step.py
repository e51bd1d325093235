"""The training step: pure, jitted, and mapped over devices.

A batch is a dict of uint8 or float32 arrays, ``warped_a``, ``target_a``, ``warped_b``,
``target_b``, each [n, height, width, 3]; uint8 is scaled to [0, 1] on the device. One
step minimises the sum of A's and B's losses by one Adam update of everything, encoder
included, where the first public program updated for A, then for B, with one update of
the encoder each. The sum is one backward pass and does not depend on the order.

A step may have a teacher: a trained network whose swaps of the targets are those that
this one's swaps of the warped faces are compared with. And it may have a critic, which
learns beside the network; see `critic`.

Several steps can share a dispatch: their batches are stacked along a leading axis, and
so are the metrics that come back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Protocol, cast, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int32, PRNGKeyArray

from deepfake_jax import losses
from deepfake_jax.config import LossConfig, OptimizerConfig, TrainConfig
from deepfake_jax.critic import Critic, Drawn, fooling_loss, init_critic, update_critic
from deepfake_jax.models.autoencoder import (
    Autoencoder,
    Params,
    Side,
    make_autoencoder,
    move_codes,
)
from deepfake_jax.swap import swap_faces

Batch = Mapping[str, Any]
Device = Any  # jax.Device is a variable to type checkers
Metrics = dict[str, Any]
# Of the running moments of codes: they follow the parameters, which change.
_CODES_DECAY = 0.98


@struct.dataclass
class TrainState:
    """All that changes in training, and the fixed functions that change it.

    Attributes:
        step: updates so far.
        params: ``{"encoder", "decoder_a", "decoder_b"}``, float32.
        opt_state: optax's.
        ema: moving average of the parameters, or None if none is kept.
        critic: what tells drawn faces from real ones, or None.
        model: the network (static).
        tx: the optimizer (static).
        loss: the loss (static).
        ema_decay: decay of `ema` (static).
        remat: whether the backward pass computes activations again instead of keeping
            them (static).
    """

    step: Int32[Array, "..."]
    params: Params
    opt_state: Any
    ema: Params | None
    critic: Critic | None
    model: Autoencoder = struct.field(pytree_node=False)
    tx: optax.GradientTransformation = struct.field(pytree_node=False)
    loss: LossConfig = struct.field(pytree_node=False)
    ema_decay: float = struct.field(pytree_node=False)
    remat: bool = struct.field(pytree_node=False, default=False)

    @property
    def swap_params(self) -> Params:
        """The parameters to swap with: the moving average where there is one."""
        return self.params if self.ema is None else self.ema


@struct.dataclass
class Teacher:
    """A trained network to learn swaps from; nothing of it changes.

    Attributes:
        params: of the network.
        model: the network, of any kind with the student's size of faces (static).
    """

    params: Params
    model: Autoencoder = struct.field(pytree_node=False)


@runtime_checkable  # for the run-time checks of annotations
class StepFunction(Protocol):
    """A compiled `train_step` or `train_steps`."""

    def __call__(
        self, state: TrainState, batch: Batch, *, teacher: Teacher | None = None
    ) -> tuple[TrainState, Metrics]:
        """The state after a dispatch, and its metrics."""
        ...


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam with optional clipping and a linear warm-up to a constant step size.

    The step size never depends on how long the run will be, so a run can be stopped,
    resumed and extended at any step; the moving average of the weights takes the place
    of a falling step size.
    """

    def schedule(count: Any) -> Any:
        # The count starts at 0, and the first update must not be zero.
        share = (count + 1).astype(jnp.float32) / max(config.warmup_steps, 1)
        return config.learning_rate * jnp.minimum(share, 1)

    adam = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=1e-7),
        optax.scale_by_learning_rate(schedule),
    )
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
    return adam


# One object for equal settings. It is a static part of the state: with another one a
# process's second run would be traced and compiled anew, seconds even for a tiny one.
_keep_optimizer = cache(make_optimizer)


@partial(jax.jit, static_argnames="model")
def _draw_parameters(key: PRNGKeyArray, *, model: Autoencoder) -> Params:
    return model.init(key)


def init_state(key: PRNGKeyArray, config: TrainConfig) -> TrainState:
    """A fresh state: drawn parameters, zero moments, step 0."""
    model = make_autoencoder(config.model)
    tx = _keep_optimizer(config.optimizer)
    params = _draw_parameters(key, model=model)
    critic = None
    if config.loss.critic_weight:
        # A key of its own: the network's parameters are the same without a critic.
        critic = init_critic(jax.random.fold_in(key, 1), config, model.face_size)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        ema=jax.tree.map(jnp.copy, params) if config.optimizer.ema_decay else None,
        critic=critic,
        model=model,
        tx=tx,
        loss=config.loss,
        ema_decay=config.optimizer.ema_decay,
        remat=config.remat,
    )


def reconstruction_loss(config: LossConfig, output: Array, target: Array) -> Array:
    """The loss that a config describes, a scalar."""
    pixel = {"mae": losses.mae, "mse": losses.mse}[config.pixel]
    total = pixel(output, target)
    if config.dssim_weight:
        structure = losses.dssim(output, target, step=config.dssim_step)
        total = total + config.dssim_weight * structure
    return total


def to_float(faces: Array) -> Array:
    """Scales uint8 faces to float32 in [0, 1]; float32 faces pass unchanged."""
    if faces.dtype == jnp.uint8:
        return faces.astype(jnp.float32) * jnp.float32(1 / 255)
    return faces


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    axis_name: str | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """One update of encoder and both decoders; pure.

    If a loss or the gradients' norm is not a finite number, parameters, optimizer state
    and moving average stay as they are to the bit. `step` counts all the same, because
    it names the next batch.

    Args:
        state: before the update.
        batch: the pairs of both sides.
        axis_name: the mapped axis to average gradients over, None on one device.
        teacher: whose swaps to learn, too; None learns from faces alone.

    Returns:
        The next state and the metrics, scalars: ``loss_a``, ``loss_b`` (before the
        update), with a teacher ``loss_swap``, with a critic ``loss_critic`` (0 before
        it begins), ``grad_norm``, and ``skipped``, 1 if the update was left out, else
        0.
    """
    pairs = {name: to_float(jnp.asarray(faces)) for name, faces in batch.items()}
    if teacher is not None:
        pairs |= draw_swaps(teacher, pairs)
    gradient = jax.grad(sum_losses, has_aux=True)
    grads, (metrics, codes, drawn) = gradient(state.params, state, pairs)
    if axis_name is not None:
        grads, metrics, codes = jax.lax.pmean((grads, metrics, codes), axis_name)
    critic, more = _advance_critic(state, drawn, pairs, axis_name)
    metrics |= more
    grad_norm = optax.tree.norm(grads)
    # optax mixes int32 counts with floats, which a caller's strict mode would refuse.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = state.tx.update(grads, state.opt_state, state.params)
    params: Params = cast(Params, optax.apply_updates(state.params, updates))
    if codes:
        params |= {"codes": _follow_codes(state, codes)}
    ema = _update_ema(state, params)
    changed = replace(state, params=params, opt_state=opt_state, ema=ema, critic=critic)
    finite = jnp.isfinite(grad_norm)
    for name in metrics:
        finite &= jnp.isfinite(metrics[name])
    # A select per array joins the loop that writes the array and reads nothing more;
    # `lax.cond` would need two programs and keeps the old state alive beside the new.
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), changed, state)
    metrics |= {"grad_norm": grad_norm, "skipped": 1 - finite.astype(jnp.int32)}
    return replace(kept, step=state.step + 1), metrics


def draw_swaps(teacher: Teacher, pairs: Mapping[str, Array]) -> dict[str, Array]:
    """A batch's targets as the teacher swaps them.

    The targets, not the warped faces: the teacher at its best is the example, and a
    student undoes the warp as it does for its own side.

    Args:
        teacher: the network; no gradient reaches its parameters.
        pairs: a batch in float32.

    Returns:
        ``swapped_a``, A's faces as B, and ``swapped_b``, B's as A.
    """

    def draw(side: Side, to: Side) -> Array:
        faces = pairs[f"target_{side}"]
        return swap_faces(teacher.model, teacher.params, faces, to=to, source=side)

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
            loss, times the config's `swap_weight`; codes must not be aligned.

    Returns:
        The sum; as metrics both sides' losses and, where swaps are compared, the mean
        of both directions' as ``loss_swap``; and where codes are aligned, the batch's
        mean of each side's codes and of their squares, else an empty dict; and faces
        that each decoder drew, for the critic.
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


def _advance_critic(
    state: TrainState, drawn: Drawn, pairs: Mapping[str, Array], axis_name: str | None
) -> tuple[Critic | None, Metrics]:
    """The critic after a step, and its loss as a metric; nothing without one."""
    if state.critic is None:
        return None, {}
    critic, loss = jax.lax.cond(
        state.step >= state.loss.critic_start,
        partial(
            update_critic,
            learning_rate=state.loss.critic_learning_rate,
            axis_name=axis_name,
        ),
        lambda critic, drawn, real: (critic, jnp.zeros(())),
        state.critic,
        drawn,
        {"a": pairs["target_a"], "b": pairs["target_b"]},
    )
    return critic, {"loss_critic": loss}


def _update_ema(state: TrainState, params: Any) -> Any:
    if state.ema is None:
        return None
    share = _new_share(state, state.ema_decay)
    return optax.incremental_update(params, state.ema, share)


def _new_share(state: TrainState, decay: float) -> Array:
    """Weight of what is new in an average over 1 / (1 - decay) steps.

    Over about nine tenths of the run while it is shorter, so the average starts
    unbiased.
    """
    step = state.step.astype(jnp.float32)
    return 1 - jnp.minimum(jnp.float32(decay), (1 + step) / (10 + step))


def _follow_codes(state: TrainState, codes: Params) -> Params:
    """The running moments of both sides' codes, after a batch's."""
    share = _new_share(state, _CODES_DECAY)
    followed: Params = {}
    for side, batch in codes.items():
        known = state.params["codes"][side]
        apart = batch["mean"] - known["mean"]
        mean = known["mean"] + share * apart
        # About the running mean, for a batch's own would miss how means vary.
        spread = batch["square"] - jnp.square(batch["mean"])
        spread = spread + (1 - share) * jnp.square(apart)
        variance = known["variance"] + share * (spread - known["variance"])
        followed[side] = {"mean": mean, "variance": variance}
    return followed


def train_steps(
    state: TrainState,
    batches: Batch,
    *,
    axis_name: str | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """`train_step` for each of several batches, in order.

    Args:
        state: before the first update.
        batches: as `train_step`'s batch, stacked: [steps, n, height, width, 3].
        axis_name: as for `train_step`.
        teacher: likewise.

    Returns:
        The state after the last update, and the metrics of each step, [steps].
    """
    advance = partial(train_step, axis_name=axis_name, teacher=teacher)
    return jax.lax.scan(advance, state, batches)


def jit_step(*, stacked: bool = False) -> StepFunction:
    """`train_step` compiled for one device; the given state's memory is reused.

    Args:
        stacked: compile `train_steps` instead, for as many steps as a call's batches
            have.
    """
    return jax.jit(train_steps if stacked else train_step, donate_argnums=0)


def pmap_step(
    axis_name: str = "data",
    *,
    stacked: bool = False,
    devices: Sequence[Device] | None = None,
) -> StepFunction:
    """`train_step` over all devices: gradients averaged, state donated.

    The state and the teacher must be replicated and the batch split along a leading
    device axis; see `parallel.Devices`. A batch may bring ``vote``, a number a device;
    the largest of all devices comes back as a metric, so that processes can agree on
    something, such as the end, without an exchange of its own.

    Args:
        axis_name: name of the device axis.
        stacked: map `train_steps` instead; the steps' axis follows the device axis.
        devices: those of all processes; None takes all there are.
    """
    return _map_step(axis_name, stacked, None if devices is None else tuple(devices))


# One function for equal arguments: each one made is traced and compiled by itself.
@cache
def _map_step(
    axis_name: str, stacked: bool, devices: tuple[Device, ...] | None
) -> StepFunction:
    advance = train_steps if stacked else train_step

    def step(
        state: TrainState, batch: Batch, teacher: Teacher | None = None
    ) -> tuple[TrainState, Metrics]:
        faces = {name: part for name, part in batch.items() if name != "vote"}
        state, metrics = advance(state, faces, axis_name=axis_name, teacher=teacher)
        if "vote" in batch:
            metrics["vote"] = jax.lax.pmax(batch["vote"], axis_name)
        return state, metrics

    return jax.pmap(step, axis_name=axis_name, donate_argnums=0, devices=devices)
