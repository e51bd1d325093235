"""Swaps: uint8 in and out, any number of faces, one face as among many."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from networks import NOTHING, Same, begin_params

from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.models.network import SwapParams
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.runs import swapper as swapper_module
from deepfake_jax.runs.swapper import BATCH_SIZES, make_swapper


class Layer(nn.Module):
    """A network small enough to compile at once: the swapper takes any."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.sigmoid(nn.Conv(self.features, (5, 5))(x))


MODEL = Autoencoder(encoder=Layer(8), decoder=Layer(3), crop_size=64)


@pytest.fixture(scope="module")
def params() -> SwapParams:
    drawn = begin_params(MODEL)
    return jax.tree.map(lambda leaf: 4 * leaf, drawn)  # outputs over much of the range


@pytest.fixture(scope="module")
def crops(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([crop_faces(faces, 64)] * 7)[:40]


def test_swap_is_the_encoder_then_the_other_decoder(
    params: SwapParams, crops: np.ndarray
):
    inputs = jnp.asarray(crops[:2].astype(np.float32) / 255)
    code = MODEL.encode(params.network, inputs)
    for to in ("a", "b"):
        expected = MODEL.decode(params.network, code, to)
        found = swap_faces(MODEL, params, inputs, to=to)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(swap_faces(MODEL, params, inputs), expected)


@pytest.mark.parametrize("to", ["a", "b"])
def test_swapper_rounds_to_uint8(params: SwapParams, crops: np.ndarray, to: Any):
    out = make_swapper(MODEL, params, to=to)(crops[:2])
    assert out.dtype == np.uint8 and out.shape == (2, 64, 64, 3)
    inputs = jnp.asarray(crops[:2].astype(np.float32) / 255)
    exact = 255.0 * np.asarray(swap_faces(MODEL, params, inputs, to=to))
    assert np.ptp(exact) > 50
    # Rounded once; a batch of eight may sum in another order, 1e-3 of a level.
    assert np.abs(out - exact).max() <= 0.5 + 0.01


def test_swap_of_a_face_does_not_depend_on_those_beside_it(
    params: SwapParams, crops: np.ndarray
):
    swapper = make_swapper(MODEL, params)
    whole = swapper(crops)
    assert whole.shape == crops.shape
    for n in (1, 3, 8, 9, 33):
        part = swapper(crops[:n])
        assert part.shape == crops[:n].shape
        # Other batch sizes may sum in another order, which can turn a rounding.
        difference = np.abs(part.astype(int) - whole[:n])
        assert difference.max() <= 1 and difference.mean() < 1e-3
    # At one batch size the neighbours, and the padding, change nothing at all.
    np.testing.assert_array_equal(swapper(crops[:2]), swapper(crops[:7])[:2])


def test_number_of_faces_does_not_recompile(params: SwapParams, crops: np.ndarray):
    swapper = make_swapper(MODEL, params)
    count: Callable[[], int] = vars(swapper_module)["_draw"]._cache_size
    for n in BATCH_SIZES:
        swapper(crops[:n])
    compiled = count()
    for n in (2, 7, 9, 20, 31, 33, 40):
        swapper(crops[:n])
    assert count() == compiled


def test_no_faces_are_no_swaps(params: SwapParams, crops: np.ndarray):
    out = make_swapper(MODEL, params)(crops[:0])
    assert out.shape == (0, 64, 64, 3) and out.dtype == np.uint8


def test_network_that_draws_what_it_sees_gives_the_faces_back(crops: np.ndarray):
    model = Autoencoder(encoder=Same(), decoder=Same(), crop_size=64)
    swapped = make_swapper(model, NOTHING)(crops)
    np.testing.assert_array_equal(swapped, crops)
