"""The training step: one trace, one result whatever runs it, and what it minimises."""

import os
from dataclasses import replace
from functools import partial, wraps
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.train_config import TrainConfig, config_from_dict
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.objective import sum_losses
from deepfake_jax.training.state import TrainState, init_state, make_optimizer
from deepfake_jax.training.step import (
    graph_options,
    jit_step,
    pmap_step,
    train_step,
)
from deepfake_jax.types import SIDES, Side

# Tests share these where they can: each other state is compiled anew.
AVERAGED = {"ema_decay": 0.9, "learning_rate": 1e-2}
PLAIN = {"learning_rate": 1e-3}
SGD = optax.sgd(0.1)


def tiny_config(**optimizer) -> TrainConfig:
    tree = {"model": {"width": 8}, "batch_size": 4, "optimizer": optimizer}
    return config_from_dict(tree)


def make_batch(seed: int = 0, n: int = 4) -> Batch:
    rng = np.random.default_rng(seed)

    def draw() -> np.ndarray:
        return rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)

    return {side: Pair(draw(), draw()) for side in SIDES}


def make_floats() -> Batch:
    return jax.tree.map(lambda part: (part / 255).astype(np.float32), make_batch())


def change(batch: Batch, side: Side, **parts: Any) -> Batch:
    return {**batch, side: replace(batch[side], **parts)}


def sgd_state() -> TrainState:
    """Adam divides by the gradient's size, which turns rounding into whole steps."""
    state = init_state(jax.random.key(0), tiny_config())
    return replace(state, tx=SGD, opt_state=SGD.init(cast(Any, state.network)))


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_one_trace_serves_ten_steps():
    traces = 0

    @wraps(train_step)  # the same name: the same program, compiled once
    def counted(state, batch):
        nonlocal traces
        traces += 1
        return train_step(state, batch)

    step = jax.jit(counted, donate_argnums=0)
    state = init_state(jax.random.key(0), tiny_config(**AVERAGED))
    for index in range(10):
        state, _ = step(state, make_batch(index))
    assert traces == 1
    assert int(state.step) == 10


def test_four_devices_agree_with_one():
    devices = jax.local_devices()
    assert len(devices) == 4, "conftest asks for four virtual devices"
    batch, state = make_batch(), sgd_state()
    split = jax.tree.map(lambda part: part.reshape(4, 1, 64, 64, 3), batch)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), state)
    spread, spread_metrics = pmap_step()(copies, split)
    single, metrics = jit_step()(state, batch)
    first = jax.tree.map(lambda leaf: leaf[0], spread.network)
    # The mean of four means of float32 against one mean.
    np.testing.assert_allclose(flat(first), flat(single.network), rtol=1e-4, atol=1e-6)
    assert float(spread_metrics["loss_b"][0]) == pytest.approx(
        float(metrics["loss_b"]), rel=1e-5
    )


def aligned_state() -> TrainState:
    """Parameters that stay as they are, so that codes have fixed moments."""
    config = tiny_config()
    model = replace(config.model, name="lite", align_codes=True)
    state = init_state(jax.random.key(0), replace(config, model=model))
    still = optax.sgd(0.0)
    return replace(state, tx=still, opt_state=still.init(cast(Any, state.network)))


def test_running_moments_are_those_of_each_sides_codes():
    state, step = aligned_state(), jit_step()
    batches = [make_batch(seed) for seed in range(60)]
    faces = np.concatenate([batch["b"].warped for batch in batches])
    scaled = jnp.asarray(faces, jnp.float32) / 255
    codes = np.asarray(jax.jit(state.model.compress)(state.network, scaled))
    for batch in batches:
        # Another person: darker.
        batch = change(batch, "a", warped=batch["a"].warped // 4)
        state, _ = step(state, batch)
    found = state.statistics
    deviation = codes.std(0)
    # Averages over about 50 batches of 4: means of 200 faces vary by 7 %, variances by
    # 10 %; the running ones give the latest more weight.
    apart = np.abs(found["b"].mean - codes.mean(0)) / deviation
    assert np.median(apart) < 0.1
    ratio = np.asarray(found["b"].variance) / deviation**2
    assert 0.8 < np.median(ratio) < 1.2
    assert np.median(np.abs(found["a"].mean - codes.mean(0)) / deviation) > 0.4


@pytest.mark.parametrize("weights", [None, [0.2, 1.4, 0.0, 2.0]])
def test_four_devices_have_one_devices_moments(weights: list[float] | None):
    batch, state = make_batch(), aligned_state()
    if weights is not None:
        own = np.array(weights, np.float32)
        batch = {side: replace(pair, weight=own) for side, pair in batch.items()}
    split = jax.tree.map(lambda part: part.reshape(4, 1, *part.shape[1:]), batch)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), state)
    spread, _ = pmap_step()(copies, split)
    single, _ = jit_step()(state, batch)
    first = jax.tree.map(lambda leaf: leaf[0], spread.statistics)
    np.testing.assert_allclose(flat(first), flat(single.statistics), rtol=1e-3)


def test_moments_are_of_faces_that_count():
    batch, state = make_batch(), aligned_state()
    double = {
        side: jax.tree.map(lambda part: part[[0, 0, 1]], pair)
        for side, pair in batch.items()
    }
    weighed = {
        side: replace(
            jax.tree.map(lambda part: part[[0, 2, 1]], pair),
            weight=np.array([2.0, 0.0, 1.0], np.float32),
        )
        for side, pair in batch.items()
    }
    found, expected = (
        jit_step()(jax.tree.map(jnp.copy, state), each)[0].statistics
        for each in (weighed, double)
    )
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-4, atol=1e-6)


# Updates that must not happen


@pytest.fixture(scope="module")
def jitted():
    """The compiled step, shared by tests of one structure of state."""
    return jax.jit(train_step)


def assert_identical(tree, other) -> None:
    for leaf, mine in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, mine)


@pytest.mark.parametrize("where", ["target", "parameter", "overflow"])
def test_a_step_without_finite_numbers_changes_nothing_but_the_count(jitted, where):
    config = tiny_config(ema_decay=0.9, warmup_steps=3, clip_norm=1.0)
    state = init_state(jax.random.key(0), config)
    floats = make_floats()
    state, metrics = jitted(state, floats)
    assert int(metrics["skipped"]) == 0
    broken = floats
    if where == "target":  # one pixel of one side
        target = floats["a"].target.copy()
        target[0, 0, 0, 0] = np.nan
        broken = change(floats, "a", target=target)
    elif where == "parameter":
        expand = state.network.encoder["expand"]
        expand["bias"] = expand["bias"].at[0].set(jnp.inf)
    else:  # a finite loss whose gradient is not
        broken = change(floats, "a", warped=floats["a"].warped * np.float32(1e38))
    after, metrics = jitted(state, broken)
    assert int(metrics["skipped"]) == 1
    assert int(after.step) == int(state.step) + 1
    for name in ("network", "statistics", "opt_state", "ema"):
        assert_identical(getattr(after, name), getattr(state, name))
    if where != "parameter":
        again, metrics = jitted(after, floats)
        assert int(metrics["skipped"]) == 0
        assert np.any(flat(again.network) != flat(after.network))


# The run-time checks refuse the stand-ins for arrays that `lower` puts into a state.
@pytest.mark.usefixtures("unchecked")
def test_the_guard_keeps_the_state_in_its_memory():
    state = init_state(jax.random.key(0), tiny_config(**AVERAGED))
    step: Any = jit_step()
    memory = step.lower(state, make_batch()).compile().memory_analysis()
    # Every array of the state comes back where it was: nothing is kept twice.
    arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert memory.alias_size_in_bytes >= arrays


# Several steps a dispatch, recomputed activations, bfloat16


def compile_for_users(step: Any, *args: Any) -> Any:
    """A step with the loops that XLA writes for users, not conftest's older ones."""
    options = {"xla_cpu_use_fusion_emitters": True, "xla_backend_optimization_level": 0}
    older = "fusion_emitters" in os.environ["XLA_FLAGS"]
    return step.lower(*args).compile(compiler_options=options if older else None)


@pytest.mark.usefixtures("unchecked")
def test_stacked_steps_are_the_same_steps():
    batches = [make_batch(index) for index in range(3)]
    one = two = init_state(jax.random.key(0), tiny_config(**AVERAGED))
    two = jax.tree.map(jnp.copy, two)
    step, losses = compile_for_users(jit_step(), one, batches[0]), []
    for batch in batches:
        one, metrics = step(one, batch)
        losses.append(float(metrics["loss_a"]))
    stacked = jax.tree.map(lambda *parts: np.stack(parts), *batches)
    two, metrics = compile_for_users(jit_step(stacked=True), two, stacked)(two, stacked)
    assert int(two.step) == 3
    # To the bit on a CPU: the loop's body is compiled as the step alone is. (Older
    # loops sum in another order there.)
    np.testing.assert_array_equal(metrics["loss_a"], losses)
    assert_identical(two, one)


def count_kept_bytes(state: TrainState, n: int) -> int:
    """What the forward pass keeps for the backward pass, parameters included."""
    pairs: Batch = {side: Pair(*[jnp.zeros((n, 64, 64, 3))] * 2) for side in SIDES}

    def run_forward(network):
        return jax.vjp(lambda n: sum_losses(n, state, pairs), network, has_aux=True)[1]

    kept = jax.tree.leaves(jax.eval_shape(run_forward, state.network))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in kept)


def test_remat_gives_the_same_gradients_and_keeps_less():
    batch, step = make_batch(), jit_step()
    first, metrics = step(sgd_state(), batch)
    second, again = step(replace(sgd_state(), remat=True), batch)
    # The same sums, but XLA may fuse them otherwise: float32 rounding.
    np.testing.assert_allclose(
        flat(first.network), flat(second.network), rtol=1e-5, atol=1e-6
    )
    assert float(metrics["loss_a"]) == pytest.approx(float(again["loss_a"]), rel=1e-6)
    # Only faces and codes, of all layers. What XLA makes of it is its own affair: on a
    # CPU its buffers for single convolutions are larger than all that is kept.
    assert count_kept_bytes(second, 64) < 0.5 * count_kept_bytes(first, 64)


def test_both_precisions_learn_alike():
    rng = np.random.default_rng(3)
    # Smooth pictures, so that there is something to learn in forty steps.
    coarse = rng.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    faces = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    batch: Batch = {side: Pair(faces, faces) for side in SIDES}
    curves = {}
    for precision in ("float32", "bfloat16"):
        tree = {
            "model": {"width": 8, "precision": precision},
            "optimizer": PLAIN,
        }
        state = init_state(jax.random.key(0), config_from_dict(tree))
        step, curve, metrics = jit_step(), [], {}
        for _ in range(40):
            state, metrics = step(state, batch)
            curve.append(metrics["loss_a"])
        curves[precision] = np.array(curve)
        arrays = jax.tree.leaves((state.network, state.opt_state, metrics["loss_a"]))
        assert {leaf.dtype for leaf in arrays if leaf.ndim} == {np.dtype(np.float32)}
        assert metrics["loss_a"].dtype == np.float32
    single, half = curves["float32"], curves["bfloat16"]
    assert single[-1] < 0.8 * single[0]
    # bfloat16 has 8 bits, an error of 0.4% a product, and sums are float32: the first
    # loss differs by less. Updates of Adam carry the errors on, so that later single
    # losses differ by some percent either way, and means of ten by less.
    np.testing.assert_allclose(half[0], single[0], rtol=0.004)
    means = half.reshape(4, 10).mean(axis=1), single.reshape(4, 10).mean(axis=1)
    np.testing.assert_allclose(*means, rtol=0.05)


def test_losses_are_those_of_the_parameters_before_the_update():
    state = init_state(jax.random.key(1), tiny_config(**PLAIN))
    batch = make_batch()
    warped = jnp.asarray(batch["b"].warped, jnp.float32) / 255
    target = jnp.asarray(batch["b"].target, jnp.float32) / 255
    output = jax.jit(partial(swap_faces, state.model, to="b"))(
        state.swap_params, warped
    )
    expected = float(jnp.mean(jnp.abs(output - target)))
    _, metrics = jit_step()(state, batch)
    assert float(metrics["loss_b"]) == pytest.approx(expected, rel=1e-5)


def test_float_and_uint8_batches_agree():
    batch = make_batch()
    scaled = make_floats()
    step = jit_step()
    from_bytes, _ = step(sgd_state(), batch)
    from_floats, _ = step(sgd_state(), scaled)
    # x * (1/255) and x / 255 differ in the last bit.
    np.testing.assert_allclose(
        flat(from_bytes.network), flat(from_floats.network), rtol=1e-4, atol=1e-6
    )


def test_training_lowers_both_losses():
    state = init_state(jax.random.key(0), tiny_config(**PLAIN))
    step, batch = jit_step(), make_batch()
    state, first = step(state, batch)
    last = first
    for _ in range(40):
        state, last = step(state, batch)
    for name in ("loss_a", "loss_b"):
        assert float(last[name]) < 0.99 * float(first[name])


def take_updates(config: TrainConfig, gradients: list[float]) -> list[float]:
    """The updates of one parameter under a series of gradients."""
    tx = make_optimizer(config.optimizer)
    params = {"w": jnp.zeros(1)}
    state, updates = tx.init(params), []
    with jax.numpy_dtype_promotion("standard"):  # as `train_step` calls optax
        for gradient in gradients:
            update, state = tx.update({"w": jnp.full(1, gradient)}, state, params)
            updates.append(flat(update).item())
    return updates


def test_warm_up_rises_to_the_learning_rate():
    config = tiny_config(learning_rate=1e-2, warmup_steps=4)
    # A constant gradient: Adam's update is the step size itself.
    updates = take_updates(config, [1.0] * 6)
    # eps 1e-7 and float32 moments.
    np.testing.assert_allclose(
        updates, [-0.0025, -0.005, -0.0075, -0.01, -0.01, -0.01], rtol=1e-4
    )


def test_clipping_bounds_the_gradient():
    clipped = take_updates(tiny_config(clip_norm=1.0), [0.5, 1000.0, 0.5])
    bounded = take_updates(tiny_config(), [0.5, 1.0, 0.5])
    np.testing.assert_allclose(clipped, bounded, rtol=1e-5)
    assert not np.allclose(clipped, take_updates(tiny_config(), [0.5, 1000.0, 0.5]))


def test_moving_average_follows_the_parameters():
    state = init_state(jax.random.key(0), tiny_config(**AVERAGED))
    before = flat(state.network)
    after, _ = jit_step()(state, make_batch())
    # At step 0 the decay is min(0.9, 1 / 10): nine tenths of the way.
    expected = 0.1 * before + 0.9 * flat(after.network)
    np.testing.assert_allclose(flat(after.ema), expected, rtol=1e-5, atol=1e-7)
    assert after.swap_params is after.ema


def test_without_average_swaps_use_the_parameters():
    state = init_state(jax.random.key(0), tiny_config())
    assert state.ema is None
    assert state.swap_params.network is state.network


def test_seed_decides_the_parameters():
    config = tiny_config()
    first = flat(init_state(jax.random.key(3), config).network)
    again = flat(init_state(jax.random.key(3), config).network)
    other = flat(init_state(jax.random.key(4), config).network)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_this_compiler_knows_the_kinds_of_graphs() -> None:
    options = graph_options()
    step = jax.jit(lambda x: x + 1, compiler_options=options)
    assert step(1.0) == 2
    assert graph_options((0, 10, 0)) is None
    unknown = {name: f"{kinds},NONESUCH" for name, kinds in (options or {}).items()}
    if unknown:  # it would say if it did not know one
        with pytest.raises(RuntimeError, match="not a valid enum"):
            jax.jit(lambda x: x + 1, compiler_options=unknown)(1.0)
