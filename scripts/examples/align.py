"""Aligns a face: from a turned face in a frame to the upright picture of 256 pixels.

python scripts/examples/align.py
"""

import numpy as np
from drawn_face import draw_face

from deepfake_jax import apply_affine, frame_to_face_matrix, invert_affine, warp_face
from deepfake_jax.imaging.affine import similarity
from deepfake_jax.imaging.face_template import template_landmarks


def main() -> None:
    """Turns a face into a frame, and finds it back by its landmarks."""
    face = draw_face(np.random.default_rng(0))
    landmarks = template_landmarks(256, count=68)

    # Somewhere in a frame: turned by 20 degrees, at 60 % of its size.
    turn = similarity(0.6, angle=np.radians(20), about=(128, 128), to=(200, 150))
    frame = warp_face(face, turn, face_size=400)
    in_frame = apply_affine(turn, landmarks)

    frame_to_face = frame_to_face_matrix(in_frame)
    assert np.allclose(frame_to_face, invert_affine(turn))
    aligned = warp_face(frame, frame_to_face)

    off = np.abs(aligned.astype(int) - face)[64:192, 64:192].mean()
    print(
        f"aligned {aligned.shape}, {off:.2f} grey levels from the face that was drawn"
    )


if __name__ == "__main__":
    main()
