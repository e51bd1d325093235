"""Previews: which frame is shown, and what of its swap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import tiny_config, write_face_set, write_pan

from deepfake_jax.conversion.frame_preview import preview_frame
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import BLENDS, COLORS, MASKS, ConvertConfig
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.training.loop import train

pytestmark = pytest.mark.usefixtures("detector_weights")

LARGEST = ConvertConfig(person="largest")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    a = write_face_set(folder / "a", 2)
    b = write_face_set(folder / "b", 2, tint=(120, 160, 210))
    train(a, b, folder / "run", tiny_config(steps=2), devices=1)
    return folder / "run"


@pytest.fixture(scope="module")
def pan(portrait, tmp_path_factory) -> Path:
    """12 frames at 25 a second."""
    return write_pan(tmp_path_factory.mktemp("pan") / "pan.mp4", portrait)


def test_a_frame_is_named_by_time_or_by_number(pan: Path, run: Path, tmp_path: Path):
    out = tmp_path / "preview.png"
    shown = [preview_frame(pan, run, out, LARGEST, at=at) for at in ("0.2", "5f", "#5")]
    assert {(result.frame, result.faces) for result in shown} == {(5, 1)}
    assert {result.time for result in shown} == {0.2}
    # Six tiles: source, crop, swap, matched swap, mask and result; the swap of a run
    # that has learned nothing is no face, and the source is not the result.
    row = read_picture(out)[22:278]
    tiles = [row[:, left : left + 256].astype(int) for left in range(0, 6 * 262, 262)]
    assert np.abs(tiles[0] - tiles[5]).max() > 30
    assert set(np.unique(np.ptp(tiles[4], axis=2))) == {0} and tiles[4].max() == 255


@pytest.mark.parametrize(
    "at, words",
    [
        ("100", "--frame 100 is seconds, and .* 0.48 s long and has 12 frames.*100f"),
        ("12f", "--frame 12f is the number of a frame, and .* has 12 frames"),
    ],
)
def test_a_frame_that_is_not_there_is_told_how_long_the_film_is(
    pan: Path, run: Path, tmp_path: Path, at: str, words: str
):
    with pytest.raises(ConvertError, match=words):
        preview_frame(pan, run, tmp_path / "preview.png", LARGEST, at=at)


def test_the_grid_has_every_mask_color_and_blend(
    portrait: np.ndarray, run: Path, tmp_path: Path
):
    source, out = tmp_path / "face.png", tmp_path / "grid.png"
    write_picture(source, portrait)
    result = preview_frame(source, run, out, LARGEST, grid=True)
    assert (result.frame, result.faces) == (0, 1)
    height, width = read_picture(out).shape[:2]
    cell = 160 + 6
    assert height == 44 + len(MASKS) * cell
    assert width == 96 + len(COLORS) * len(BLENDS) * cell


def test_nothing_else_is_written_over(portrait: np.ndarray, run: Path, tmp_path: Path):
    source = tmp_path / "face.png"
    write_picture(source, portrait)
    with pytest.raises(ConvertError, match="the source itself"):
        preview_frame(source, run, source, LARGEST)
    with pytest.raises(ConvertError, match="name a picture"):
        preview_frame(source, run, tmp_path / "preview.mp4", LARGEST)
    with pytest.raises(ConvertError, match="no face to swap in frame 0"):
        wall = tmp_path / "wall.png"
        write_picture(wall, np.full((90, 90, 3), 99, np.uint8))
        preview_frame(wall, run, tmp_path / "out.png", replace(LARGEST, person="all"))
