"""Parts that are coded apart are one video when they are joined."""

import zipfile
from pathlib import Path

import pytest
from videos import copy_spec, make_video, read_packets

from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.video_packets import PartJoiner, PartWriter, read_notes
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.media.video_writer import VideoWriter

UNEVEN = [0, 24, 30, 72, 90, 130, *range(200, 1500, 24)]
EDGES = (0, 17, 18, 40, None)


def write_parts(source: Path, spec: OutputSpec, folder: Path) -> list[Path]:
    frames, parts = list(read_frames(source)), []
    for first, last in zip(EDGES, EDGES[1:], strict=False):
        path = folder / f"{first}.part"
        with PartWriter(spec, path) as writer:
            for timed in frames[first:last]:
                assert timed.native is not None
                writer.write(timed.native, pts=timed.pts, duration=timed.duration)
            writer.note({"first": first})
        assert read_notes(path) == {"first": first}
        parts.append(path)
    return parts


def tell_times(path: Path) -> list[tuple[int, int]]:
    return [(timed.pts, timed.duration) for timed in read_frames(path)]


@pytest.mark.parametrize(
    "name, codec", [("a.mp4", "h264"), ("a.mkv", "ffv1"), ("b.mp4", "h265")]
)
def test_joined_parts_have_the_times_and_sound_of_one_writer(name, codec, tmp_path):
    source = make_video(tmp_path / "source.mp4", pts=UNEVEN, sound="aac")
    one, joined = tmp_path / f"one_{name}", tmp_path / f"joined_{name}"
    spec = copy_spec(source, one, codec=codec, crf=1)
    with VideoWriter(spec) as writer:
        for timed in read_frames(source):
            assert timed.native is not None
            writer.write(timed.native, pts=timed.pts, duration=timed.duration)
    spec = copy_spec(source, joined, codec=codec, crf=1)
    parts = write_parts(source, spec, tmp_path)
    kept = parts[0].read_bytes()
    with PartJoiner(spec) as joiner:
        for part in parts:
            joiner.add(part)
    assert tell_times(joined) == tell_times(one)
    assert read_packets(joined, "audio") == read_packets(one, "audio")
    stamps = [packet[1] for packet in read_packets(joined, "video")]
    assert all(a < b for a, b in zip(stamps, stamps[1:], strict=False))
    assert all(packet[0] >= packet[1] for packet in read_packets(joined, "video"))
    pictures = [
        (a.frame.astype(int), b.frame.astype(int))
        for a, b in zip(read_frames(joined), read_frames(one), strict=True)
    ]
    most = max(abs(a - b).max() for a, b in pictures)
    assert most == 0 if codec == "ffv1" else most < 12
    if codec == "ffv1":  # the same frames give the same bytes; x264 not always
        write_parts(source, spec, tmp_path)
        assert parts[0].read_bytes() == kept


def test_parts_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path):
    source = make_video(tmp_path / "source.mp4", pts=UNEVEN)
    spec = copy_spec(source, tmp_path / "out.mp4")
    first = write_parts(
        source, copy_spec(source, tmp_path / "out.mp4", codec="mpeg4"), tmp_path
    )[0]
    with pytest.raises(VideoError, match="another version"), PartJoiner(spec) as joiner:
        joiner.add(first)
    first.write_bytes(first.read_bytes()[:-40])
    with pytest.raises(VideoError, match="damaged"), PartJoiner(spec) as joiner:
        joiner.add(first)
    with zipfile.ZipFile(first, "w"):
        pass
    with pytest.raises(VideoError, match="damaged"):
        read_notes(first)
    assert not (tmp_path / "out.mp4").exists()
