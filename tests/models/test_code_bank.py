"""Recalled codes: those of the target's faces with the likest shapes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from footage import tiny_config, write_face_set
from networks import begin_params, list_compiled

from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import FaceSet, load_faces, make_header
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.code_bank import build_bank, recall_codes
from deepfake_jax.models.network import Bank
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.runs.checkpoint import restore_checkpoint
from deepfake_jax.runs.face_bank import gather_examples, remember
from deepfake_jax.runs.run_folder import CHECKPOINTS
from deepfake_jax.runs.swapper import make_swapper
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.training.loop import train
from deepfake_jax.types import SIDES, Side

WIDTH = 6  # of codes: four numbers of shape, two of who it is
MODEL = make_autoencoder(ModelConfig(name="lite", width=8, align_codes=True))


def make_person(
    rng: np.random.Generator, n: int, who: float
) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a person and its shapes, which are a linear map of part of the codes."""
    acts = rng.normal(size=(n, 4))
    codes = np.concatenate([acts, np.full((n, 2), who)], axis=1)
    codes += rng.normal(0, 0.01, codes.shape)
    mix = np.random.default_rng(5).normal(size=(4, 10))
    shapes = 20 * acts @ mix
    return codes.astype(np.float32), shapes - shapes.mean(axis=0)


@pytest.fixture
def banks(rng: np.random.Generator) -> tuple[Bank, Bank]:
    return build_bank(*make_person(rng, 300, -3.0)), build_bank(
        *make_person(rng, 300, 3.0)
    )


def test_shapes_are_read_from_codes(rng: np.random.Generator):
    codes, shapes = make_person(rng, 400, 1.0)
    bank = jax.tree.map(np.asarray, build_bank(codes[:300], shapes[:300]))
    scaled = (codes[300:] - bank.mean) / bank.scale
    # What the ridge takes away is a tenth.
    read = scaled @ bank.readout
    truth = shapes[300:] - bank.middle
    unexplained = np.square(read - truth).sum() / np.square(truth).sum()
    assert unexplained < 0.03
    assert {part.dtype for part in vars(bank).values()} == {np.dtype(np.float32)}


def recall(codes, moved, *more):
    return recall_codes(jnp.asarray(codes), jnp.asarray(moved), *more)


def test_recalled_codes_are_the_targets_with_the_sources_shape(
    rng: np.random.Generator, banks: tuple[Bank, Bank]
):
    codes, _ = make_person(rng, 50, -3.0)
    found = np.asarray(recall(codes, codes, *banks, 1.0))
    np.testing.assert_allclose(found[:, 4:], 3.0, atol=0.05)  # it is the target
    kept = np.corrcoef(found[:, :4].ravel(), codes[:, :4].ravel())[0, 1]
    assert kept > 0.8  # and does what the source does


def test_given_landmarks_take_the_place_of_read_ones(
    rng: np.random.Generator, banks: tuple[Bank, Bank]
):
    source, target = banks
    known = np.asarray(target.shapes)[:20] + np.asarray(source.middle)
    # Codes that say nothing: all is in the landmarks.
    codes = np.zeros((20, WIDTH), np.float32)
    find = partial(recall_codes, jnp.asarray(codes), jnp.asarray(codes), *banks, 1.0)
    found = np.asarray(find(landmarks=jnp.asarray(known)))
    np.testing.assert_allclose(found, target.codes[:20], atol=0.05)
    assert np.ptp(np.asarray(find()), axis=0).max() < 1e-5


def test_codes_go_straight_to_what_is_allowed(
    rng: np.random.Generator, banks: tuple[Bank, Bank]
):
    codes, _ = make_person(rng, 5, -3.0)
    once = jax.jit(recall)
    moved = codes + np.float32(0.5)
    ends = once(codes, moved, *banks, 0.0), once(codes, moved, *banks, 1.0)
    np.testing.assert_allclose(ends[0], moved, atol=1e-6)
    scale = np.asarray(banks[1].scale)

    def far(found, end) -> np.ndarray:
        apart = np.asarray(found) - np.asarray(end)
        return np.sqrt(np.square(apart / scale).mean(1))

    assert (far(moved, ends[1]) > 2).all()
    for share, limit in ((0.25, 1.5), (0.5, 0.5), (0.8, 0.125)):
        found = once(codes, moved, *banks, share)
        np.testing.assert_allclose(far(found, ends[1]), limit, rtol=1e-3)
        # On the way from one end to the other.
        np.testing.assert_allclose(
            far(found, moved) + far(found, ends[1]), far(moved, ends[1]), rtol=1e-3
        )
        assert np.asarray(found).dtype == np.float32
    # What is near enough stays as it is.
    near = np.asarray(ends[1]) + 0.1 * scale
    np.testing.assert_allclose(once(codes, near, *banks, 0.5), near, rtol=1e-5)
    low = recall_codes(jnp.asarray(codes, jnp.bfloat16), jnp.asarray(moved), *banks)
    assert np.isfinite(np.asarray(low)).all()


def test_recalling_nothing_is_finite_with_its_gradient(banks: tuple[Bank, Bank]):
    code = np.asarray(banks[1].codes)[:1]

    def total(moved):
        return recall_codes(jnp.asarray(code), moved, *banks, 0.5).sum()

    bank = jax.tree.map(np.asarray, banks[1])
    alone = replace(bank, codes=code, shapes=bank.shapes[:1])

    def total_alone(moved):
        return recall_codes(jnp.asarray(code), moved, banks[0], alone, 0.5).sum()

    for function in (total, total_alone):
        assert np.isfinite(np.asarray(jax.grad(function)(jnp.asarray(code)))).all()


def test_change_of_a_face_changes_what_is_recalled_gradually(
    rng: np.random.Generator, banks: tuple[Bank, Bank]
):
    ends, _ = make_person(rng, 2, -3.0)
    way = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    codes = ends[:1] + way * (ends[1:] - ends[:1])
    found = np.asarray(recall(codes, codes, *banks, 1.0))
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    whole = np.linalg.norm(found[-1] - found[0])
    # A nearest neighbour would stay and then jump by the distance of two faces.
    assert steps.max() < 0.1 * whole


def test_bank_of_one_face_recalls_it():
    codes = np.array([[1.0, 2], [1.5, 2.5]], np.float32)
    shapes = np.array([[1.0, -1], [-1, 1]])
    bank = build_bank(codes, shapes)
    found = np.asarray(recall(codes - 5, codes - 5, bank, bank, 1.0))
    assert np.isfinite(found).all()
    assert (found >= 1 - 1e-4).all() and (found <= 2.5 + 1e-4).all()


# Examples


def make_set(rng: np.random.Generator, count: int, *, points: int = 68) -> FaceSet:
    records = tuple(
        FaceRecord(
            file=f"{index}.png",
            source="",
            frame=index,
            time=0.0,
            box=(0.0, 0.0, 9.0, 9.0),
            score=1.0,
            landmarks=tuple(
                map(
                    tuple,
                    template_landmarks(256, count=points)
                    + rng.normal(0, 3, (points, 2)),
                )
            ),
            frame_to_face=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
            size=256.0,
        )
        for index in range(count)
    )
    faces = rng.integers(0, 255, (count, 256, 256, 3), np.uint8)
    return FaceSet(Path(), faces, records, make_header([], "test"))


def gather(sets: dict[Side, FaceSet], **more):
    among: dict[Side, np.ndarray] = {
        side: np.arange(len(faces.records)) for side, faces in sets.items()
    }
    return gather_examples(sets, among, 64, color_shift=np.zeros(3), **more)


def test_examples_come_with_their_mirror_images(rng: np.random.Generator):
    sets: dict[Side, FaceSet] = {"a": make_set(rng, 4), "b": make_set(rng, 5)}
    found = gather(sets)
    for side in found:
        count = len(sets[side].records)
        crops, landmarks = found[side].crops, found[side].landmarks
        assert crops.shape == (2 * count, 64, 64, 3)
        np.testing.assert_array_equal(crops[count:], crops[:count, :, ::-1])
        assert landmarks is not None and landmarks.shape == (2 * count, 2 * 51)
        points = landmarks.reshape(-1, 51, 2)
        whole = [np.array(r.landmarks)[17:] for r in sets[side].records]
        np.testing.assert_allclose(points[:count], whole)
        # 17 and 26 are the brows' outer ends, 48 and 54 the corners of the mouth.
        for left, right in ((17, 26), (48, 54), (36, 45)):
            one, other = points[:count, left - 17], points[count:, right - 17]
            np.testing.assert_allclose(one[:, 0], 255 - other[:, 0], atol=1e-9)
            np.testing.assert_allclose(one[:, 1], other[:, 1], atol=1e-9)


def test_examples_are_of_the_chosen_faces_in_the_networks_colors(
    rng: np.random.Generator,
):
    sets: dict[Side, FaceSet] = {"a": make_set(rng, 9), "b": make_set(rng, 9)}
    among: dict[Side, np.ndarray] = {"a": np.array([1, 2, 7, 8]), "b": np.array([0, 5])}
    few = gather_examples(sets, among, 64, color_shift=np.zeros(3), most=2)
    alone: dict[Side, FaceSet] = {
        side: replace(faces, faces=faces.faces[among[side][[0, -1]]])
        for side, faces in sets.items()
    }
    for side, faces in alone.items():
        kept = replace(
            faces, records=tuple(sets[side].records[i] for i in among[side][[0, -1]])
        )
        np.testing.assert_array_equal(
            few[side].crops, gather({"a": kept, "b": kept})["b"].crops
        )
    shifted = gather_examples(sets, among, 64, color_shift=np.full(3, 300.0), most=2)
    assert (shifted["a"].crops == 255).all()
    np.testing.assert_array_equal(shifted["b"].crops, few["b"].crops)


def test_sides_have_the_landmarks_that_both_have(rng: np.random.Generator):
    found = gather({"a": make_set(rng, 3), "b": make_set(rng, 3, points=5)})
    for side in found.values():
        assert side.landmarks is not None and side.landmarks.shape == (6, 10)


def test_faces_without_landmarks_are_kept_as_pictures_alone(tmp_path: Path):
    cartoons = load_faces(write_face_set(tmp_path / "a", 3))  # three landmarks each
    found = gather({"a": cartoons, "b": cartoons})
    assert found["a"].landmarks is None
    remembered = remember(MODEL, begin_params(MODEL), found)
    assert not remembered.bank and set(remembered.faces) == {"a", "b"}
    drawn = make_swapper(MODEL, remembered, exemplars=True)(found["a"].crops)
    assert drawn.shape == found["a"].crops.shape


def test_swaps_recall_what_the_parameters_remember(rng: np.random.Generator):
    params = begin_params(MODEL)
    examples = gather({"a": make_set(rng, 40), "b": make_set(rng, 70)})
    remembered = remember(MODEL, params, examples)
    assert remembered.bank["b"].codes.shape == (140, 16)
    assert remembered.faces["b"].shape == (64, 64, 64, 3)
    assert remembered.network is params.network
    faces = examples["a"].crops[:3].astype(np.float32) / 255
    swap = partial(swap_faces, MODEL, faces=jnp.asarray(faces))
    plain, recalled = swap(params), swap(remembered)
    assert np.abs(np.asarray(plain - recalled)).max() > 1e-4
    np.testing.assert_allclose(swap(remembered, recall=0.0), plain, atol=1e-6)
    # Faces redrawn as themselves are not swapped.
    own = partial(swap, to="a", source="a")
    np.testing.assert_array_equal(own(params), own(remembered))
    whole = np.asarray(swap(remembered, recall=1.0))
    drawn = make_swapper(MODEL, remembered, recall=1.0)(examples["a"].crops[:3])
    np.testing.assert_allclose(drawn / 255, whole, atol=0.6 / 255)


def test_swapper_looks_at_the_landmarks_of_each_face_by_itself(
    rng: np.random.Generator,
):
    sets: dict[Side, FaceSet] = {"a": make_set(rng, 40), "b": make_set(rng, 40)}
    examples = gather(sets)
    # Untrained decoders draw grey; louder ones tell codes apart.
    loud = jax.tree.map(lambda part: 4 * part, begin_params(MODEL))
    params = remember(MODEL, loud, examples)
    swapper = make_swapper(MODEL, params, recall=1.0)
    crops = examples["a"].crops[:9]
    points = [np.array(record.landmarks) for record in sets["a"].records[:9]]
    by_code, by_points = swapper(crops), swapper(crops, points)
    mixed = swapper(crops, [*points[:4], None, *points[5:-1], points[-1][:3]])
    some = [4, 8]  # other batches round by a level at most
    np.testing.assert_allclose(mixed[some], by_code[some], atol=1)
    np.testing.assert_allclose(
        np.delete(mixed, some, 0), np.delete(by_points, some, 0), atol=1
    )
    assert np.abs(by_points.astype(int) - by_code).max() > 1
    # What a face looks like does not say its pose then.
    other = swapper(crops, points[::-1])
    assert np.abs(by_points.astype(int) - other).max() > 1


def test_both_directions_share_their_programs(rng: np.random.Generator):
    # As many codes as fit beside each other, and other ones.
    sets: dict[Side, FaceSet] = {"a": make_set(rng, 40), "b": make_set(rng, 55)}
    examples = gather(sets)
    params = remember(MODEL, begin_params(MODEL), examples)
    points = {
        side: [np.array(record.landmarks) for record in sets[side].records[:3]]
        for side in sets
    }
    directions: list[tuple[Side, Side]] = [("a", "b"), ("b", "a")]
    counts = []
    for source, to in directions:
        crops = examples[source].crops[:3]
        swapper = make_swapper(MODEL, params, to=to, source=source)
        with list_compiled() as compiled:
            drawn = swapper(crops, points[source])
        counts.append(len(compiled))
        landmarks = np.stack([each[17:].ravel() for each in points[source]])
        direct = swap_faces(
            MODEL,
            params,
            jnp.asarray(crops, jnp.float32) / 255,
            to=to,
            source=source,
            landmarks=jnp.asarray(landmarks, jnp.float32),
        )
        # Rows that fill up a bank weigh nothing.
        np.testing.assert_allclose(drawn / 255, direct, atol=0.6 / 255)
    assert counts[0] and not counts[1]


def test_pictures_are_kept_as_many_as_asked(rng: np.random.Generator):
    examples = gather({"a": make_set(rng, 5), "b": make_set(rng, 9)})
    params = begin_params(MODEL)
    some = remember(MODEL, params, examples, pictures=7)
    assert [len(some.faces[side]) for side in SIDES] == [5, 7]
    none = remember(MODEL, some, examples, pictures=0)
    assert not none.faces and len(none.bank["a"].codes) == 10
    plain = make_autoencoder(ModelConfig(name="lite", width=8))
    nothing = remember(plain, begin_params(plain), examples, pictures=0)
    assert not nothing.faces and not nothing.bank


def test_network_that_does_not_align_codes_keeps_pictures(rng: np.random.Generator):
    examples = gather({"a": make_set(rng, 2), "b": make_set(rng, 2)})
    model = make_autoencoder(ModelConfig(name="lite", width=8))
    params = remember(model, begin_params(model), examples)
    assert not params.bank and set(params.faces) == {"a", "b"}
    faces = jnp.asarray(examples["a"].crops, jnp.float32) / 255
    plain = replace(params, faces={})
    np.testing.assert_array_equal(
        swap_faces(model, params, faces), swap_faces(model, plain, faces)
    )


def test_run_keeps_the_bank_of_its_training_faces(tmp_path: Path):
    a, b = (write_face_set(tmp_path / n, 20, points=68) for n in "ab")
    config = tiny_config(
        model={"name": "lite", "width": 8, "align_codes": True},
        holdout=0.2,
        judge_every=0,
        steps=3,
    )
    run = tmp_path / "run"
    train(a, b, run, config, devices=1)
    first = load_run(run).params.bank
    trained = 20 - 4  # less those beside the held-out ones
    for side in SIDES:
        assert 4 < len(first[side].codes) <= 2 * trained
    # It goes on without the bank, and saves one of the new parameters.
    train(a, b, run, replace(config, steps=5), devices=1)
    second = load_run(run).params
    assert np.abs(second.bank["a"].codes - first["a"].codes).max() > 0
    saved = restore_checkpoint(run / CHECKPOINTS)
    assert saved is not None
    assert not any("bank" in saved.tree[part] for part in ("params", "ema"))
