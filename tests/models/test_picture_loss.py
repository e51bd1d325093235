"""The losses at once are those of `models.losses`, and so is their gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from deepfake_jax.kernels.library import find_kernels
from deepfake_jax.models import picture_loss as module
from deepfake_jax.models.picture_loss import PictureLoss, picture_loss

needs_kernel = pytest.mark.skipif(
    find_kernels("float32") is None,
    reason="no kernels here: a processor with AVX2 and a C++ compiler needed",
)
ALL = PictureLoss(dssim=1.0, scales=3, step=2, laplacian=1.0)


def draw_pictures(n: int, size: int, channels: int = 3) -> list[Array]:
    """Drawn and true pictures, and two weights."""
    rng = np.random.default_rng(0)
    true = rng.random((n, size, size, channels))
    drawn = np.clip(true + rng.normal(0, 0.1, true.shape), 0, 1)
    weights = rng.random((2, n, size, size)) * (rng.random((2, n, size, size)) > 0.3)
    return [jnp.asarray(a, jnp.float32) for a in (drawn, true, weights[0], weights[1])]


@needs_kernel
@pytest.mark.parametrize(
    ("size", "channels", "loss"),
    [
        (128, 3, ALL),
        (64, 3, ALL),
        (44, 3, ALL),
        (256, 3, ALL._replace(scales=4)),
        (64, 1, ALL._replace(squares=True, dssim=0.3, laplacian=2.5)),
        (36, 4, PictureLoss(dssim=0.7, scales=1, step=1)),
        (20, 3, PictureLoss(laplacian=1.0)),
        (100, 3, ALL._replace(step=1)),
    ],
)
def test_value_and_gradient_are_those_of_the_definition(
    size: int, channels: int, loss: PictureLoss
):
    drawn, true, weights, pixel_weights = draw_pictures(3, size, channels)
    fixed = true, weights, pixel_weights

    def at_once(drawn: Array) -> Array:
        return picture_loss(
            drawn, fixed[0], loss, weights=fixed[1], pixel_weights=fixed[2]
        )

    assert "deepfake_jax_losses" in jax.jit(at_once).lower(drawn).as_text()
    value, gradient = jax.value_and_grad(at_once)(drawn)
    define: Any = jax.value_and_grad(module._define)
    expected = define(drawn, *fixed, loss)
    assert value == pytest.approx(float(expected[0]), rel=1e-5)
    # Of equal float32 sums in another order; a sign at zero may differ in one pixel.
    apart = jnp.sqrt(jnp.mean((gradient - expected[1]) ** 2))
    assert apart < 1e-4 * jnp.sqrt(jnp.mean(expected[1] ** 2))
    assert jnp.allclose(
        picture_loss(drawn, fixed[0], loss),
        module._define(drawn, fixed[0], None, None, loss),
        rtol=1e-5,
    )


@needs_kernel
def test_equal_pictures_have_no_loss_and_pull_nowhere():
    picture = draw_pictures(2, 64)[0]
    value, gradient = jax.value_and_grad(lambda d: picture_loss(d, picture, ALL))(
        picture
    )
    assert value == pytest.approx(0, abs=1e-6)
    assert float(jnp.abs(gradient).max()) < 1e-8


@needs_kernel
def test_numbers_that_are_none_come_through():
    drawn, true, *_ = draw_pictures(2, 64)
    loss = picture_loss(drawn.at[1, 3, 3, 0].set(jnp.nan), true, ALL)
    assert not jnp.isfinite(loss)


@needs_kernel
def test_no_gradient_reaches_what_is_true():
    drawn, true, weights, _ = draw_pictures(2, 64)
    gradients = jax.grad(
        lambda t, w: picture_loss(drawn, t, ALL, weights=w), argnums=(0, 1)
    )(true, weights)
    assert all(not jnp.any(gradient) for gradient in gradients)


@needs_kernel
@pytest.mark.parametrize(
    ("size", "loss", "taken"),
    [
        (50, PictureLoss(dssim=1.0, scales=2), True),
        (50, PictureLoss(laplacian=1.0), False),  # does not halve twice
        (64, PictureLoss(squares=True), False),  # nothing to gain
    ],
)
def test_what_the_kernel_cannot_do_goes_by_the_definition(
    size: int, loss: PictureLoss, taken: bool
):
    drawn = jnp.full((2, size, size, 3), 0.5)
    run = jax.jit(lambda d: picture_loss(d, d * 0.9, loss))
    text = run.trace(drawn).jaxpr.pretty_print(use_color=False)
    assert ("deepfake_jax_losses" in text) == taken


def test_too_small_pictures_are_named():
    drawn = jnp.zeros((1, 32, 32, 3))
    with pytest.raises(ValueError, match="smaller than the window"):
        picture_loss(drawn, drawn, ALL)


@needs_kernel
def test_other_devices_lower_the_definition():
    drawn, true, *_ = draw_pictures(2, 64)
    traced = jax.jit(jax.grad(lambda d: picture_loss(d, true, ALL))).trace(drawn)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "deepfake_jax_" not in text
