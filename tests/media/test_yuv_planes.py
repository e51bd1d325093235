"""Samples of 8 bits to RGB and back: the formula, swscale, odd sides."""

import numpy as np
import pytest
from av import VideoFrame
from av.video.reformatter import Interpolation

from deepfake_jax.media.yuv_planes import (
    is_quick,
    planes_to_rgb,
    rgb_to_planes,
    view_part,
)

# Kr and Kb of ITU-R BT.709, BT.601 and BT.2020, by the matrix's number.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def draw_waves(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / a + columns / b) for a, b in ((11, 17), (23, 9), (14, 21))]
    return np.rint(128 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", list(WEIGHTS))
def test_colors_follow_the_formula(matrix: int, full: bool):
    red, blue = WEIGHTS[matrix]
    levels = np.arange(0, 256, 15).astype(np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 18, 3)
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (1 - blue) / 2, (r - y) / (1 - red) / 2
    luma, chroma = (1, 1) if full else (219 / 255, 224 / 255)
    expected = [y * luma + (0 if full else 16), 128 + u * chroma, 128 + v * chroma]
    planes = rgb_to_planes(rgb, matrix=matrix, full=full, across=1, down=1)
    # Half a level is rounding; the rest OpenCV's coefficients of ten bits.
    for plane, right in zip(planes, expected, strict=True):
        assert np.abs(plane[..., 0] - np.clip(right, 0, 255)).max() < 0.7
    # What rounding to samples costs is one to two levels of RGB; 255.5 is 255.
    back = planes_to_rgb(planes, matrix=matrix, full=full)
    assert np.abs(back - rgb.astype(np.float64)).max() <= 2


@pytest.mark.parametrize("size", [(48, 64), (9, 13), (8, 1)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p"])
def test_smooth_pictures_are_those_of_swscale(pixels: str, size: tuple[int, int]):
    height, width = size
    full = pixels.startswith("yuvj")
    across, down = {"2": (2, 1), "4": (1, 1)}.get(pixels[-2], (2, 2))
    planes = rgb_to_planes(
        draw_waves(height, width), matrix=5, full=full, across=across, down=down
    )
    native = VideoFrame(width, height, pixels)
    assert is_quick(native)
    views = view_part(native, 0, 0, width, height)
    assert [view.shape for view in views] == [plane.shape for plane in planes]
    for view, plane in zip(views, planes, strict=True):
        view[:] = plane
    found = planes_to_rgb(views, matrix=5, full=full)
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
    exact |= Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    rgb = native.reformat(
        format="rgb24",
        interpolation=exact,
        src_colorspace=5,
        src_color_range=2 if full else 1,
    )
    assert found.shape == (height, width, 3)
    # Each rounds chroma at another place, and steep chroma at the edges differs more.
    error = np.abs(found.astype(int) - rgb.to_ndarray())
    assert error.mean() < 1 and np.percentile(error, 95) <= 3


def test_planes_of_a_picture_come_back():
    first = rgb_to_planes(draw_waves(60, 80), matrix=1, full=False, across=2, down=2)
    rgb = planes_to_rgb(first, matrix=1, full=False)
    again = rgb_to_planes(rgb, matrix=1, full=False, across=2, down=2)
    for before, after in zip(first, again, strict=True):
        assert np.abs(before.astype(int) - after).max() <= 3
