"""Beside a drawn face its own colors go on, for a little way."""

import numpy as np
import pytest

from deepfake_jax.imaging.drawn_border import carry_on


@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_wall_beside_a_face_becomes_skin_near_it_and_stays_further_away(side: int):
    columns = np.arange(side)
    skin = np.array([200.0, 150.0, 130.0], np.float32)
    face = np.tile(skin, (side, side, 1))
    face[:, side // 2 :] = (20, 40, 250)
    seen = np.zeros((side, side), np.float32)
    seen[:, : side // 2] = 1
    found = carry_on(face, seen)
    near = slice(side // 2 + 1, side // 2 + side // 16)
    np.testing.assert_allclose(
        found[:, near], np.broadcast_to(skin, found[:, near].shape), atol=3
    )
    np.testing.assert_array_equal(
        found[:, columns < side // 2], face[:, columns < side // 2]
    )
    far = columns >= side // 2 + side // 4
    np.testing.assert_allclose(found[:, far], face[:, far], atol=0.01)


def test_without_any_face_and_of_nothing_but_face_all_stays():
    face = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    for seen in (np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)):
        np.testing.assert_allclose(carry_on(face, seen), face, atol=1e-3)


def test_a_soft_border_of_face_and_wall_is_painted_with_the_face():
    ramp = np.clip((40 - np.arange(64)) / 8 + 0.5, 0, 1).astype(np.float32)
    seen = np.tile(ramp, (64, 1))
    face = 200 * seen[..., None] + 20 * (1 - seen[..., None]) + np.zeros(3, np.float32)
    found = carry_on(face, seen)
    half = seen[0] <= 0.5
    assert face[:, half].max() <= 110 and found[:, half][:, :3].min() > 160


def test_a_brow_at_the_border_goes_on_as_skin():
    """Or hair, cut off above a brow, would become a dark smear of it."""
    face = np.full((128, 128, 3), (200, 150, 130), np.float32)
    seen = np.zeros((128, 128), np.float32)
    seen[40:] = 1
    face[:40] = 30
    face[40:46, 60:] = (60, 45, 40)
    found = carry_on(face, seen)
    above = found[33:39, 70:120]
    np.testing.assert_allclose(
        above, np.broadcast_to(face[60, 60], above.shape), atol=8
    )
    np.testing.assert_array_equal(found[40:], face[40:])
