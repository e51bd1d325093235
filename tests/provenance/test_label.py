"""The visible label: in its corner, at its time, and nothing else changed."""

import numpy as np
import pytest
from av import VideoFrame

from deepfake_jax.convert_config import LabelCorner
from deepfake_jax.provenance.label import _TEXTS, VisibleLabel, _draw_tile


@pytest.mark.parametrize(
    "corner", ["top-left", "top-right", "bottom-left", "bottom-right"]
)
@pytest.mark.parametrize("native", [False, True])
def test_label_stands_in_its_corner_and_changes_nothing_else(
    corner: LabelCorner, native: bool
):
    frame = np.full((240, 320, 3), 128, np.uint8)
    label = VisibleLabel("KI-generiert", corner=corner, time="all")
    shown = VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
    if not native:
        drawn = label.draw(frame)
        apart = (np.asarray(drawn) != frame).any(axis=2)
    else:
        drawn = label.draw(shown)
        assert isinstance(drawn, VideoFrame) and drawn is not shown
        luma = [np.asarray(each.to_ndarray())[:240] for each in (drawn, shown)]
        apart = luma[0] != luma[1]
    rows, columns = np.nonzero(apart)
    half = apart[120:] if corner.startswith("bottom") else apart[:120]
    assert half.sum() == apart.sum() > 400
    assert (columns.max() > 300) == corner.endswith("right")
    assert rows.max() - rows.min() < 40


def test_label_fades_in_and_out_or_stays():
    label = VisibleLabel("icon", corner="top-left", time="start")
    shares = [label.opacity(second) for second in (0.0, 0.3, 3.0, 5.8, 6.0, 60.0)]
    assert 0 < shares[0] < shares[1] < shares[2] == 1 > shares[3] > shares[4] == 0
    frame = np.zeros((90, 120, 3), np.uint8)
    assert label.draw(frame, seconds=60.0) is frame
    always = VisibleLabel("icon", corner="top-left", time="all")
    assert always.opacity(60.0) == 1


def test_label_fits_any_frame_and_knows_the_languages():
    for height, width in ((1080, 1920), (90, 60), (16, 24)):
        tile = _draw_tile("Vytvorené pomocou AI", height, width)
        assert tile.shape[0] <= height and tile.shape[1] <= width
    assert len(_TEXTS) == 24
    missing = _draw_tile("\U000f0000" * 3, 720, 1280)
    for text in _TEXTS.values():
        assert _draw_tile(text, 720, 1280).shape != missing.shape
    label = VisibleLabel("auto", corner="top-left", time="all")
    assert label.text in _TEXTS.values()
