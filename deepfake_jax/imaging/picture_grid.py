"""Contact sheets: rows of face pictures with titles, to see at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.types import Frame

TILE = 112  # pixels; side of a face on a sheet
_TITLE = 26  # pixels; height of a row's title
_LABEL = 14  # pixels; height of a face's label
_BACK, _INK, _FAINT = (24, 24, 24), (235, 235, 235), (165, 165, 165)


@dataclass(frozen=True)
class Tile:
    """One face of a sheet: its picture and a few words; ASCII."""

    path: Path
    label: str = ""


@dataclass(frozen=True)
class Row:
    """A title and faces, broken into as many lines as they need."""

    title: str
    tiles: Sequence[Tile]


def draw_sheet(rows: Sequence[Row], *, columns: int = 10) -> Frame:
    """Draws rows of faces below each other, `columns` faces wide."""
    parts = []
    for row in rows:
        parts.append(_draw_title(row.title, columns * TILE))
        for start in range(0, len(row.tiles), columns):
            tiles = row.tiles[start : start + columns]
            line = np.full((TILE + _LABEL, columns * TILE, 3), _BACK, np.uint8)
            for index, tile in enumerate(tiles):
                left = index * TILE
                line[:TILE, left : left + TILE] = _read_tile(tile.path)
                _write(line, tile.label, (left + 3, TILE + 11), 0.36, _FAINT)
            parts.append(line)
    if not parts:
        return _draw_title("no faces", columns * TILE)
    return np.concatenate(parts)


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spread, in order."""
    if count <= most:
        return list(range(count))
    return np.linspace(0, count - 1, most).round().astype(int).tolist()


def _read_tile(path: Path) -> Frame:
    try:
        face = read_picture(path)
    except (PictureError, OSError):
        return np.full((TILE, TILE, 3), (90, 20, 20), np.uint8)
    return cv2.resize(face, (TILE, TILE), interpolation=cv2.INTER_AREA)


def _draw_title(title: str, width: int) -> Frame:
    line = np.full((_TITLE, width, 3), _BACK, np.uint8)
    _write(line, title, (6, 18), 0.48, _INK)
    return line


def _write(
    picture: Frame,
    text: str,
    place: tuple[int, int],
    scale: float,
    ink: tuple[int, int, int],
) -> None:
    cv2.putText(
        picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA
    )
