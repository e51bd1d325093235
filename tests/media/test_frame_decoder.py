"""Which frames can be trusted, and whole pictures of interlaced footage."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from videos import convert, make_video

from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.opened_videos import TruncatedVideoError
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.video_reader import read_frames

GOP = 10


def spoil(path: Path, packet: int) -> None:
    """Overwrite the inner part of a video packet, in the order of decoding."""
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    start, size = packets[packet].pos or 0, packets[packet].size
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, size // 2, np.uint8)
    data[start + size // 3 : start + size // 3 + len(noise)] = noise.tobytes()
    path.write_bytes(data)


def read_damaged(path: Path) -> tuple[list[TimedFrame], str]:
    frames, message = [], ""
    try:
        for timed in read_frames(path):
            frames.append(timed)
    except TruncatedVideoError as error:
        message = str(error)
    return frames, message


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
@pytest.mark.parametrize("packet", [GOP, GOP + 3])
def test_frames_that_depend_on_damage_are_told(
    tmp_path: Path, name: str, codec: str, packet: int
) -> None:
    options = {"g": str(GOP), "flags": "+cgop", "sc_threshold": "1000000000"}
    if codec == "libx264":
        options = {"g": str(GOP), "bf": "3", "crf": "5", "sc_threshold": "0"}
    path = make_video(
        tmp_path / name,
        codec=codec,
        options=options,
        pts=[24 * i for i in range(3 * GOP)],
        height=144,
        width=176,
    )
    before = {timed.pts: timed.frame for timed in read_frames(path)}
    spoil(path, packet)
    frames, message = read_damaged(path)
    damaged = [timed.index for timed in frames if timed.damaged]
    changed = [
        timed.index
        for timed in frames
        if timed.pts not in before
        or np.abs(timed.frame.astype(int) - before[timed.pts]).max() > 2
    ]
    assert changed and set(changed) <= set(damaged)
    # Nothing before the key frame, but for one that FFmpeg gives out too late, nor from
    # the next one on.
    lost = len(before) - len(frames)
    assert min(damaged) >= GOP - 1 and max(damaged) < 2 * GOP
    assert "damaged" in message and (f"{len(damaged)} of" in message or lost)


@pytest.mark.parametrize("sums", [True, False])
def test_damage_in_h265_is_told_where_its_decoder_notes_it(
    tmp_path: Path, sums: bool
) -> None:
    """All in a stream with sums of its pictures; else most bits mean something."""
    params = f"log-level=none:keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0"
    path = make_video(
        tmp_path / "a.mp4",
        codec="libx265",
        options={"x265-params": f"{params}:hash={int(sums)}", "crf": "5"},
        pts=[24 * i for i in range(3 * GOP)],
        height=144,
        width=176,
    )
    before = {timed.pts: timed.frame for timed in read_frames(path)}
    assert len(before) == 3 * GOP
    if sums:
        spoil(path, GOP + 3)
    else:
        with av.open(path) as container:
            packets = [p for p in container.demux(video=0) if p.size]
        data = bytearray(path.read_bytes())
        place = packets[GOP + 3].pos or 0
        data[place : place + 4] = b"\x00\xff\xff\xff"  # a unit longer than its packet
        path.write_bytes(data)
    frames, message = read_damaged(path)
    damaged = [timed.index for timed in frames if timed.damaged]
    changed = [
        timed.index
        for timed in frames
        if timed.pts not in before or (timed.frame != before[timed.pts]).any()
    ]
    assert message and damaged and set(changed) <= set(damaged)
    assert len(changed) + len(before) - len(frames) > 0
    assert max(damaged) < 2 * GOP


def test_whole_film_is_trusted(tmp_path: Path) -> None:
    for name, codec in (
        ("a.mp4", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.ts", ""),
        ("b.mkv", "libx265"),
    ):
        path = make_video(tmp_path / name, codec=codec or "libx264")
        frames, message = read_damaged(path)
        assert len(frames) == 25 and not message
        assert not any(timed.damaged for timed in frames)
        assert [timed.index for timed in frames] == list(range(25))


@pytest.mark.parametrize("share", [0.5, 0.83])
def test_transport_stream_cut_in_a_packet_is_told(tmp_path: Path, share: float) -> None:
    path = make_video(tmp_path / "a.ts", height=144, width=176, options={"crf": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share) // 188 * 188 + 100])
    frames, message = read_damaged(path)
    assert 0 < len(frames) < 25 and "truncated" in message


def test_matroska_with_a_piece_missing_is_told(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mkv",
        pts=[24 * i for i in range(200)],
        options={"g": "5", "crf": "5"},
        height=144,
        width=176,
    )
    data = path.read_bytes()
    third = len(data) // 3
    for spliced in (
        data[:third] + data[2 * third :],
        data[:third] + bytes(third) + data[2 * third :],
    ):
        path.write_bytes(spliced)
        frames, message = read_damaged(path)
        assert 0 < len(frames) < 190 and message


def make_interlaced(path: Path, codec: str) -> Path:
    """A bar that moves by 4 pixels each half picture, the upper one first."""
    options = {"flags": "+ildct+ilme"}
    if codec == "libx264":
        options |= {"x264-params": "tff=1", "crf": "5"}
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 256, 96, "yuv420p"
        stream.bit_rate = 4_000_000
        for index in range(20):
            frame = np.full((96, 256, 3), 40, np.uint8)
            for field in (0, 1):
                left = 4 * (2 * index + field)
                frame[field::2, left : left + 40] = 220
            native = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(
                format="yuv420p"
            )
            native.pts = index
            container.mux(stream.encode(native))
        container.mux(stream.encode(None))
    return path


def measure_combs(frame: np.ndarray) -> float:
    """How much a row differs from its neighbours where these agree."""
    rows = frame[..., 0].astype(int)
    between = (rows[:-2] + rows[2:]) / 2
    agree = np.abs(rows[:-2] - rows[2:]) < 10
    return float((np.abs(rows[1:-1] - between) * agree).mean())


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_footage_has_no_combs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str
) -> None:
    suffix = ".mp4" if codec == "libx264" else ".mpg"
    source = make_interlaced(tmp_path / f"a{suffix}", codec)
    assert probe_video(source).interlaced
    with av.open(source) as container:
        raw = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    frames = list(read_frames(source))
    assert len(frames) == len(raw) == 20
    assert np.diff([timed.time for timed in frames]) == pytest.approx(0.04, abs=1e-3)
    for timed, woven in zip(frames, raw, strict=True):
        assert measure_combs(timed.frame) < 0.15 * measure_combs(woven)
    assert measure_combs(raw[5]) > 3  # the test can see combs at all
    convert(source, tmp_path / "b.mp4")
    assert not probe_video(tmp_path / "b.mp4").interlaced
    assert [r.message for r in caplog.records if "interlaced" in r.message]
    assert len(caplog.records) == 1
    convert(source, tmp_path / "b.gif")
    assert "interlaced; b.gif is not" in caplog.records[-1].message
