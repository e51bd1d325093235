"""Sources: files and folders in the order given, and an error for what is none."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from deepfake_jax.files import hash_file
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import PictureError, write_picture
from deepfake_jax.media.sources import (
    Source,
    SourceError,
    describe_source,
    list_sources,
    read_source,
)
from deepfake_jax.media.timed_frames import picture_frame


def make_picture(path: Path, level: int = 0) -> Path:
    write_picture(path, np.full((20, 30, 3), level, np.uint8))
    return path


def test_folders_are_listed_as_people_count_and_order_is_kept(tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("frame10.png", "frame2.jpg", "frame1.PNG"):
        make_picture(folder / name.lower()).rename(folder / name)
    (folder / "notes.txt").write_text("no picture")
    single = make_picture(tmp_path / "one.webp")
    sources = list_sources([single, folder])
    names = [source.path.name for source in sources]
    assert names == ["one.webp", "frame1.PNG", "frame2.jpg", "frame10.png"]
    assert all(source.kind == "picture" and source.frames == 1 for source in sources)
    assert list_sources([]) == []


def test_picture_is_one_frame_at_time_zero(tmp_path: Path):
    path = make_picture(tmp_path / "grey.png", 90)
    (found,) = read_source(list_sources([path])[0])
    assert (found.index, found.time) == (0, 0.0)
    np.testing.assert_array_equal(found.frame, np.full((20, 30, 3), 90, np.uint8))
    again = picture_frame(found.frame)
    assert again.frame is found.frame and again.index == 0


def test_video_gives_its_frames(clips: Path):
    (source,) = list_sources([clips / "carphone.mp4"])
    assert source.kind == "video" and source.frames == 120
    stream = read_source(source)
    first, second = next(stream), next(stream)
    assert first.frame.shape == (144, 176, 3)
    assert (first.index, second.index) == (0, 1)
    # 29.97 frames a second, in ticks of the container.
    assert second.time - first.time == pytest.approx(1001 / 30000, abs=1e-3)


def test_description_names_no_folder_of_this_machine(tmp_path: Path):
    path = make_picture(tmp_path / "face.png")
    description = describe_source(Source(path, "picture", 1))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert description == {"name": "face.png", "kind": "picture", "sha256": digest}
    assert hash_file(path) == digest
    (tmp_path / "empty").write_bytes(b"")
    assert hash_file(tmp_path / "empty") == hashlib.sha256().hexdigest()


def test_missing_source_is_named(tmp_path: Path):
    good = make_picture(tmp_path / "good.png")
    for name in ("missing.mp4", "missing.png", "missing"):
        with pytest.raises(SourceError, match=f"no such file or folder.*{name}"):
            list_sources([good, tmp_path / name])


def test_folder_without_pictures_is_named_with_the_fix(tmp_path: Path):
    folder = tmp_path / "empty"
    (folder / "inner").mkdir(parents=True)
    make_picture(folder / "inner" / "deep.png")
    (folder / ".hidden.png").write_bytes((folder / "inner/deep.png").read_bytes())
    with pytest.raises(SourceError, match="empty holds no pictures and no videos; "):
        list_sources([folder])


def test_file_that_is_neither_picture_nor_video(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("just a text")
    with pytest.raises(VideoError, match="notes.txt"):
        list_sources([path])
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    with pytest.raises(VideoError, match="empty.mp4"):
        list_sources([empty])


def test_damaged_picture_is_named_when_it_is_read(tmp_path: Path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (source,) = list_sources([path])
    with pytest.raises(PictureError, match="broken.png"):
        list(read_source(source))


def test_videos_of_a_folder_come_after_its_pictures(clips, tmp_path: Path):
    make_picture(tmp_path / "z.png")
    for name in ("take10.mp4", "take2.MP4"):
        (tmp_path / name).symlink_to(clips / "carphone.mp4")
    (tmp_path / "broken.mkv").write_bytes(b"no video")
    sources = list_sources([tmp_path])
    names = [source.path.name for source in sources]
    assert names == ["z.png", "broken.mkv", "take2.MP4", "take10.mp4"]
    assert [source.frames for source in sources] == [1, None, 120, 120]


def test_the_frames_that_a_search_will_see_are_foretold():
    film = Source(Path("film.mp4"), "video", 300, 25.0)
    assert film.expect_frames() == 300
    assert film.expect_frames(every=7) == 43  # 0, 7, ..., 294
    assert film.expect_frames(start=2.0, end=4.0, every=2) == 25
    assert film.expect_frames(start=2.0, end=99.0) == 250
    assert film.expect_frames(start=60.0) == 0
    assert Source(Path("live.ts"), "video", None).expect_frames(end=3.0) is None
    assert Source(Path("a.png"), "picture", 1).expect_frames(start=9.0, every=5) == 1
