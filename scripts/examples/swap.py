"""Swaps a face with a network that has learned nothing yet: the shapes and the calls.

python scripts/examples/swap.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from drawn_face import draw_face

from deepfake_jax import crop_faces, init_state, load_preset, make_swapper, swap_faces
from deepfake_jax.train_config import override_config


def main() -> None:
    """A's crop through the encoder and B's decoder, twice: pure, and for uint8."""
    config = override_config(load_preset("original"), ["model.width=8"])
    state = init_state(jax.random.key(0), config)
    model, params = state.model, state.swap_params
    face = draw_face(np.random.default_rng(0))
    crops = crop_faces(face[None], model.crop_size)

    pictures = jnp.asarray(crops, jnp.float32) / 255
    drawn = swap_faces(model, params, pictures, to="b")
    print(f"float32 in, float32 out: {drawn.shape}")

    # As a conversion does: any number of uint8 crops, in batches of a few sizes.
    swap = make_swapper(model, params, to="b")
    swapped = swap(crops)
    assert swapped.dtype == np.uint8
    assert np.abs(swapped / 255 - np.asarray(drawn)).max() < 0.01
    print(f"uint8 in, uint8 out: {swapped.shape}")


if __name__ == "__main__":
    main()
