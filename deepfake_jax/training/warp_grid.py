"""The grid of control points between which warps are linear."""

import numpy as np
from jaxtyping import Float64

GRID = 5  # control points a side


def interpolate_grid(crop_size: int) -> Float64[np.ndarray, "crop_size 5"]:
    """Weights of the control points of an axis, at the centres of a crop's pixels."""
    position = (np.arange(crop_size) + 0.5) * (GRID - 1) / crop_size
    return np.clip(1 - np.abs(position[:, None] - np.arange(GRID)), 0, None)
