"""Labelled grids of face pictures, as previews of training have them; words on them."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from deepfake_jax.types import Frame

_LABEL_WIDTH, _GAP, _SCALE = 132, 4, 2  # pixels of a preview; enlargement
_HEADER = 28  # pixels of a preview; height of its title


def draw_preview(
    rows: list[tuple[str, UInt8[Any, "_ h w 3"]]], *, title: str = ""
) -> Frame:
    """A labelled grid of faces, one row a name.

    Args:
        rows: (label, faces); all faces of one size.
        title: a line above, such as the step and the losses.
    """
    side = rows[0][1].shape[1] * _SCALE
    columns = max(len(faces) for _, faces in rows)
    width = _LABEL_WIDTH + columns * (side + _GAP)
    header = _HEADER
    grid = np.full((header + len(rows) * (side + _GAP), width, 3), 24, np.uint8)
    put_text(grid, title, (8, 19))
    for row, (label, faces) in enumerate(rows):
        top = header + row * (side + _GAP)
        for index, line in enumerate(label.split("\n")):
            put_text(grid, line, (8, top + side // 2 + 18 * index))
        for column, face in enumerate(faces):
            left = _LABEL_WIDTH + column * (side + _GAP)
            enlarged = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
            grid[top : top + side, left : left + side] = enlarged
    return grid


def preview_layout(height: int, width: int, *, rows: int) -> dict[str, int]:
    """Where the faces of a `draw_preview` lie, told by its size.

    Returns:
        side of a face; left and top of the first one; step from one to the next, both
        ways; columns, at least 1.
    """
    step = (height - _HEADER) // rows
    columns = max(1, (width - _LABEL_WIDTH) // max(1, step))
    return {
        "side": step - _GAP,
        "left": _LABEL_WIDTH,
        "top": _HEADER,
        "step": step,
        "columns": columns,
    }


def put_text(
    frame: Frame,
    text: str,
    origin: tuple[int, int],
    *,
    scale: float = 0.45,
    ink: tuple[int, int, int] = (230, 230, 230),
) -> None:
    """Writes ASCII text into a picture, in place; light, if no `ink` is given."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(frame, text, origin, font, scale, ink, 1, cv2.LINE_AA)
