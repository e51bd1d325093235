"""Pasting into native frames: what is not changed stays bit for bit."""

import av
import cv2
import numpy as np
import pytest

from deepfake_jax.media.frame_parts import (
    can_paste,
    copy_native,
    cut_native,
    cut_region,
    paste_native,
    reduce_frame,
    reduce_roughly,
)
from deepfake_jax.media.pixel_formats import (
    ColorTags,
    complete_tags,
    convert_from_rgb,
    convert_to_rgb,
)
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.tone_mapping import PQ
from deepfake_jax.types import Frame

# Above region's SMALL_FRAME, with sides that are no multiple of 8.
HEIGHT, WIDTH = 498, 702
BOX = np.array([101.0, 55.0, 150.0, 90.0])
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12"]


def make_native(
    rng: np.random.Generator, pixel_format: str, *, transfer: int = 1
) -> av.VideoFrame:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(rows / a + columns / b) for a, b in ((31, 47), (53, 29), (41, 61))]
    rgb = 128 + 70 * np.stack(waves, axis=-1) + rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    matrix, primaries = (9, 9) if transfer == PQ else (1, 1)
    tags = ColorTags(matrix=matrix, range=1, primaries=primaries, transfer=transfer)
    frame = np.clip(rgb, 0, 255).astype(np.uint8)
    tags = complete_tags(tags, pixel_format, height=HEIGHT, width=WIDTH)
    native = convert_from_rgb(frame, pixel_format, tags)
    native.colorspace, native.color_range = tags.matrix, tags.range
    native.color_primaries, native.color_trc = tags.primaries, tags.transfer
    native.pts = 7
    return native


def make_timed(native: av.VideoFrame) -> TimedFrame:
    return TimedFrame(index=0, time=0.0, pts=0, duration=1, native=native)


def read_rows(native: av.VideoFrame) -> list[np.ndarray]:
    """Every sample of each plane, without the padding; chroma pairs side by side."""
    deep = "10le" in native.format.name
    planes = []
    for index, plane in enumerate(native.planes):
        rows = np.frombuffer(bytes(plane), np.uint16 if deep else np.uint8)
        pairs = 2 if native.format.name == "nv12" and index else 1
        rows = rows.reshape(plane.height, -1)[:, : plane.width * pairs]
        planes.append(rows.astype(int))
    return planes


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_cut_has_the_frames_own_samples(
    rng: np.random.Generator, pixel_format: str
) -> None:
    native = make_native(rng, pixel_format)
    part = cut_native(native, 104, 48, 152, 96)
    assert (part.width, part.height, part.format.name) == (152, 96, pixel_format)
    assert (part.colorspace, part.color_range) == (
        native.colorspace,
        native.color_range,
    )
    for cut, whole in zip(read_rows(part), read_rows(native), strict=True):
        # Of interleaved chroma a row holds as many numbers as pixels.
        top, left = 48 * cut.shape[0] // 96, 104 * cut.shape[1] // 152
        expected = whole[top : top + cut.shape[0], left : left + cut.shape[1]]
        np.testing.assert_array_equal(cut, expected)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_nothing_changed_is_the_same_bit_for_bit(
    rng: np.random.Generator, pixel_format: str
) -> None:
    native = make_native(rng, pixel_format)
    assert can_paste(native)
    region = cut_region(make_timed(native), BOX)
    assert region.pixels.shape[0] < HEIGHT
    nothing = np.zeros(region.pixels.shape[:2], bool)
    inverted: Frame = 255 - region.pixels
    pasted = paste_native(native, inverted, x=region.x, y=region.y, changed=nothing)
    assert pasted is not native and pasted.pts == 7
    assert (pasted.colorspace, pasted.color_range) == (
        native.colorspace,
        native.color_range,
    )
    for before, after in zip(read_rows(native), read_rows(pasted), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_own_pixels_come_back(rng: np.random.Generator, pixel_format: str) -> None:
    native = make_native(rng, pixel_format)
    region = cut_region(make_timed(native), BOX, tone=False)
    everything = np.ones(region.pixels.shape[:2], bool)
    pasted = paste_native(
        native, region.pixels, x=region.x, y=region.y, changed=everything
    )
    # RGB of 8 bits loses a level of luma in each direction; 10 bits count it as 4.
    # Chroma of 4:2:0 is interpolated and averaged again, and the patch's edge lacks
    # its neighbours: a few levels in a picture as smooth as this.
    level = 4 if "10le" in pixel_format else 1
    luma, *chroma = [
        np.abs(after - before)
        for before, after in zip(read_rows(native), read_rows(pasted), strict=True)
    ]
    assert luma.max() <= 2 * level
    assert max(plane.max() for plane in chroma) <= 5 * level
    # The test can see a difference at all: outside of the box there is none.
    height, width = region.pixels.shape[:2]
    luma[region.y : region.y + height, region.x : region.x + width] = 0
    assert luma.max() == 0


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_only_changed_pixels_and_their_chroma_move(
    rng: np.random.Generator, pixel_format: str
) -> None:
    native = make_native(rng, pixel_format)
    region = cut_region(make_timed(native), BOX)
    changed = np.zeros(region.pixels.shape[:2], bool)
    changed[33, 41] = changed[60:70, 80:99] = True
    green = np.broadcast_to(np.array([0, 255, 0], np.uint8), region.pixels.shape)
    before = read_rows(native)
    pasted = paste_native(
        native, np.ascontiguousarray(green), x=region.x, y=region.y, changed=changed
    )
    for old, same in zip(before, read_rows(native), strict=True):
        assert np.array_equal(old, same)  # the original is as it was
    whole = np.zeros((HEIGHT, WIDTH), bool)
    height, width = region.pixels.shape[:2]
    whole[region.y : region.y + height, region.x : region.x + width] = changed
    moved = [new != old for new, old in zip(read_rows(pasted), before, strict=True)]
    assert not (moved[0] & ~whole).any()
    across, down = {"yuv444p": (1, 1), "yuv422p": (2, 1)}.get(pixel_format, (2, 2))
    for plane in moved[1:]:
        pairs = plane.shape[1] * across // WIDTH or 1
        touched = np.zeros(plane.shape, bool)
        for y, x in np.argwhere(whole):
            column = x // across * pairs
            touched[y // down, column : column + pairs] = True
        assert not (plane & ~touched).any()
    rgb = convert_to_rgb(pasted)[62 + region.y, 88 + region.x].astype(int)
    # Two roundings of chroma, each worth up to two levels of RGB.
    assert np.abs(rgb - [0, 255, 0]).max() <= 5


def test_frame_edges_are_reached(rng: np.random.Generator) -> None:
    # Odd sides: the last chroma sample belongs to a single column and row.
    native = convert_from_rgb(
        np.full((9, 13, 3), 90, np.uint8), "yuv420p", ColorTags(1, 1, 1, 1)
    )
    patch = np.full((5, 5, 3), 200, np.uint8)
    pasted = paste_native(native, patch, x=8, y=4, changed=np.ones((5, 5), bool))
    luma = read_rows(pasted)[0]
    assert luma[-1, -1] == luma[4, 8] > luma[3, 7] == read_rows(native)[0][0, 0]


def test_hdr_patch_is_in_the_frames_own_transfer(rng: np.random.Generator) -> None:
    native = make_native(rng, "yuv420p10le", transfer=PQ)
    timed = make_timed(native)
    plain, toned = cut_region(timed, BOX, tone=False), cut_region(timed, BOX)
    height, width = plain.pixels.shape[:2]
    inside = np.s_[plain.y : plain.y + height, plain.x : plain.x + width]
    assert np.abs(plain.pixels.astype(int) - timed.frame[inside]).mean() < 1
    assert np.abs(toned.pixels.astype(int) - plain.pixels).mean() > 5


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p"])
def test_a_rough_reduction_is_the_exact_one_up_to_noise(
    rng: np.random.Generator, pixel_format: str
) -> None:
    timed = make_timed(make_native(rng, pixel_format))
    rough = reduce_roughly(timed, height=20, width=30).astype(float)
    exact = cv2.resize(timed.frame, (30, 20), interpolation=cv2.INTER_AREA)
    # Noise of 3 levels, of which fewer pixels are averaged. (swscale's reduction of
    # 4:2:0 is off by ten in such colors: it takes every other sample of the chroma.)
    assert np.abs(rough - exact).mean() < 1.5
    same = reduce_frame(timed, height=300, width=400)
    assert (reduce_roughly(timed, height=300, width=400) == same).all()


def test_what_cannot_be_pasted_is_said() -> None:
    patch, changed = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool)
    grey = av.VideoFrame(64, 48, "gray")
    assert not can_paste(grey)
    with pytest.raises(ValueError, match="gray frame cannot"):
        paste_native(grey, patch, x=0, y=0, changed=changed)
    native = copy_native(av.VideoFrame(64, 48, "yuv420p"))
    with pytest.raises(ValueError, match="cuts through chroma"):
        paste_native(native, patch, x=3, y=0, changed=changed)
    with pytest.raises(ValueError, match="not inside"):
        paste_native(native, patch, x=0, y=44, changed=changed)
    with pytest.raises(ValueError, match=r"changed is \(4, 8\)"):
        paste_native(native, patch, x=0, y=0, changed=changed[:4])
