"""Lays one face over another: mask, colour, blend.

python scripts/examples/blend.py
"""

import numpy as np
from drawn_face import draw_face

from deepfake_jax import (
    erode_mask,
    feather_mask,
    hull_mask,
    paste_face,
    transfer_color,
)
from deepfake_jax.imaging.face_template import template_landmarks


def main() -> None:
    """The plain paste, and the one with matched colours, by each blend."""
    rng = np.random.default_rng(0)
    frame = draw_face(rng, skin=(210, 160, 130))
    new = draw_face(rng, skin=(140, 110, 120))
    landmarks = template_landmarks(256, count=68)
    mask = feather_mask(erode_mask(hull_mask(landmarks, 256), 0.06), 0.18)
    frame_to_face = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    def measure_change(pasted: np.ndarray) -> float:
        outside = mask == 0
        assert (pasted[outside] == frame[outside]).all()
        return float(np.abs(pasted.astype(int) - frame)[mask > 0].mean())

    plain = paste_face(frame, new, mask, frame_to_face)
    print(f"plain paste: {measure_change(plain):.1f} grey levels from the frame")
    matched = transfer_color(frame, new, "avg", mask=mask)
    for blend in ("alpha", "poisson"):
        pasted = paste_face(frame, matched, mask, frame_to_face, blend=blend)
        change = measure_change(pasted)
        print(f"colours matched, {blend}: {change:.1f} grey levels")
        assert change < measure_change(plain)


if __name__ == "__main__":
    main()
