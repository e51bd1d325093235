"""The training step: pure, jitted, and mapped over devices.

A batch has the pairs of both sides, see `batch.Pair`; uint8 pictures are scaled to
[0, 1] on the device. One step minimises the sum of A's and B's losses by one
update of everything, encoder included, where the first public program updated for A,
then for B, with one update of the encoder each. The sum is one backward pass and does
not depend on the order.

A step may have a teacher: a trained network whose swaps of the targets are those that
this one's swaps of the warped faces are compared with.

Several steps can share a dispatch: their batches are stacked along a leading axis, and
so are the metrics that come back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from deepfake_jax.models.autoencoder import to_float
from deepfake_jax.models.network import CodeStatistics, Network, SwapParams
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.objective import Metrics, Moments, draw_taught, sum_losses
from deepfake_jax.training.occluders import paste_occluders
from deepfake_jax.training.state import Teacher, TrainState
from deepfake_jax.types import Side

Device = Any  # jax.Device is a variable to type checkers
# A compiled `train_step` or `train_steps`.
Step = Callable[..., tuple[TrainState, Metrics]]
# Of the running moments of codes: they follow the parameters, which change.
_CODES_DECAY = 0.98
# What XLA may record as graphs of CUDA, which one launch starts: by default all but
# convolutions and loops, and so in pieces of a few kernels. A step of `lite`, 64 + 64,
# takes an H100 1.07 ms for 2.57, one of `original` 4.21 for 4.32.
_GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,"
    "DYNAMIC_SLICE_FUSION,CONVOLUTION,WHILE"
}
_GRAPHS_SINCE = (0, 10, 2)  # JAX's version; the compilers of earlier ones refuse them
_NO_WEIGHT = 1e-12  # of a batch of faces none of which counts


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
        update), with a teacher ``loss_swap``, ``grad_norm``, and ``skipped``, 1 if the
        update was left out, else 0.
    """
    batch = jax.tree.map(lambda leaf: to_float(jnp.asarray(leaf)), batch)
    batch = {side: _hide_faces(pair) for side, pair in batch.items()}
    if teacher is not None:
        batch = draw_taught(teacher, batch)
    gradient = jax.grad(sum_losses, has_aux=True)
    grads, (metrics, moments) = gradient(state.network, state, batch)
    if axis_name is not None:
        grads, metrics, moments = jax.lax.pmean((grads, metrics, moments), axis_name)
    grad_norm = optax.tree.norm(grads)
    # optax mixes int32 counts with floats, which a caller's strict mode would refuse.
    with jax.numpy_dtype_promotion("standard"):
        network: Any = state.network
        updates, opt_state = state.tx.update(grads, state.opt_state, network)
    changed = replace(
        state,
        network=cast(Network, optax.apply_updates(network, updates)),
        statistics=_follow_codes(state, moments),
        opt_state=opt_state,
    )
    changed = replace(changed, ema=_update_ema(changed))
    finite = jnp.isfinite(grad_norm)
    for name in metrics:
        finite &= jnp.isfinite(metrics[name])
    # A select per array joins the loop that writes the array and reads nothing more;
    # `lax.cond` would need two programs and keeps the old state alive beside the new.
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), changed, state)
    metrics |= {"grad_norm": grad_norm, "skipped": 1 - finite.astype(jnp.int32)}
    return replace(kept, step=state.step + 1), metrics


def _hide_faces(pair: Pair) -> Pair:
    if pair.occluder is None:
        return pair
    return replace(pair, warped=paste_occluders(pair.warped, pair.occluder))


def _update_ema(state: TrainState) -> SwapParams | None:
    """The moving average after an update; the step is not counted yet."""
    if state.ema is None:
        return None
    share = _new_share(state, state.ema_decay)
    now: Any = SwapParams(state.network, state.statistics)
    before: Any = state.ema
    return cast(SwapParams, optax.incremental_update(now, before, share))


def _new_share(state: TrainState, decay: float) -> Array:
    """Weight of what is new in an average over 1 / (1 - decay) steps.

    Over about nine tenths of the run while it is shorter, so the average starts
    unbiased.
    """
    step = state.step.astype(jnp.float32)
    return 1 - jnp.minimum(jnp.float32(decay), (1 + step) / (10 + step))


def _follow_codes(
    state: TrainState, moments: dict[Side, Moments]
) -> dict[Side, CodeStatistics]:
    """The running moments of both sides' codes, after a batch's.

    A batch of faces that hardly count moves them hardly.
    """
    followed: dict[Side, CodeStatistics] = {}
    for side, batch in moments.items():
        share = _new_share(state, _CODES_DECAY) * jnp.minimum(batch.weight, 1)
        known = state.statistics[side]
        weight = jnp.maximum(batch.weight, _NO_WEIGHT)
        middle, square = batch.mean / weight, batch.square / weight
        apart = middle - known.mean
        mean = known.mean + share * apart
        # About the running mean, for a batch's own would miss how means vary.
        spread = square - jnp.square(middle)
        spread = spread + (1 - share) * jnp.square(apart)
        variance = known.variance + share * (spread - known.variance)
        followed[side] = CodeStatistics(mean, variance)
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


def jit_step(
    *, stacked: bool = False, options: Mapping[str, Any] | None = None
) -> Step:
    """`train_step` compiled for one device; the given state's memory is reused.

    Args:
        stacked: compile `train_steps` instead, for as many steps as a call's batches
            have.
        options: of the compiler, as `jax.jit` has them.
    """
    function = train_steps if stacked else train_step
    options = None if options is None else dict(options)
    return jax.jit(function, donate_argnums=0, compiler_options=options)


def graph_options(
    version: tuple[int, ...] = jax.__version_info__,
) -> dict[str, str] | None:
    """Options of `jit_step` for NVIDIA's GPUs; None where this JAX has none."""
    return dict(_GRAPHS) if version >= _GRAPHS_SINCE else None


def pmap_step(
    axis_name: str = "data",
    *,
    stacked: bool = False,
    devices: Sequence[Device] | None = None,
) -> Step:
    """`train_step` over all devices: gradients averaged, state donated.

    The state and the teacher must be replicated and the batch split along a leading
    device axis; see `devices.Devices`. A call may bring ``vote``, a number a device;
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
) -> Step:
    advance = train_steps if stacked else train_step

    def step(
        state: TrainState,
        batch: Batch,
        teacher: Teacher | None = None,
        vote: Array | None = None,
    ) -> tuple[TrainState, Metrics]:
        state, metrics = advance(state, batch, axis_name=axis_name, teacher=teacher)
        if vote is not None:
            metrics["vote"] = jax.lax.pmax(vote, axis_name)
        return state, metrics

    return jax.pmap(step, axis_name=axis_name, donate_argnums=0, devices=devices)
