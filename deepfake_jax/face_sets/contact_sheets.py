"""Contact sheets of face sets: by person, by pose, and the worst by each quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_jax.face_sets.face_queries import read_key
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.set_files import SHEETS
from deepfake_jax.imaging.picture_grid import put_text
from deepfake_jax.media.pictures import PictureError, read_picture, write_picture
from deepfake_jax.progress import count
from deepfake_jax.types import Frame, spread

TILE = 112  # pixels; side of a face on a sheet
_TITLE, _LABEL = 26, 14  # pixels; heights of a row's title and of a face's label
_BACK, _INK, _FAINT = (24, 24, 24), (235, 235, 235), (165, 165, 165)
# Quality -> whether high values are bad.
_WORST = {
    "alignment": False,
    "sharpness": False,
    "score": False,
    "width": False,
    "occlusion": True,
    "yaw": True,
    "pitch": True,
}
_YAWS = (-90, -45, -20, 20, 45, 90)
_PITCHES = (90, 15, -15, -90)


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


def write_sheets(folder: Path, kept: list[tuple[Path, FaceRecord]]) -> list[Path]:
    """Draws the sheets of some faces, each with its set's folder, into a folder."""
    sheets = {
        f"{SHEETS}people.png": _rows_by_person(kept),
        f"{SHEETS}poses.png": _rows_by_pose(kept),
        f"{SHEETS}worst.png": _rows_of_worst(kept),
    }
    for name, rows in sheets.items():
        write_picture(folder / name, draw_sheet(rows))
    return [folder / name for name in sheets]


def _rows_by_person(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for person in sorted({record.person for _, record in kept}):
        own = [pair for pair in kept if pair[1].person == person]
        tracks = len({record.track for _, record in own})
        title = (
            f"person {person}   {count(len(own), 'face')} in {count(tracks, 'track')}"
        )
        tiles = [_tile(own[i], "frame") for i in spread(len(own), 20)]
        rows.append(Row(title, tiles))
    return rows


def _rows_by_pose(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for high, low in zip(_PITCHES, _PITCHES[1:], strict=False):
        for left, right in zip(_YAWS, _YAWS[1:], strict=False):
            own = [
                pair
                for pair in kept
                if low <= pair[1].pitch < high and left <= pair[1].yaw < right
            ]
            if own:
                where = f"yaw {left} to {right}, pitch {low} to {high}"
                title = f"{where}   {count(len(own), 'face')}"
                tiles = [_tile(own[i], "yaw") for i in spread(len(own), 10)]
                rows.append(Row(title, tiles))
    return rows


def _rows_of_worst(kept: list[tuple[Path, FaceRecord]]) -> list[Row]:
    rows = []
    for key, high_is_bad in _WORST.items():
        own = sorted(kept, key=lambda pair: read_key(pair[1], key), reverse=high_is_bad)
        tiles = [_tile(pair, key) for pair in own[:20]]
        rows.append(Row(f"worst by {key}", tiles))
    return rows


def _tile(pair: tuple[Path, FaceRecord], key: str) -> Tile:
    folder, record = pair
    value = getattr(record, key)
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return Tile(folder / record.file, f"{key} {text}")


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
                place = (left + 3, TILE + 11)
                put_text(line, tile.label, place, scale=0.36, ink=_FAINT)
            parts.append(line)
    if not parts:
        return _draw_title("no faces", columns * TILE)
    return np.concatenate(parts)


def _draw_title(title: str, width: int) -> Frame:
    line = np.full((_TITLE, width, 3), _BACK, np.uint8)
    put_text(line, title, (6, 18), scale=0.48, ink=_INK)
    return line


def _read_tile(path: Path) -> Frame:
    try:
        face = read_picture(path)
    except (PictureError, OSError):
        return np.full((TILE, TILE, 3), (90, 20, 20), np.uint8)
    return cv2.resize(face, (TILE, TILE), interpolation=cv2.INTER_AREA)
