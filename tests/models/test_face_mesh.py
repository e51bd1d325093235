"""The face mesh: LiteRT's own answers, landmarks of crops, a loss with a gradient."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.litert_networks import without_info_lines
from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.align import crop_faces, frame_to_face_matrix, warp_face
from deepfake_jax.models.face_mesh import (
    MeshNetwork,
    depthwise,
    find_landmarks,
    find_motion,
    measure_middle,
    mesh_distance,
    run_network,
)
from deepfake_jax.runs.mesh_network import load_mesh_network

LEFT_EYE, RIGHT_EYE = (33, 133), (263, 362)  # corners, as vertices of the mesh
find = jax.jit(find_landmarks)


@pytest.fixture(scope="module")
def network(detector_weights: None) -> MeshNetwork:
    return load_mesh_network()


@pytest.fixture(scope="module")
def face(portrait: np.ndarray, detector_weights: None) -> np.ndarray:
    five = make_detector()(portrait)[0].landmarks
    return warp_face(portrait, frame_to_face_matrix(five))


def cut(face: np.ndarray, size: int) -> jax.Array:
    return jnp.asarray(crop_faces(face[None], size), jnp.float32) / 255


@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("side", [8, 9])
def test_depthwise_is_xlas(rng: np.random.Generator, size: int, stride: int, side: int):
    x = jnp.asarray(rng.normal(size=(2, side, side, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, 3)), jnp.float32)

    def reference(x: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel[:, :, None],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=3,
        )

    found, pull = jax.vjp(lambda x: depthwise(x, kernel, stride), x)
    expected, pull_reference = jax.vjp(reference, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    dy = jnp.asarray(rng.normal(size=found.shape), jnp.float32)
    np.testing.assert_allclose(pull(dy)[0], pull_reference(dy)[0], rtol=1e-5, atol=1e-5)


def test_the_network_gives_litert_s_answers(
    rng: np.random.Generator, network: MeshNetwork, face: np.ndarray
):
    from ai_edge_litert.interpreter import Interpreter

    corners = [(0, 0, 192), (30, 20, 192), (64, 40, 192), (20, 60, 170)]
    windows = [face[y : y + side, x : x + side] for x, y, side in corners]
    windows = [np.resize(w, (192, 192, 3)) for w in windows]
    pixels = np.stack([*windows, rng.integers(0, 256, (192, 192, 3))])
    pixels = pixels.astype(np.float32) / 255
    with without_info_lines():
        reference: Any = Interpreter(str(get_weights("face_mesh")), num_threads=1)
        reference.allocate_tensors()
    (end,) = [
        each["index"]
        for each in reference.get_output_details()
        if np.prod(each["shape"]) == 3 * 468
    ]
    found = np.asarray(jax.jit(run_network)(network, jnp.asarray(pixels)))
    for window, own in zip(pixels, found, strict=True):
        reference.set_tensor(0, window[None])
        reference.invoke()
        # Pixels: sums in another order, through some thirty layers.
        expected = reference.get_tensor(end).reshape(468, 3)
        np.testing.assert_allclose(own, expected, atol=1e-3)
    assert found.std(axis=0).max() > 1


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_eyes_lie_where_the_alignment_puts_them(
    network: MeshNetwork, face: np.ndarray, size: int
):
    found = np.asarray(find(network, cut(face, size)))[0]
    eyes = [found[list(corners)].mean(axis=0) for corners in (LEFT_EYE, RIGHT_EYE)]
    # Symmetric about the middle, at the template's height; a mesh and a detector
    # differ by a few hundredths of a side.
    assert eyes[0][0] + eyes[1][0] == pytest.approx(1, abs=0.06)
    assert eyes[0][1] == pytest.approx(eyes[1][1], abs=0.03)
    whole = np.asarray(find(network, cut(face, 128)))[0]
    # One face at different sizes.
    np.testing.assert_allclose(found, whole, atol=0.02 if size >= 128 else 0.05)


def test_landmarks_move_with_the_face(network: MeshNetwork, face: np.ndarray):
    moved = np.roll(face, (4, -6), axis=(0, 1))
    apart = find(network, cut(moved, 128)) - find(network, cut(face, 128))
    expected = np.array([-6, 4]) / 160  # of the crop's side, in the face's pixels
    np.testing.assert_allclose(np.mean(apart[0], axis=0), expected, atol=0.006)


def test_the_middle_of_a_face_is_symmetric(network: MeshNetwork, face: np.ndarray):
    crops = cut(face, 128)
    middle = measure_middle(network, crops)
    mirrored = measure_middle(network, crops[:, :, ::-1])
    np.testing.assert_allclose(middle, mirrored, atol=1e-5)
    nose = np.asarray(middle)[[1, 4, 5]]
    np.testing.assert_allclose(nose[:, 0], 0.5, atol=0.02)


def test_the_loss_is_what_a_swap_fails_to_follow(
    network: MeshNetwork, face: np.ndarray
):
    crops = cut(face, 128)
    swaps = cut(np.roll(face, 5, axis=1), 128)
    own = jax.jit(find_motion)(network, crops)
    distance = jax.jit(mesh_distance)
    assert float(distance(network, crops, crops, middle=own, swap_middle=own)) < 1e-6
    # The other person's face is wider here by what the means say: no error.
    wide = own + jnp.asarray([0.1, 0.0])[None, None]
    shifted = distance(network, crops, crops, middle=own, swap_middle=wide)
    assert float(shifted) == pytest.approx(0.05, rel=0.01)
    loss = jax.jit(
        jax.value_and_grad(
            partial(mesh_distance, middle=own, swap_middle=own), argnums=(1, 2)
        )
    )
    value, (by_swaps, by_faces) = loss(network, swaps, crops)
    assert 0.5 * 5 / 160 / 2 < float(value) < 1.5 * 5 / 160
    np.testing.assert_array_equal(by_faces, 0)
    assert np.all(np.isfinite(by_swaps))
    step = 0.02 * by_swaps / jnp.abs(by_swaps).max()
    assert float(loss(network, swaps - step, crops)[0]) < float(value)


def test_a_look_that_does_not_follow_counts_up_to_where_a_decoder_can_follow(
    network: MeshNetwork, face: np.ndarray
):
    crops = cut(face, 128)
    own = jax.jit(find_motion)(network, crops)
    distance = jax.jit(mesh_distance)

    def lose(look: float) -> float:
        """The loss of the face itself as the swap of one that looks to a side."""
        usual = own.at[:, -1, 0].add(-look)
        return float(distance(network, crops, crops, middle=usual, swap_middle=own))

    assert lose(0.0) < 1e-6 < lose(0.05)
    assert lose(0.1) == pytest.approx(2 * lose(0.05), rel=0.01)
    assert lose(0.3) == pytest.approx(lose(0.2))
    assert lose(0.2) < 1.3 * lose(0.1)


def test_gradients_are_finite_on_a_flat_picture(network: MeshNetwork):
    flat = jnp.full((1, 64, 64, 3), 0.5)
    middle = jnp.zeros((1, 469, 2))
    gradient = jax.jit(jax.grad(mesh_distance, argnums=1))(
        network, flat, flat * 0.5, middle=middle, swap_middle=middle
    )
    assert np.all(np.isfinite(gradient))
