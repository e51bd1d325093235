"""Where eyes look: drawn eyes, to all sides, in any light; and a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.models.gaze import find_looks

SIDE = 128
LEFT, RIGHT = (44.0, 56.0), (84.0, 56.0)  # middles of the eyes
WIDTH, GAP = 22.0, 9.0
LIDS = ((33, 133, 159, 145), (362, 263, 386, 374))


def draw_eyes(right: float, down: float = 0.0, *, skin: float = 0.6) -> np.ndarray:
    """A face whose irises lie so many eyes' widths off the middles."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    grey = np.full((SIDE, SIDE), skin)
    for middle in (LEFT, RIGHT):
        u, v = (x - middle[0]) / (WIDTH / 2), (y - middle[1]) / (GAP / 2)
        grey = np.where(u * u + v * v < 1, 0.8, grey)
        across, below = x - middle[0] - right * WIDTH, y - middle[1] - down * WIDTH
        iris = np.clip(4.5 - np.hypot(across, below), 0, 1) * (u * u + v * v < 1)
        grey = grey + iris * (0.15 - grey)
    return np.repeat(grey[..., None], 3, axis=2)


def place_lids() -> np.ndarray:
    landmarks = np.zeros((468, 2))
    for middle, (corner, other, upper, lower) in zip((LEFT, RIGHT), LIDS, strict=True):
        for vertex, off in (
            *((corner, (-WIDTH / 2, 0)), (other, (WIDTH / 2, 0))),
            *((upper, (0, -GAP / 2)), (lower, (0, GAP / 2))),
        ):
            landmarks[vertex] = (np.array(middle) + off + 0.5) / SIDE
    return landmarks


def look(*faces: np.ndarray) -> np.ndarray:
    crops = jnp.asarray(np.stack(faces), jnp.float32)
    lids = jnp.asarray(np.stack([place_lids()] * len(faces)), jnp.float32)
    return np.asarray(find_looks(crops, lids))


def test_looks_go_where_the_irises_do():
    amounts = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    found = look(*(draw_eyes(amount) for amount in amounts))
    assert found[2] == pytest.approx(0, abs=0.01)
    slope = np.polyfit(amounts, found[:, 0], 1)[0]
    assert 0.6 < slope < 1.2 and np.all(np.diff(found[:, 0]) > 0.04)
    assert np.abs(found[:, 1]).max() < 0.01
    up, down = look(draw_eyes(0, -0.08), draw_eyes(0, 0.08))[:, 1]
    assert up < -0.01 and down > 0.01


def test_light_moves_no_look():
    face = draw_eyes(0.15)
    one, dim, pale = look(face, 0.5 * face, 0.3 + 0.5 * face)
    assert dim == pytest.approx(one, abs=0.01) and pale == pytest.approx(one, abs=0.01)


def test_larger_pictures_of_a_face_look_as_it_does():
    face = draw_eyes(0.15)
    large = face.repeat(2, axis=0).repeat(2, axis=1)
    assert look(large)[0] == pytest.approx(look(face)[0], abs=1e-5)


def test_even_and_narrow_eyes_look_ahead():
    flat = np.full((SIDE, SIDE, 3), 0.5)
    assert look(flat)[0] == pytest.approx(0, abs=1e-3)
    crops, lids = jnp.asarray(flat[None], jnp.float32), jnp.zeros((1, 468, 2))
    assert np.all(np.isfinite(find_looks(crops, lids)))


def test_the_gradient_draws_irises_to_where_they_should_be():
    lids = jnp.asarray(place_lids()[None], jnp.float32)
    crops = jnp.asarray(draw_eyes(0.0)[None], jnp.float32)
    gradient = jax.grad(lambda crops: find_looks(crops, lids)[0, 0])(crops)
    assert np.all(np.isfinite(gradient)) and float(jnp.abs(gradient).max()) > 0
    for _ in range(20):
        crops = jnp.clip(crops + 0.02 * jnp.sign(gradient), 0, 1)
    # Darker on the right, brighter on the left: the look goes to the right.
    assert float(find_looks(crops, lids)[0, 0]) > 0.05
