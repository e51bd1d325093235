"""Trains a small network for ten steps, on drawn faces of two people.

python scripts/examples/train_ten_steps.py
"""

import jax
import numpy as np
from drawn_face import draw_face

from deepfake_jax import init_state, jit_step, load_batches, load_preset
from deepfake_jax.train_config import override_config
from deepfake_jax.types import Faces, Side


def draw_people(count: int) -> dict[Side, Faces]:
    """As many faces of each of two people."""
    rng = np.random.default_rng(0)
    return {
        "a": np.stack([draw_face(rng, skin=(220, 170, 140)) for _ in range(count)]),
        "b": np.stack([draw_face(rng, skin=(140, 110, 95)) for _ in range(count)]),
    }


def main() -> None:
    """Ten updates; prints the losses before each."""
    changes = ["model.width=8", "batch_size=4", "optimizer.learning_rate=1e-3"]
    config = override_config(load_preset("original"), changes)
    faces = draw_people(16)
    state, step = init_state(jax.random.key(config.seed), config), jit_step()
    batches = load_batches(
        faces,
        first_step=0,
        seed=config.seed,
        batch_size=config.batch_size,
        augment=config.augment,
        crop_size=state.model.crop_size,
    )
    losses = []
    for number in range(1, 11):
        state, metrics = step(state, next(batches))
        losses.append((float(metrics["loss_a"]), float(metrics["loss_b"])))
        print(f"step {number}: loss A {losses[-1][0]:.4f}, B {losses[-1][1]:.4f}")
    batches.close()
    assert sum(losses[-1]) < sum(losses[0])


if __name__ == "__main__":
    main()
