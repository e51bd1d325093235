"""Figures of the guide: pictures in rows, with titles and notes upon them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Polygon
from PIL import Image
from sample_people import Seen

from deepfake_jax.imaging.affine import face_corners
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.types import Frame, Landmarks, Mask

ASSETS = Path(__file__).parent / "assets"
INK, ONE, TWO = "#222222", "#c2452d", "#2d6fc2"


def tiles(
    pictures: Sequence[tuple[str, np.ndarray]],
    *,
    columns: int = 0,
    side: float = 1.7,
    notes: Callable[[int, Any], None] | None = None,
) -> Any:
    """Pictures side by side, each with a line above; masks in grey.

    Args:
        pictures: titles and pictures.
        columns: of the grid; all in one row by default.
        side: height of a picture, inches.
        notes: draws upon a picture; is given its number and its axes.
    """
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    wide = max(p.shape[1] / p.shape[0] for _, p in pictures)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(columns * side * wide, rows * side * 1.2)
    )
    for axis in axes.ravel():
        axis.axis("off")
    for number, (title, picture) in enumerate(pictures):
        axis = axes.ravel()[number]
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if picture.ndim == 2 else {}
        axis.imshow(picture, interpolation="bilinear", **grey)
        axis.set_title(title, fontsize=8, color=INK)
        axis.set(xlim=(0, picture.shape[1] - 1), ylim=(picture.shape[0] - 1, 0))
        if notes:
            notes(number, axis)
    figure.tight_layout(pad=0.3)
    return figure


def dots(axis: Any, landmarks: Landmarks, *, color: str = "#33ff88", size: float = 2):
    """Landmarks upon a picture."""
    axis.scatter(*np.asarray(landmarks).T, s=size, c=color, linewidths=0)


def outline(axis: Any, corners: np.ndarray, *, color: str = "#ffcc33") -> None:
    """A quadrangle upon a picture, corners as `face_corners` gives them."""
    axis.add_patch(Polygon(corners[[0, 1, 3, 2]], fill=False, ec=color, lw=1.2))


def tint(picture: Frame, mask: Mask) -> Frame:
    """A picture, orange where a mask shows it."""
    color = np.array([255, 140, 0], np.float32)
    share = 0.55 * mask[..., None]
    return np.rint(picture * (1 - share) + color * share).astype(np.uint8)


def around(seen: Seen, frame: Frame) -> Frame:
    """A frame, cut to the face's surroundings."""
    corners = face_corners(seen.matrix, FACE_SIZE)
    middle = corners.mean(axis=0)
    half = 0.5 * np.ptp(corners, axis=0).max()
    x0, y0 = np.maximum(np.floor(middle - half), 0).astype(int)
    x1, y1 = np.ceil(middle + half).astype(int)
    return frame[y0:y1, x0:x1]


def save(name: str, figure: Any) -> Path:
    """Writes a figure as WebP, which is a third of PNG's size."""
    path, buffer = ASSETS / f"{name}.webp", io.BytesIO()
    figure.savefig(buffer, bbox_inches="tight", pad_inches=0.05)
    Image.open(buffer).convert("RGB").save(path, quality=82, method=6)
    plt.close(figure)
    return path
