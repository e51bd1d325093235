"""Looks over time: averages inside a track, no lag, flashes stay where they are."""

import numpy as np
import pytest

from deepfake_jax.conversion.frame_swapper import SwappedFace, SwappedFrame
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.imaging.region import Region
from deepfake_jax.media.timed_frames import picture_frame

FACE = np.full((8, 8, 3), 90, np.uint8)


def make_face(
    color: float,
    *,
    track: int = 0,
    light: float = 0.0,
    mask: float = 1.0,
    sharpen: float = 0.0,
) -> SwappedFace:
    return SwappedFace(
        placed=PlacedFace(track, np.eye(2, 3), None),
        region=Region(FACE, 0, 0),
        frame_to_crop=np.eye(2, 3),
        old=FACE,
        new=FACE,
        mask=np.full((4, 4), mask, np.float32),
        cover=np.full((4, 4), mask / 2, np.float32),
        old_color=np.full(3, color),
        new_color=np.full(3, 2 * color),
        light=np.full(3, light),
        sharpen=sharpen,
    )


def make_frames(*faces: list[SwappedFace]) -> list[SwappedFrame]:
    return [SwappedFrame(picture_frame(FACE), tuple(there)) for there in faces]


def colors(frames: list[SwappedFrame]) -> list[float]:
    return [float(face.old_color[0]) for frame in frames for face in frame.faces]


def test_a_constant_look_stays_and_every_frame_comes_once_in_order():
    frames = make_frames(*([make_face(40.0)] for _ in range(23)))
    for radius in (0, 1, 8, 40):
        steadied = list(steady_looks(frames, radius=radius))
        assert [s.timed for s in steadied] == [f.timed for f in frames]
        np.testing.assert_allclose(colors(steadied), 40.0)
    assert list(steady_looks([], radius=8)) == []


def test_noise_shrinks_and_even_change_does_not_lag():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 200)
    ramp = 0.5 * np.arange(200.0)
    steadied = list(steady_looks(make_frames(*([make_face(c)] for c in noise + ramp))))
    left = (np.array(colors(steadied)) - ramp)[10:-10]
    # 17 frames of a Gaussian of 3.5 average about 12: a standard error of 0.29.
    assert left.std() < 0.35 and abs(left.mean()) < 0.1
    news = [float(face.new_color[0]) for frame in steadied for face in frame.faces]
    np.testing.assert_allclose(news, 2 * np.array(colors(steadied)))


def test_tracks_and_frames_without_a_face_are_kept_apart():
    frames = make_frames(
        [make_face(0.0), make_face(100.0, track=1)],
        [],
        [make_face(10.0), make_face(100.0, track=1)],
        [make_face(7.0, track=2)],
    )
    steadied = list(steady_looks(frames))
    assert [len(frame.faces) for frame in steadied] == [2, 0, 2, 1]
    first, other, last, second, alone = colors(steadied)
    assert 0 < first < 5 < last < 10 and [other, second] == pytest.approx([100, 100])
    assert alone == 7.0


def test_a_flash_stays_in_its_frame():
    faces = [[make_face(40.0)] for _ in range(9)]
    faces[4] = [make_face(200.0, light=120.0)]
    steadied = colors(list(steady_looks(make_frames(*faces))))
    np.testing.assert_allclose(steadied[:4] + steadied[5:], 40.0, atol=1e-6)
    assert steadied[4] == pytest.approx(200.0)


def test_masks_are_averaged_over_fewer_frames_than_colors():
    faces = [[make_face(0.0, mask=float(i == 20))] for i in range(41)]
    steadied = list(steady_looks(make_frames(*faces), radius=12))
    levels = np.array([frame.faces[0].mask[0, 0] for frame in steadied])
    covers = [frame.faces[0].cover for frame in steadied]
    np.testing.assert_allclose([c[0, 0] for c in covers if c is not None], levels / 2)
    assert levels.sum() == pytest.approx(1, abs=1e-3)
    assert (levels > 0.01).sum() <= 9 and levels.argmax() == 20
    np.testing.assert_allclose(levels, levels[::-1], atol=1e-6)


def test_sharpening_does_not_flicker():
    faces = [[make_face(0.0, sharpen=0.6 * (i % 2))] for i in range(41)]
    steadied = list(steady_looks(make_frames(*faces)))
    amounts = [frame.faces[0].sharpen for frame in steadied[12:-12]]
    np.testing.assert_allclose(amounts, 0.3, atol=0.03)
