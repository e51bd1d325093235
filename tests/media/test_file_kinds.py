"""Files are what their first bytes say: pictures, clips, or refused by name."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from videos import convert, make_frame, make_video

from deepfake_jax.media.animations import read_animation
from deepfake_jax.media.file_kinds import find_kind
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import PictureError, read_picture, write_picture
from deepfake_jax.media.sources import (
    SourceError,
    list_folder,
    list_sources,
    parse_time,
    read_source,
)
from deepfake_jax.media.video_reader import read_frames

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def make_animation(path: Path, frames: int = 4) -> list[np.ndarray]:
    pictures = [make_frame(index) for index in range(frames)]
    first, *others = [Image.fromarray(picture) for picture in pictures]
    exact: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(
        path, save_all=True, append_images=others, duration=[100, 40, 70, 200], **exact
    )
    return pictures


def test_pictures_are_told_whatever_they_are_called(tmp_path: Path) -> None:
    frame = make_frame(0)
    for suffix in (".png", ".jpg", ".webp", ".avif", ".bmp", ".tif"):
        write_picture(tmp_path / f"a{suffix}", frame)
        wrong = (tmp_path / f"a{suffix}").rename(tmp_path / f"{suffix[1:]}.dat")
        assert find_kind(wrong) == "picture", suffix
        (source,) = list_sources([wrong])
        (timed,) = read_source(source)
        assert source.kind == "picture" and timed.frame.shape == frame.shape
    film = make_video(tmp_path / "a.mp4").rename(tmp_path / "film.png")
    with pytest.raises(PictureError, match="no picture"):
        read_picture(film)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif", ".mp4", ".mkv"])
def test_files_cut_in_their_first_bytes_are_told_in_words(
    tmp_path: Path, suffix: str
) -> None:
    whole = tmp_path / f"whole{suffix}"
    make_video(whole) if suffix in (".mp4", ".mkv") else make_animation(whole)
    data, cut = whole.read_bytes(), tmp_path / f"cut{suffix}"
    for length in range(1, 64):
        cut.write_bytes(data[:length])
        with pytest.raises((SourceError, VideoError, PictureError)):
            list(read_source(*list_sources([cut])))


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif"])
def test_damaged_animations_end_in_words(
    tmp_path: Path, suffix: str, rng: np.random.Generator
) -> None:
    whole, harmed = tmp_path / f"whole{suffix}", tmp_path / f"harmed{suffix}"
    make_animation(whole)
    data = whole.read_bytes()
    for _ in range(150):
        changed = bytearray(data[: rng.integers(40, len(data) + 1)])
        for place in rng.integers(12, len(changed), 2):
            changed[place] = rng.choice([0, 0x21, 0x2C, 0x3B, 0xFF])
        harmed.write_bytes(changed)
        with suppress(PictureError):
            list(read_animation(harmed))


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animation_is_a_clip_of_all_its_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pictures = make_animation(path)
    info = probe_video(path)
    assert (info.frames, info.width, info.height) == (4, 64, 48)
    assert info.duration == pytest.approx(0.41)
    frames = list(read_frames(path))
    assert [timed.time for timed in frames] == pytest.approx([0, 0.1, 0.14, 0.21])
    for timed, picture in zip(frames, pictures, strict=True):
        assert np.array_equal(timed.frame, picture)
    (source,) = list_sources([path])
    assert (source.kind, source.frames) == ("video", 4)
    convert(path, tmp_path / "b.mp4", sound=True)
    again = list(read_frames(tmp_path / "b.mp4"))
    assert [timed.time for timed in again] == pytest.approx([0, 0.1, 0.14, 0.21])


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(HEIC)
        with pytest.raises(PictureError, match="is a HEIC picture.*convert"):
            list_sources([tmp_path / name])
        with pytest.raises(VideoError, match="is a HEIC picture"):
            probe_video(tmp_path / name)
        with pytest.raises(PictureError, match="is a HEIC picture"):
            read_picture(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_has_no_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.mp4", tmp_path / "a.png", Path("/dev/zero")):
        with pytest.raises(SourceError, match="no regular file"):
            list_sources([path])
        with pytest.raises(VideoError, match="no regular file"):
            probe_video(path)
        with pytest.raises(PictureError, match="no regular file"):
            read_picture(path)


def test_unused_files_of_a_folder_are_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "a.png", make_frame(0))
    write_picture(tmp_path / "b.jfif", make_frame(0))
    write_picture(tmp_path / "c.jpg", make_frame(0))
    (tmp_path / "c.jpg").rename(tmp_path / "c.dat")
    make_animation(tmp_path / "d.webp")
    (tmp_path / "e.heic").write_bytes(HEIC)
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / "folder").mkdir()
    with caplog.at_level(logging.WARNING, "deepfake_jax"):
        names = [source.path.name for source in list_sources([tmp_path])]
    assert names == ["a.png", "b.jfif", "d.webp"]
    (record,) = caplog.records
    for said in ("c.dat (jpeg", "e.heic (heic)", "notes.txt"):
        assert said in record.message
    pictures, videos = list_folder(tmp_path, films=False)
    assert [path.name for path in pictures] == ["a.png", "b.jfif"] and not videos
    assert "d.webp (animated webp)" in caplog.records[-1].message


def test_times_are_read_strictly() -> None:
    good = {"90": 90, "90.5": 90.5, "1:30": 90, "0:01:30.5": 90.5, "90:00": 5400}
    for text, seconds in good.items():
        assert parse_time(text, option="--start") == seconds
    for text in ("1:90", "1:5", "1:2:3", "1:60:00", "-1", "1e3", "nan", "1:", ":30"):
        with pytest.raises(ValueError, match="--start .*give seconds"):
            parse_time(text, option="--start")
    for text in ("1:30:", "0x10", "1_0", " 1", "\u0661", "1:30.", "inf", "1.5:30"):
        with pytest.raises(ValueError, match="--start .*give seconds"):
            parse_time(text, option="--start")


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng"])
def test_animation_is_written_as_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    make_animation(tmp_path / "a.webp")
    convert(tmp_path / "a.webp", tmp_path / f"b{suffix}")
    info = probe_video(tmp_path / f"b{suffix}")
    assert (info.frames, info.width, info.height) == (4, 64, 48)
    assert info.duration == pytest.approx(0.41)
    pairs = zip(
        read_frames(tmp_path / "a.webp"),
        read_frames(tmp_path / f"b{suffix}"),
        strict=True,
    )
    for old, new in pairs:
        assert (old.time, old.duration) == (new.time, new.duration)
        loss = 0 if suffix != ".webp" else 8
        assert np.abs(old.frame.astype(int) - new.frame).mean() <= loss
    assert not caplog.records
    clear = [Image.new("RGBA", (64, 48), (9, n, 9, 99)) for n in (0, 200)]
    clear[0].save(tmp_path / "c.webp", save_all=True, append_images=clear[1:])
    convert(tmp_path / "c.webp", tmp_path / f"d{suffix}")
    assert "left out of c.webp: transparency" in caplog.text
