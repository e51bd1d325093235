"""What a file holds beside its tracks is kept, or one line says that it is not."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image
from videos import convert, make_frame, make_video

from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.video_reader import read_frames


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if "left out of" in r.message]


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "vp9"])
def test_hdr10_data_is_kept_or_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str
) -> None:
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = make_video(
        tmp_path / "a.mkv",
        pts=[0, 24, 48],
        codec="libx265",
        pixel_format="yuv420p10le",
        height=64,
        tags=(9, 1, 9, 16),
        options={
            "x265-params": f"log-level=none:master-display={screen}:max-cll=1000,400"
        },
    )
    convert(source, tmp_path / "b.mkv", codec=codec)
    before, after = (
        probe_video(path).side_data for path in (source, tmp_path / "b.mkv")
    )
    if codec == "vp9":
        (message,) = told(caplog)
        assert "HDR10's data" in message
        return
    assert not told(caplog)
    assert before["CONTENT_LIGHT_LEVEL"] == after["CONTENT_LIGHT_LEVEL"]
    values = [
        [
            float(pair[0]) / pair[1]
            for pair in np.frombuffer(data, "i4")[:20].reshape(10, 2)
        ]
        for data in (
            before["MASTERING_DISPLAY_METADATA"],
            after["MASTERING_DISPLAY_METADATA"],
        )
    ]
    assert values[0][:2] == [0.68, 0.32] and values[0][9] == 1000
    # AV1 counts in parts of 65,536 and 16,384.
    assert values[1] == pytest.approx(values[0], abs=1e-4)


def test_cover_picture_is_kept_or_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cover = io.BytesIO()
    Image.fromarray(make_frame(3)).save(cover, "JPEG")
    source = tmp_path / "a.mkv"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        assert isinstance(video, VideoStream)
        container.add_attachment("cover.jpg", "image/jpeg", cover.getvalue())
        for index in range(3):
            native = av.VideoFrame.from_ndarray(make_frame(index), "rgb24")
            container.mux(video.encode(native))
        container.mux(video.encode(None))
    convert(source, tmp_path / "b.mkv")
    assert not told(caplog) and len(list(read_frames(tmp_path / "b.mkv"))) == 3
    with av.open(tmp_path / "b.mkv") as container:
        (kept,) = [
            stream
            for stream in container.streams.video
            if stream.disposition & Disposition.attached_pic
        ]
        assert bytes(next(iter(container.demux(kept)))) == cover.getvalue()
    convert(source, tmp_path / "b.mp4")
    assert "the cover picture" in told(caplog)[0]


def test_timecode_is_kept_or_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "a.mov"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        assert isinstance(video, VideoStream)
        video.metadata["timecode"] = "01:02:03:04"
        for index in range(25):
            native = av.VideoFrame.from_ndarray(make_frame(index), "rgb24")
            container.mux(video.encode(native))
        container.mux(video.encode(None))
    convert(source, tmp_path / "b.mp4")
    assert not told(caplog)
    with av.open(tmp_path / "b.mp4") as container:
        assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"
    for name, start in (("b.mkv", None), ("c.mp4", 0.5)):
        convert(source, tmp_path / name, start=start)
    assert ["timecode 01:02:03:04" in message for message in told(caplog)] == [True] * 2


@pytest.mark.parametrize("loops", [None, 0, 3])
def test_gif_is_repeated_as_often(tmp_path: Path, loops: int | None) -> None:
    first, *others = [Image.fromarray(make_frame(index)) for index in range(4)]
    again: dict[str, Any] = {} if loops is None else {"loop": loops}
    first.save(
        tmp_path / "a.gif", save_all=True, append_images=others, duration=100, **again
    )
    convert(tmp_path / "a.gif", tmp_path / "b.gif")
    with Image.open(tmp_path / "b.gif") as image:
        assert image.info.get("loop") == loops
    convert(make_video(tmp_path / "a.mp4"), tmp_path / "c.gif")
    with Image.open(tmp_path / "c.gif") as image:
        assert image.info["loop"] == 0


def test_lost_transparency_is_told_where_there_is_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, opacity in (("a.mkv", 255), ("b.mkv", 100)):
        with av.open(tmp_path / name, "w") as container:
            video = container.add_stream("ffv1", rate=25, width=64, height=48)
            assert isinstance(video, VideoStream)
            video.pix_fmt = "yuva420p"
            pixels = np.dstack([make_frame(0), np.full((48, 64), opacity, np.uint8)])
            native = av.VideoFrame.from_ndarray(pixels, "rgba")
            container.mux(video.encode(native) + video.encode(None))
        convert(tmp_path / name, tmp_path / f"{name}.mp4")
    (message,) = told(caplog)
    assert "b.mkv: transparency" in message
