"""Features of pictures: the file's own, a distance with a gradient, where it looks."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix, template_landmarks
from deepfake_jax.models.perceptual import (
    FeatureNetwork,
    cut_window,
    find_features,
    perceptual_distance,
    pool,
)
from deepfake_jax.runs.feature_network import load_feature_network

# The first convolution's answer and the last of each stage, as the file names them.
LAYERS = ("Relu", "Relu_9", "Relu_21")


@pytest.fixture(scope="module")
def network(detector_weights: None) -> FeatureNetwork:
    return load_feature_network()


def draw(rng: np.random.Generator, count: int, *shape: int) -> jax.Array:
    return jnp.asarray(rng.uniform(0, 1, (count, *shape, 3)), jnp.float32)


def test_features_are_those_of_the_file(rng, network: FeatureNetwork):
    pictures = draw(rng, 2, 224, 224)  # the file's last layers take no other size
    model = cv2.dnn.readNetFromONNX(str(get_weights("open_nsfw")))
    names = [name for name in model.getLayerNames() if name.split("!")[-1] in LAYERS]
    assert len(names) == 3
    for index, picture in enumerate(np.asarray(pictures)):
        pixels = 255 * picture[..., ::-1] - np.array([104, 117, 123])
        model.setInput(pixels[None].astype(np.float32))
        expected = model.forward(names)
        first, *found = find_features(network, pictures[index : index + 1])
        blocks = first.reshape(1, 56, 56, 2, 2, 64)
        found = [jnp.moveaxis(blocks, 3, 2).reshape(1, 112, 112, 64), *found]
        for own, other in zip(found, expected, strict=True):
            other = np.moveaxis(np.asarray(other), 1, -1)
            assert own.shape == other.shape
            np.testing.assert_allclose(own, other, atol=2e-3 * np.abs(other).max())


def test_pooling_is_xlas(rng):
    places = jnp.asarray(rng.uniform(0, 1, (2, 5, 6, 2, 2, 3)), jnp.float32)

    def reference(places: jax.Array) -> jax.Array:
        grid = jnp.moveaxis(places, 3, 2).reshape(2, 10, 12, 3)
        grid = jnp.pad(grid, ((0, 0), (0, 1), (0, 1), (0, 0)))
        return nn.max_pool(grid, (3, 3), (2, 2))

    found, pull = jax.vjp(pool, places)
    expected, pull_reference = jax.vjp(reference, places)
    np.testing.assert_array_equal(found, expected)
    dy = jnp.asarray(rng.normal(size=found.shape), jnp.float32)
    np.testing.assert_allclose(pull(dy)[0], pull_reference(dy)[0], atol=1e-6)


def test_distance_has_a_gradient_towards_the_target(rng, network: FeatureNetwork):
    target = draw(rng, 2, 32, 32)
    output = 0.5 + 0.5 * (target - 0.5)
    distance = jax.jit(lambda drawn: perceptual_distance(network, drawn, target))
    assert float(distance(target)) == pytest.approx(0, abs=1e-6)
    start = float(distance(output))
    gradient = jax.grad(distance)(output)
    moved = output - 0.02 * gradient / jnp.abs(gradient).max()
    assert 0 < float(distance(moved)) < 0.99 * start
    of_target = jax.grad(lambda true: perceptual_distance(network, output, true))
    assert not np.any(of_target(target))


def test_weights_are_of_places(rng, network: FeatureNetwork):
    target = draw(rng, 1, 64, 64)
    output = target.at[:, :32].multiply(0.3)
    upper = jnp.zeros((1, 64, 64)).at[:, :24].set(1)
    lower = jnp.zeros((1, 64, 64)).at[:, 56:].set(1)
    both = [
        float(perceptual_distance(network, output, target, weights=weights))
        for weights in (upper, lower)
    ]
    assert both[0] > 20 * both[1]


@pytest.mark.parametrize("size", [64, 128, 256])
def test_windows_show_eyes_and_mouths_in_turns(size: int):
    landmarks = apply_affine(crop_matrix(size), template_landmarks(count=68))
    marked = np.zeros((1, size, size, 3), np.float32)
    eyes, lips = (np.rint(landmarks[part]).astype(int) for part in (_EYES, _LIPS))
    marked[0, eyes[:, 1], eyes[:, 0], 0] = 1
    marked[0, lips[:, 1], lips[:, 0], 1] = 1
    ramp = np.arange(size * size, dtype=np.float32).reshape(1, size, size, 1)
    places = set()
    for step in range(20):
        cut, where = cut_window([jnp.asarray(marked), jnp.asarray(ramp)], step)
        assert cut.shape[1] % 16 == 0 and cut.shape[2] % 8 == 0
        places.add(float(where[0, 0, 0, 0]))
        shown = np.asarray(cut).sum((0, 1, 2))
        part = 0 if step % 2 else 1
        assert shown[part] == marked[..., part].sum()
        # One step, one place: a run that is resumed sees the same.
        again, _ = cut_window([jnp.asarray(marked), jnp.asarray(ramp)], step)
        np.testing.assert_array_equal(cut, again)
    assert len(places) > 8


_EYES, _LIPS = slice(36, 48), slice(48, 68)
