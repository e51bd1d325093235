"""Students: what they learn of their teacher, what they share with it, who it was."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from footage import tiny_config, write_face_set
from networks import NO_FACTS

from deepfake_jax.cli.main import run_command
from deepfake_jax.face_sets.face_set import FaceSet, load_faces
from deepfake_jax.models.autoencoder import Autoencoder, make_autoencoder, to_float
from deepfake_jax.models.network import CodeStatistics, Network, SwapParams
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.runs.checkpoint import restore_checkpoint, save_checkpoint
from deepfake_jax.runs.held_out import HELD_NAME
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.recorded_sets import write_sets
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    METRICS_NAME,
    RunError,
    write_run_config,
)
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.train_config import (
    ConfigError,
    ModelConfig,
    TrainConfig,
    config_to_yaml,
    load_preset,
)
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.devices import find_devices
from deepfake_jax.training.distillation import count_model, distill, student_config
from deepfake_jax.training.forward import reconstruction_loss
from deepfake_jax.training.loop import train
from deepfake_jax.training.objective import draw_taught, sum_losses
from deepfake_jax.training.progress_pictures import plot_losses
from deepfake_jax.training.run_faces import (
    describe_run,
    record_split,
    split_faces,
)
from deepfake_jax.training.state import Teacher, TrainState, init_state, state_to_tree
from deepfake_jax.training.step import train_step
from deepfake_jax.training.teacher import TEACHER, TEACHER_NAME
from deepfake_jax.types import SIDES, Side

# What is lost and learned, on networks of a few parameters


class Tint(nn.Module):
    """Adds a color of its own: as an encoder or a decoder, of any faces."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        color = self.param("color", nn.initializers.normal(0.1), (3,))
        return x + color[None, None, None]


class MeanColor(nn.Module):
    """An encoder whose codes can be aligned: a picture's mean color."""

    def compress(self, faces: jax.Array) -> jax.Array:
        return faces.mean((1, 2))

    def widen(self, vectors: jax.Array) -> jax.Array:
        return jnp.broadcast_to(vectors[:, None, None], (len(vectors), 16, 16, 3))


TINTS = Autoencoder(Tint(), Tint(), crop_size=16)


def draw_params(seed: int) -> SwapParams:
    rng = np.random.default_rng(seed)
    colors = rng.normal(0, 0.1, (3, 3)).astype(np.float32)
    encoder, a, b = ({"color": jnp.asarray(color)} for color in colors)
    return SwapParams(Network({"a": a, "b": b}, encoder))


def make_state(seed: int, *, swap_weight: float = 1.0) -> TrainState:
    config = tiny_config(loss={"swap_weight": swap_weight})
    state = init_state(jax.random.key(0), config)
    params = draw_params(seed)
    network: Any = params.network
    return replace(
        state,
        model=TINTS,
        network=network,
        opt_state=state.tx.init(network),
        ema=jax.tree.map(jnp.copy, params),
    )


def make_pairs(*, warped: bool = True) -> Batch:
    rng = np.random.default_rng(5)
    pairs: Batch = {}
    for side in SIDES:
        target = jnp.asarray(rng.uniform(0, 1, (4, 16, 16, 3)), jnp.float32)
        other = jnp.asarray(rng.uniform(0, 1, target.shape), jnp.float32)
        pairs[side] = Pair(other if warped else target, target)
    return pairs


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_it():
    state, pairs = make_state(1), make_pairs(warped=False)
    same = Teacher(params=state.swap_params, model=TINTS)
    _, metrics = train_step(state, pairs, teacher=same)
    assert float(metrics["loss_swap"]) == 0
    assert float(metrics["loss_a"]) > 0.01  # colors are added to its own faces
    other = Teacher(params=draw_params(2), model=TINTS)
    _, metrics = train_step(state, pairs, teacher=other)
    assert float(metrics["loss_swap"]) > 0.01


def test_swaps_are_drawn_as_a_conversion_draws_them():
    model = Autoencoder(MeanColor(), Tint(), crop_size=16, align_codes=True)
    statistics: dict[Side, CodeStatistics] = {
        "a": CodeStatistics(jnp.full(3, 0.4), jnp.full(3, 1.0)),
        "b": CodeStatistics(jnp.full(3, 0.6), jnp.full(3, 2.0)),
    }
    network = replace(draw_params(3).network, encoder={})
    taught = Teacher(params=SwapParams(network, statistics), model=model)
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    a, b = jnp.asarray(faces), jnp.asarray(faces[::-1])
    targets: Batch = {"a": Pair(a, to_float(a)), "b": Pair(b, to_float(b))}
    drawn = jax.jit(draw_taught)(taught, targets)
    to_b = make_swapper(model, taught.params, to="b")(faces)
    to_a = make_swapper(model, taught.params, to="a")(faces[::-1])
    # The swapper's are rounded to grey levels.
    level = 0.501 / 255
    for side, expected in zip(SIDES, (to_b, to_a), strict=True):
        clipped = np.clip(drawn[side].swapped, 0, 1)
        np.testing.assert_allclose(clipped, expected / 255, atol=level)
    assert np.abs(to_b.astype(int).mean((1, 2)) - to_a[::-1].mean((1, 2))).max() > 20


def test_the_loss_is_that_of_the_warped_faces_swaps_times_the_weight():
    state, pairs = make_state(1, swap_weight=3.0), make_pairs()
    pairs = draw_taught(Teacher(params=draw_params(2), model=TINTS), pairs)
    total, (metrics, *_) = sum_losses(state.network, state, pairs)
    losses = {}
    ways: list[tuple[Side, Side]] = [("a", "b"), ("b", "a"), ("a", "a"), ("b", "b")]
    for side, to in ways:
        pair = pairs[side]
        wanted = pair.target if side == to else pair.swapped
        drawn = swap_faces(TINTS, state.swap_params, pair.warped, to=to, source=side)
        losses[side, to] = float(reconstruction_loss(state.loss, drawn, wanted))
    assert float(metrics["loss_a"]) == pytest.approx(losses["a", "a"], rel=1e-6)
    swaps = losses["a", "b"] + losses["b", "a"]
    assert float(metrics["loss_swap"]) == pytest.approx(swaps / 2, rel=1e-6)
    own = losses["a", "a"] + losses["b", "b"]
    assert float(total) == pytest.approx(own + 3 * swaps, rel=1e-6)


def test_a_student_learns_and_its_teacher_does_not():
    state, pairs = make_state(1), make_pairs()
    params = draw_params(2)

    def loss_of(teacher_params, network):
        taught = Teacher(params=teacher_params, model=TINTS)
        return sum_losses(network, state, draw_taught(taught, pairs))[0]

    teachers, own = jax.grad(loss_of, argnums=(0, 1))(params, state.network)
    np.testing.assert_array_equal(flat(teachers), 0)
    assert np.abs(flat(own)).min() > 0
    plain = jax.grad(lambda n: sum_losses(n, state, pairs)[0])(state.network)
    # A's decoder learns of B's faces, too.
    assert np.any(flat(own.decoders["a"]) != flat(plain.decoders["a"]))


def test_a_teacher_without_weight_changes_nothing():
    state, pairs = make_state(1, swap_weight=0.0), make_pairs()
    taught = Teacher(params=draw_params(2), model=TINTS)
    plain, metrics = train_step(state, pairs)
    assert set(metrics) == {"loss_a", "loss_b", "grad_norm", "skipped"}
    with_teacher, _ = train_step(state, pairs, teacher=taught)
    np.testing.assert_array_equal(flat(with_teacher.network), flat(plain.network))
    assert np.any(flat(plain.network) != flat(state.network))


def test_a_swap_that_is_no_number_is_skipped():
    state, params = make_state(1, swap_weight=0.0), draw_params(2)
    params.network.decoders["b"]["color"] = jnp.full(3, jnp.inf)
    taught = Teacher(params=params, model=TINTS)
    after, metrics = train_step(state, make_pairs(), teacher=taught)
    assert int(metrics["skipped"]) == 1 and int(after.step) == 1
    np.testing.assert_array_equal(flat(after.network), flat(state.network))


def test_four_devices_learn_from_a_teacher_as_one_does():
    rng = np.random.default_rng(8)

    def draw() -> np.ndarray:
        return rng.integers(0, 256, (4, 16, 16, 3), np.uint8)

    batches: list[Batch] = [
        {side: Pair(draw(), draw()) for side in SIDES} for _ in range(2)
    ]
    taught, found = Teacher(params=draw_params(2), model=TINTS), []
    for devices in (find_devices(1), find_devices(4)):
        state, teacher = devices.put_state(make_state(1)), devices.put_state(taught)
        step = devices.make_step(stacked=True)
        state, metrics = step(state, devices.put_batches(batches), teacher=teacher)
        found.append(devices.read_metrics(metrics))
        np.testing.assert_array_equal(flat(devices.get_state(teacher)), flat(taught))
    for name in ("loss_a", "loss_swap", "grad_norm"):
        # The mean of four means of float32 against one mean.
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-5)


# Sizes


def untrained(model: ModelConfig) -> TrainedRun:
    network = make_autoencoder(model)
    return TrainedRun(
        model=network,
        params=SwapParams(network.shapes()),
        step=1,
        facts=NO_FACTS,
    )


def test_a_student_is_as_wide_as_a_tenth_of_its_teacher_allows():
    lite = load_preset("lite")
    teacher = untrained(lite.model)
    config = student_config(teacher, lite)
    whole = count_model(lite.model)
    assert (config.model.name, config.model.align_codes) == ("lite", False)
    assert count_model(config.model) <= whole / 10
    wider = replace(config.model, width=config.model.width + 2)
    assert count_model(wider) > whole / 10
    told = {"swap_weight": 1.0, "shape_weight": 0.0}
    assert config.loss == replace(lite.loss, **told)
    assert config.augment.rotation < lite.augment.rotation
    assert config.augment.warp_scale == lite.augment.warp_scale
    rest = {"model": lite.model, "loss": lite.loss, "augment": lite.augment}
    assert replace(config, **rest) == lite
    weighed = replace(lite, loss=replace(lite.loss, swap_weight=0.5))
    assert student_config(teacher, weighed, width=12).loss.swap_weight == 0.5
    assert student_config(teacher, weighed, width=12).model.width == 12


def test_a_teacher_too_small_for_a_tenth_is_refused():
    small = untrained(ModelConfig(name="lite", width=8))
    with pytest.raises(RunError, match="narrowest lite .*model.width=N"):
        student_config(small, load_preset("lite"))


# Runs


@pytest.fixture(scope="module", autouse=True)
def no_weights(tmp_path_factory) -> Iterator[None]:
    """Without SFace, which takes longer than all steps together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
        patch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run_config(steps: int, **settings) -> TrainConfig:
    model = {"name": "lite", "width": 8}
    return tiny_config(**{"steps": steps, "judge_every": 0, "model": model, **settings})


def student(steps: int, **settings) -> TrainConfig:
    """The seed and the share are not the teacher's: its held-out faces must be."""
    return run_config(steps, **{"loss": {"swap_weight": 1.0}, "seed": 7, **settings})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A run as `train` leaves it, without its steps: compiling takes ten seconds."""
    folder = tmp_path_factory.mktemp("teacher")
    tints: dict[Side, Any] = {"a": (200, 150, 120), "b": (120, 160, 210)}
    sets: dict[Side, FaceSet] = {
        side: load_faces(write_face_set(folder / side, 24, tint=tint))
        for side, tint in tints.items()
    }
    run, config = folder / "run", run_config(2, holdout=0.3)
    run.mkdir()
    write_run_config(run, config)
    write_sets(run, sets)
    splits = split_faces(run, sets, config)
    record_split(run, sets, splits)
    among: dict[Side, np.ndarray] = {side: splits[side].train for side in SIDES}
    facts = describe_run(config, sets, among, None)
    facts = replace(facts, color_shift=(3.0, -2.0, 5.0))  # not what these faces give
    tree = state_to_tree(init_state(jax.random.key(5), config))
    tree["step"] = np.int32(2)
    save_checkpoint(run / CHECKPOINTS, 2, tree, facts=facts)
    return run


def find_sets(teacher: Path) -> tuple[Path, Path]:
    return teacher.parent / "a", teacher.parent / "b"


@pytest.fixture(scope="module")
def straight(teacher: Path, tmp_path_factory) -> Path:
    """A student of 4 steps that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    distill(teacher, run, student(4), devices=1)
    return run


def test_a_student_shares_faces_and_colors_and_names_its_teacher(teacher, straight):
    held = [json.loads((run / HELD_NAME).read_text()) for run in (teacher, straight)]
    assert held[0] == held[1] and min(map(len, held[0].values())) >= 4
    mine, known = load_run(straight), load_run(teacher)
    assert mine.facts.color_shift == known.facts.color_shift == (3, -2, 5)
    record = json.loads((straight / TEACHER_NAME).read_text())
    assert record.pop("check")
    assert record == {
        "folder": str(teacher.resolve()),
        "step": 2,
        "model_hash": known.model_hash,
    }
    lines = read_metrics(straight / METRICS_NAME)
    assert all(line["loss_swap"] > 0 for line in lines)
    assert not (teacher / TEACHER_NAME).exists()


def test_a_student_goes_on_to_the_bit(teacher, straight, tmp_path):
    run = tmp_path / "run"
    distill(teacher, run, student(1), devices=1)
    # Moved, it is the same teacher.
    moved = tmp_path / "moved" / "run"
    shutil.copytree(teacher.parent, moved.parent)
    result = distill(moved, run, student(4), devices=1)
    assert result.step == 4
    params, whole = load_run(run).params, load_run(straight).params
    np.testing.assert_array_equal(flat(params), flat(whole))
    losses, expected = (
        [line["loss_swap"] for line in read_metrics(folder / METRICS_NAME)]
        for folder in (run, straight)
    )
    assert len(losses) == 4 and losses == expected


def test_a_student_goes_on_whatever_its_teacher_became(teacher, straight, tmp_path):
    old, run = tmp_path / "old" / "run", tmp_path / "run"
    shutil.copytree(teacher.parent, old.parent)
    distill(old, run, student(1), devices=1)
    # It trained on, and its checkpoint of then is gone.
    found = restore_checkpoint(old / CHECKPOINTS)
    assert found is not None
    tree = {**found.tree, "step": np.int32(3)}
    tree["params"] = jax.tree.map(lambda part: part + 1, tree["params"])
    tree["ema"] = jax.tree.map(lambda part: part + 1, tree["ema"])
    shutil.rmtree(old / CHECKPOINTS)
    save_checkpoint(old / CHECKPOINTS, 3, tree, facts=found.facts)
    distill(old, run, student(4), devices=1)
    mine, theirs = (read_metrics(each / METRICS_NAME) for each in (run, straight))
    assert [line["loss_swap"] for line in mine] == [x["loss_swap"] for x in theirs]
    # A student of an earlier version kept nothing; its teacher's checkpoint is lost.
    shutil.rmtree(run / TEACHER)
    with pytest.raises(RunError, match="now its teacher is"):
        distill(old, run, student(5), devices=1)


def test_another_teacher_is_refused(teacher, straight, tmp_path):
    before = (straight / "config.yaml").read_text()
    # The same run, trained on.
    other = tmp_path / "other" / "run"
    shutil.copytree(teacher.parent, other.parent)
    states = other / CHECKPOINTS
    saved = restore_checkpoint(states) or pytest.fail("no checkpoint")
    save_checkpoint(states, 3, {**saved.tree, "step": np.int32(3)}, facts=saved.facts)
    with pytest.raises(RunError, match="has learned from .*step 2.*now .*step 3"):
        distill(other, straight, student(9), devices=1)
    with pytest.raises(ConfigError, match=f"distill --teacher {teacher.resolve()} "):
        train(*find_sets(teacher), straight, student(9), devices=1)
    plain = run_config(9)
    with pytest.raises(RunError, match="now its teacher is none"):
        train(*find_sets(teacher), straight, plain, devices=1)
    with pytest.raises(RunError, match="trained without a teacher"):
        distill(straight, teacher, student(9), devices=1)
    assert (straight / "config.yaml").read_text() == before
    assert load_run(straight).step == 4 and load_run(teacher).step == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": {"swap_weight": 0.0}}, "swap_weight = 0"),
        (
            {"model": {"name": "lite", "width": 8, "align_codes": True}},
            "align_codes = true",
        ),
    ],
)
def test_settings_of_no_student_are_refused(teacher, tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        distill(teacher, tmp_path / "run", student(1, **settings), devices=1)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_its_own_teacher(teacher):
    with pytest.raises(RunError, match="its own"):
        distill(teacher, teacher, student(3), devices=1)


def test_loss_of_swaps_is_plotted(straight, tmp_path):
    lines = read_metrics(straight / METRICS_NAME)
    plot_losses(lines, tmp_path / "with.png")
    plain = [{k: v for k, v in line.items() if k != "loss_swap"} for line in lines]
    plot_losses(plain, tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (
        tmp_path / "without.png"
    ).read_bytes()


def call(*args: object) -> int:
    return run_command(["distill", *map(str, args)])


def test_the_command_trains_a_student_and_goes_on(teacher, tmp_path, capsys):
    path, run = tmp_path / "tiny.yaml", tmp_path / "run"
    path.write_text(config_to_yaml(student(1)))
    args = "--teacher", teacher, "--run", run, "--devices", 1, "--steps", 2
    assert call(*args, "--config", path) == 1  # no tenth of such a small one
    assert "narrowest" in capsys.readouterr().err and not run.exists()
    assert call(*args, "--config", path, "--set", "model.width=8") == 0
    out = capsys.readouterr().out
    size = count_model(student(1).model)
    assert f"student: {size:,} parameters, {4e-6 * size:.2f} MB" in out
    assert out.count("evaluate --run") == 2
    # Without a file it goes on with its own settings.
    assert call(*args, "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["step"], result["parameters"]) == (2, size)


@pytest.mark.parametrize(
    "more", [("--preset", "none"), ("--set", "model.depth=3"), ("--steps", "0")]
)
def test_wrong_use_of_the_command_is_status_two(teacher, tmp_path, more, capsys):
    assert call("--teacher", teacher, "--run", tmp_path / "run", *more) == 2
    assert "error" in capsys.readouterr().err
