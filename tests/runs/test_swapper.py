"""Finished swaps of any number of crops: what the network draws, rounded."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import begin_params

from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.models.network import CodeStatistics
from deepfake_jax.models.swap_faces import encode_swap, swap_faces
from deepfake_jax.runs.swapper import make_double_swapper, make_swapper
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import DIRECTIONS, SIDES, Side

MODEL = make_autoencoder(
    ModelConfig(name="lite", width=8, align_codes=True, expression=1.2, mouth=2.0)
)


@pytest.fixture(scope="module")
def params():
    """Untrained, of codes that lie elsewhere for each side."""
    statistics: dict[Side, CodeStatistics] = {
        side: CodeStatistics(jnp.full(16, 0.1 * place), jnp.full(16, 1.0 + place))
        for place, side in enumerate(SIDES)
    }
    params = begin_params(MODEL)
    # Reads lips, so that swaps part them further.
    readout = jax.random.normal(jax.random.key(3), (16, 102))
    network = replace(params.network, readout=readout)
    return replace(params, network=network, statistics=statistics)


def test_swaps_part_lips_further(params, rng: np.random.Generator):
    crops = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
    plain = make_swapper(replace(MODEL, mouth=1.0), params, to="b")(crops)
    assert np.abs(make_swapper(MODEL, params, to="b")(crops) - plain).max() > 2


def test_swaps_are_the_networks_rounded(params, rng: np.random.Generator):
    crops = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
    scaled = jnp.asarray(crops, jnp.float32) / 255
    for source, to in DIRECTIONS:
        drawn = make_swapper(MODEL, params, to=to, source=source)(crops)
        direct = swap_faces(MODEL, params, scaled, to=to, source=source)
        np.testing.assert_allclose(drawn / 255, direct, atol=0.6 / 255)
        levels = make_swapper(MODEL, params, to=to, source=source).draw_levels(crops)
        assert levels.dtype == np.float32
        np.testing.assert_array_equal(np.rint(levels), drawn)
    own = make_swapper(MODEL, params, to="a", source="a")(crops)
    redrawn = swap_faces(MODEL, params, scaled, to="a", source="a")
    np.testing.assert_allclose(own / 255, redrawn, atol=0.6 / 255)


def test_both_at_once_are_the_swaps_and_the_own_faces(params, rng: np.random.Generator):
    crops = rng.integers(0, 256, (9, 64, 64, 3), np.uint8)
    for source, to in DIRECTIONS:
        both = make_double_swapper(MODEL, params, to=to)(crops)
        for drawn, side in zip(both, (to, source), strict=True):
            swapper = make_swapper(MODEL, params, to=side, source=source)
            np.testing.assert_allclose(drawn, swapper.draw_levels(crops), atol=0.01)
        assert np.abs(both[0] - both[1]).mean() > 0.2
    assert make_double_swapper(MODEL, params)(crops[:0]).shape == (2, 0, 64, 64, 3)


def test_masks_are_a_fourth_channel(rng: np.random.Generator):
    model = make_autoencoder(ModelConfig(name="lite128", width=8, align_codes=True))
    params = begin_params(model)
    crops = rng.integers(0, 256, (2, 128, 128, 3), np.uint8)
    drawn = model.draw(
        params.network,
        encode_swap(model, params, jnp.asarray(crops) / 255, source="a", to="b"),
        "b",
    )
    swapper = make_swapper(model, params, to="b")
    levels = swapper.draw_levels(crops)
    assert drawn.mask_logits is not None
    mask = 255 / (1 + np.exp(-np.asarray(drawn.mask_logits)))
    np.testing.assert_allclose(levels[..., 3], mask, atol=0.02)
    np.testing.assert_array_equal(swapper(crops), np.rint(levels[..., :3]))
    both = make_double_swapper(model, params, to="b")(crops)
    np.testing.assert_allclose(both[0], levels, atol=0.02)
    assert make_double_swapper(model, params)(crops[:0]).shape == (2, 0, 128, 128, 4)
