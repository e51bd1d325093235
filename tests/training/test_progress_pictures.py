"""Preview pictures: the grid's layout, the loss plot as a file, and its curve."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_jax.imaging.picture_grid import draw_preview, put_text
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.training.progress_pictures import (
    choose_examples,
    plot_losses,
    smooth_curve,
)


def make_metrics(n: int) -> list[dict[str, float]]:
    return [
        {"step": 10 * i, "loss_a": 0.2 / (i + 1), "loss_b": 0.3 / (i + 1)}
        for i in range(n)
    ]


@pytest.mark.parametrize("count", [1, 4, 10, 50])
def test_examples_are_spread_over_the_set(count: int):
    faces = np.arange(10, dtype=np.uint8)[:, None, None, None]
    faces = np.broadcast_to(faces, (10, 4, 4, 3))
    chosen = choose_examples(faces, count)[:, 0, 0, 0].tolist()
    assert len(chosen) == min(count, 10)
    assert chosen == sorted(set(chosen)) and chosen[0] == 0
    if count > 1:
        assert chosen[-1] == 9
        assert np.ptp(np.diff(chosen)) <= 1


def test_grid_holds_each_face_at_double_size():
    rows = []
    for row, count in enumerate((3, 2)):
        greys = np.zeros((count, 16, 16, 3), np.uint8)
        greys += (100 + 50 * row + 10 * np.arange(count, dtype=np.uint8))[
            :, None, None, None
        ]
        rows.append((f"row {row}\nsecond line", greys))
    grid = draw_preview(rows, title="step 5")
    assert grid.dtype == np.uint8
    # 28 px of title and two rows of 32 + 4; a label of 132 px and three columns.
    assert grid.shape == (28 + 2 * 36, 132 + 3 * 36, 3)
    for row, (_, faces) in enumerate(rows):
        for column, face in enumerate(faces):
            top, left = 28 + 36 * row, 132 + 36 * column
            cell = grid[top : top + 32, left : left + 32]
            assert np.all(cell == face[0, 0])
    empty = grid[28 + 36 : 28 + 68, 132 + 72 : 132 + 104]
    assert len(np.unique(empty)) == 1
    # Title and labels are written: not a flat background.
    for place in (grid[:28], grid[28:64, :130], grid[64:, :130]):
        assert place.max() > 150


def test_text_is_written_in_place():
    frame = np.zeros((40, 100, 3), np.uint8)
    put_text(frame, "swap", (5, 25))
    assert frame.max() > 150
    assert frame[..., 0].sum() == frame[..., 2].sum()


@pytest.mark.parametrize("n", [0, 1, 30])
def test_plot_is_a_png_that_appears_whole(tmp_path: Path, n: int):
    path = tmp_path / "loss.png"
    plot_losses(make_metrics(n), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB" and image.size == (700, 400)
        colours = np.unique(np.asarray(image).reshape(-1, 3), axis=0)
    assert len(colours) > 2
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


def test_curve_is_a_centred_mean(rng: np.random.Generator):
    values = rng.random(100)
    smooth = smooth_curve(values, share=0.1)  # five to each side
    for index in (0, 3, 50, 99):
        window = values[max(index - 5, 0) : index + 6]
        # A difference of float64 sums of a hundred numbers.
        assert smooth[index] == pytest.approx(window.mean(), abs=1e-12)
    line = np.linspace(3, 7, 101)
    np.testing.assert_allclose(smooth_curve(line)[5:-5], line[5:-5], atol=1e-12)
    np.testing.assert_allclose(smooth_curve(np.full(7, 2.5)), 2.5)
    assert len(smooth_curve([])) == 0
    np.testing.assert_allclose(smooth_curve([4.0, 2.0]), [4.0, 2.0])


def test_metrics_without_a_line_cut_off(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    metrics = make_metrics(3)
    text = "".join(json.dumps(line) + "\n" for line in metrics)
    path.write_text(text)
    assert read_metrics(path) == metrics
    path.write_text(text + '{"step": 30, "lo')
    assert read_metrics(path) == metrics


def test_losses_that_were_no_numbers_are_gaps(tmp_path):
    values = np.arange(1.0, 41.0)
    values[10] = np.nan
    smooth = smooth_curve(values, share=0.1)
    # Windows of five: the mean of the four that there are.
    assert smooth[10] == pytest.approx(np.mean([9, 10, 12, 13]))
    assert smooth[20] == pytest.approx(21)
    assert np.isnan(smooth_curve([np.nan] * 3)).all()
    lines = [
        {"step": step, "loss_a": None if step % 3 else 0.1, "loss_b": None}
        for step in range(1, 9)
    ]
    plot_losses(lines, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size == (700, 400)


def test_figures_of_held_out_faces_have_a_panel_of_their_own(tmp_path: Path):
    judged = {"score": 0.1, "interval": 10, "mae_a": 0.05, "mae_b": 0.04}
    lines = [*make_metrics(9), {"step": 40, **judged}]
    plot_losses(lines, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size == (700, 800)
    transfer = {"identity_transfer_a_to_b": 0.3, "identity_transfer_b_to_a": 0.4}
    # Judged without the weights that identity needs, then with them.
    lines.append({"step": 80, **judged, **transfer})
    plot_losses(lines, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size == (700, 800)
