"""The critic: what it learns, what it makes of faces, and runs that have one."""

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.models.autoencoder import to_float
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.runs.checkpoint import restore_checkpoint
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    METRICS_NAME,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import TrainConfig, config_from_dict
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.critic import (
    Drawn,
    fooling_loss,
    init_critic,
    judging_loss,
    update_critic,
)
from deepfake_jax.training.loop import train
from deepfake_jax.training.objective import sum_losses
from deepfake_jax.training.state import TrainState, init_state
from deepfake_jax.training.step import jit_step, pmap_step
from deepfake_jax.types import SIDES, other_side

RATE = 1e-3


def make_faces(seed: int, *, n: int = 4, blurred: bool = False) -> Drawn:
    """Noise as fine as pixels, or the same noise with none of it: 4x4 px patches."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(size=(2, n, 64, 64, 3)).astype(np.float32)
    if blurred:
        noise = noise.reshape(2, n, 16, 4, 16, 4, 3).mean((3, 5))
        noise = noise.repeat(4, 2).repeat(4, 3)
    return {"a": jnp.asarray(noise[0]), "b": jnp.asarray(noise[1])}


@pytest.fixture(scope="module")
def taught():
    """A critic that has seen fine faces of both people and blurred drawings of them."""
    config = config_from_dict({"loss": {"critic_learning_rate": RATE}})
    critic, losses = init_critic(jax.random.key(0), config, 64), []
    update = jax.jit(
        lambda critic, drawn, real: update_critic(
            critic, drawn, real, learning_rate=RATE, axis_name=None
        )
    )
    for seed in range(60):
        faces = make_faces(2 * seed, blurred=True), make_faces(2 * seed + 1)
        critic, loss = update(critic, *faces)
        losses.append(float(loss))
    return critic, losses


def test_a_critic_learns_to_tell_drawn_from_real(taught):
    critic, losses = taught
    assert losses[0] == pytest.approx(np.log(2), abs=0.15)  # a guess
    assert losses[-1] < 0.05
    drawn, real = make_faces(1000, blurred=True), make_faces(1001)
    assert float(judging_loss(critic.params, drawn, real)) < 0.05
    # The other way round it is sure, and wrong.
    assert float(judging_loss(critic.params, real, drawn)) > 2


def test_fine_faces_fool_it_and_blurred_ones_do_not(taught):
    params = taught[0].params
    fine, blurred = make_faces(1001), make_faces(1000, blurred=True)
    assert float(fooling_loss(params, fine)) < 0.1
    assert float(fooling_loss(params, blurred)) > 4
    # To fool it better is to be less blurred: a step down the loss adds fine detail.
    gradient = jax.grad(lambda faces: fooling_loss(params, faces))(blurred)
    size = float(jnp.abs(gradient["a"]).max())
    changed: Drawn = {s: blurred[s] - 0.1 * gradient[s] / size for s in blurred}
    assert float(fooling_loss(params, changed)) < float(fooling_loss(params, blurred))


def test_faces_are_judged_as_the_person_they_are_drawn_for(taught):
    # B's real faces are now flat: what is real of A is not of B.
    critic = taught[0]
    real: Drawn = {"a": make_faces(1)["a"], "b": jnp.full((4, 64, 64, 3), 0.5)}
    drawn: Drawn = {"a": real["b"], "b": real["a"]}
    update = jax.jit(
        lambda critic: update_critic(
            critic, drawn, real, learning_rate=RATE, axis_name=None
        )
    )
    losses = []
    for _ in range(60):
        critic, loss = update(critic)
        losses.append(float(loss))
    assert losses[-1] < 0.1


def test_no_gradient_reaches_what_is_not_to_learn(taught):
    params = taught[0].params
    drawn, real = make_faces(0, n=2, blurred=True), make_faces(1, n=2)
    for part in jax.tree.leaves(jax.grad(fooling_loss)(params, drawn)):
        assert not np.any(part)
    judged = jax.grad(lambda faces: judging_loss(params, faces, real))(drawn)
    assert not any(np.any(part) for part in jax.tree.leaves(judged))


def make_state(weight: float, start: int = 2, *, align: bool = True) -> TrainState:
    tree = {
        "model": {"name": "lite", "width": 8, "align_codes": align},
        "loss": {"critic_weight": weight, "critic_start": start},
        "optimizer": {"learning_rate": 1e-3},
    }
    return init_state(jax.random.key(0), config_from_dict(tree))


def make_batch(n: int = 4) -> Batch:
    rng = np.random.default_rng(0)

    def draw() -> np.ndarray:
        return rng.integers(0, 256, (n, 64, 64, 3), np.uint8)

    return {side: Pair(draw(), draw()) for side in SIDES}


def test_steps_before_it_begins_are_those_without_it():
    step, batch = jit_step(), make_batch()
    plain, state = make_state(0.0), make_state(0.5)
    first = jax.tree.map(np.array, state.critic)
    for number in range(4):
        plain, _ = step(plain, batch)
        state, metrics = step(state, batch)
        pairs = zip(
            jax.tree.leaves(plain.network), jax.tree.leaves(state.network), strict=True
        )
        apart = max(float(jnp.abs(x - y).max()) for x, y in pairs)
        still = all(
            np.array_equal(x, y)
            for x, y in zip(
                jax.tree.leaves(first), jax.tree.leaves(state.critic), strict=True
            )
        )
        if number < 2:
            # Two programs, so not to the bit.
            assert apart < 1e-5 and still and float(metrics["loss_critic"]) == 0
        else:
            assert apart > 1e-5 and not still and float(metrics["loss_critic"]) > 0.1


@pytest.mark.parametrize("align", [True, False])
def test_half_of_what_it_sees_are_swaps(align):
    state = make_state(0.5, 0, align=align)
    if align:  # codes of unlike people, so that they are moved
        rng = np.random.default_rng(1)
        statistics = jax.tree.map(
            lambda x: jnp.asarray(rng.uniform(0.5, 2, x.shape), x.dtype),
            state.statistics,
        )
        state = replace(state, statistics=statistics)
    pairs = jax.tree.map(lambda x: to_float(jnp.asarray(x)), make_batch(3))
    total, (metrics, _, drawn) = sum_losses(state.network, state, pairs)
    model, network = state.model, state.network
    for to in SIDES:
        warped = pairs[other_side(to)].warped
        swaps = swap_faces(model, state.swap_params, warped, to=to)
        own = model.encode(network, pairs[to].warped)
        drawn_own = model.decode(network, own, to)
        expected = jnp.concatenate([swaps[::2], drawn_own[1::2]])
        np.testing.assert_allclose(drawn[to], expected, atol=1e-5)
    assert state.critic is not None
    both = float(metrics["loss_a"] + metrics["loss_b"])
    fooling = float(fooling_loss(state.critic.params, drawn))
    assert float(total) == pytest.approx(both + 0.5 * fooling, rel=1e-5)


def test_four_devices_have_one_devices_critic():
    # Two faces a side and device: swaps are every other face, as on one device.
    batch, state, sgd = make_batch(8), make_state(0.5, 0), optax.sgd(0.1)
    state = replace(state, tx=sgd, opt_state=sgd.init(cast(Any, state.network)))
    split = jax.tree.map(lambda part: part.reshape(4, 2, 64, 64, 3), batch)
    spread = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), state)
    spread_step, step = pmap_step(), jit_step()
    for _ in range(3):
        spread, spread_metrics = spread_step(spread, split)
        state, metrics = step(state, batch)
        for name in ("loss_a", "loss_critic", "grad_norm"):
            found = np.asarray(spread_metrics[name])
            np.testing.assert_allclose(found, float(metrics[name]), rtol=2e-3)
    for leaf in jax.tree.leaves(spread.critic):
        np.testing.assert_array_equal(leaf, np.stack([leaf[0]] * 4))


def run_config(steps: int, weight: float = 0.3) -> TrainConfig:
    return tiny_config(
        steps=steps,
        judge_every=0,
        model={"name": "lite", "width": 8},
        loss={"critic_weight": weight, "critic_start": 3},
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "a", 6),
        write_face_set(folder / "b", 5, tint=(120, 160, 210)),
    )


def read_state(run) -> list[np.ndarray]:
    restored = restore_checkpoint(run / CHECKPOINTS)
    assert restored is not None
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored.tree)]


def test_two_halves_of_a_run_with_a_critic_are_the_whole(sets, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(sets[0], sets[1], whole, run_config(6), devices=1)
    train(sets[0], sets[1], halves, run_config(4), devices=1)
    train(sets[0], sets[1], halves, run_config(6), devices=1)
    for one, other in zip(read_state(whole), read_state(halves), strict=True):
        np.testing.assert_array_equal(one, other)
    losses = [line["loss_critic"] for line in read_metrics(whole / METRICS_NAME)]
    assert losses[:3] == [0, 0, 0] and all(loss > 0.1 for loss in losses[3:])
    # To swap, nobody needs it.
    assert "critic" not in vars(load_run(whole).params)


def test_a_critic_and_an_average_come_to_a_run_and_leave_it(sets, tmp_path):
    def go_on(steps: int, weight: float, decay: float) -> dict:
        config = run_config(steps, weight=weight)
        optimizer = replace(config.optimizer, ema_decay=decay)
        result = train(
            sets[0], sets[1], run, replace(config, optimizer=optimizer), devices=1
        )
        assert result.step == steps
        return read_metrics(run / METRICS_NAME)[-1]

    run = tmp_path / "run"
    go_on(2, 0.0, 0.0)
    before = load_run(run).params
    assert go_on(5, 0.3, 0.999)["loss_critic"] > 0.1
    # An average that comes late begins with what the run had, not with a fresh draw.
    for old, new in zip(
        jax.tree.leaves(before), jax.tree.leaves(load_run(run).params), strict=True
    ):
        assert np.abs(old - new).max() < 0.02
    assert "loss_critic" not in go_on(6, 0.0, 0.9)
    go_on(7, 0.0, 0.0)
