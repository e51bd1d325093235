"""Makes training pairs: faces bent at random, and what they must become again.

python scripts/examples/warp.py
"""

import numpy as np
from drawn_face import draw_face

from deepfake_jax import augment_faces, crop_faces, random_transform, random_warp


def main() -> None:
    """One pair step by step, then many at once."""
    rng = np.random.default_rng(0)
    face = draw_face(rng)

    moved = random_transform(rng, face, rotation=10.0, zoom=0.05)
    warped, target = random_warp(rng, moved, crop_size=64, warp_scale=5.0)
    bent = np.abs(warped.astype(int) - target).mean()
    print(f"warped and target {warped.shape} differ by {bent:.1f} grey levels")

    # Without a warp both are the crop itself.
    same, straight = random_warp(rng, face, crop_size=64, warp_scale=0.0)
    crop = crop_faces(face[None], 64)[0]
    assert np.abs(same.astype(int) - crop).max() <= 1
    assert np.abs(straight.astype(int) - crop).max() <= 1

    faces = np.stack([draw_face(rng) for _ in range(8)])
    many_warped, many_targets = augment_faces(rng, faces, crop_size=64)
    print(f"{len(many_warped)} pairs at once, {many_targets.shape[1:]}")


if __name__ == "__main__":
    main()
