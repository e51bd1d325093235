"""One clock for pictures, sound and subtitles, whatever the file's own clock does."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from videos import (
    convert,
    make_beeps,
    make_video,
    read_beeps,
    read_flashes,
    read_packets,
    shift_file,
)

from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.video_reader import read_frames


@pytest.mark.parametrize("leap", [0, 3600, -1])
@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_joined_streams_keep_pictures_and_sound_together(
    tmp_path: Path, leap: int, name: str
) -> None:
    # The second begins at the same time as the first, an hour later, or a second
    # before the first one's end.
    first = make_beeps(tmp_path / "1.ts", seconds=3)
    moved = shift_file(first, tmp_path / "2.ts", leap if leap >= 0 else 2)
    joined = tmp_path / "a.ts"
    joined.write_bytes(first.read_bytes() + moved.read_bytes())
    times = [timed.time for timed in read_frames(joined)]
    assert len(times) == 150 and max(np.diff(times)) < 0.2
    convert(joined, tmp_path / name, sound=True)
    flashes, (beeps, end) = read_flashes(tmp_path / name), read_beeps(tmp_path / name)
    assert len(flashes) == len(beeps) == 6
    # AAC smears an attack over its packets of 21 ms, as it does in one whole stream.
    assert np.array(beeps) - flashes == pytest.approx(np.zeros(6), abs=0.045)
    assert 5.9 < end < 6.3


def test_stream_that_pauses_is_no_new_clock(tmp_path: Path) -> None:
    # Sound that falls silent for 14 s beside pictures that go on.
    path = tmp_path / "a.ts"
    with (
        av.open(make_beeps(tmp_path / "b.ts", seconds=16)) as source,
        av.open(path, "w") as out,
    ):
        copies = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            time = float((packet.pts or 0) * (packet.time_base or 0))
            if packet.size and not (packet.stream_index == 1 and 1 < time < 15):
                packet.stream = copies[packet.stream_index]
                out.mux_one(packet)
    convert(path, tmp_path / "c.mp4", sound=True)
    flashes = read_flashes(tmp_path / "c.mp4")
    beeps, _ = read_beeps(tmp_path / "c.mp4")
    assert len(flashes) == 16 and len(beeps) == 2
    assert beeps[1] - beeps[0] == pytest.approx(15, abs=0.05)
    assert beeps[1] == pytest.approx(flashes[15], abs=0.05)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.mov"])
def test_file_that_starts_late_is_counted_from_its_first_frame(
    tmp_path: Path, name: str
) -> None:
    early = make_beeps(tmp_path / "early.mp4", seconds=3)
    late = shift_file(early, tmp_path / name, 3600)
    assert probe_video(late).duration == pytest.approx(3, abs=0.2)
    assert probe_video(late).frames == pytest.approx(75, abs=5)
    part = list(read_frames(late, start=1.0, end=2.0))
    assert [timed.index for timed in part] == list(range(25, 50))
    assert part[0].time == pytest.approx(1.0, abs=1e-3)
    for target, start in (("b.mp4", None), ("c.mkv", None), ("d.mp4", 1.0)):
        convert(late, tmp_path / target, sound=True, start=start)
        with av.open(tmp_path / target) as container:
            assert abs(container.start_time or 0) < 0.1 * av.time_base
            length = (container.duration or 0) / av.time_base
        assert length == pytest.approx(3 - (start or 0), abs=0.2)
        flashes, (beeps, _) = (
            read_flashes(tmp_path / target),
            read_beeps(tmp_path / target),
        )
        assert len(beeps) == len(flashes)
        assert np.array(beeps) == pytest.approx(flashes, abs=0.045)


def test_sound_before_the_first_frame_is_kept(tmp_path: Path) -> None:
    # Pictures from 0.5 s, sound from 0.
    source = make_video(
        tmp_path / "a.mp4", sound="aac", pts=[300 + 24 * i for i in range(50)]
    )
    info = probe_video(source)
    assert (info.origin, info.lead) == (Fraction(1, 2), Fraction(1, 2))
    assert next(read_frames(source)).time == 0
    convert(source, tmp_path / "b.mp4", sound=True)
    assert len(read_packets(tmp_path / "b.mp4", "audio")) == len(
        read_packets(source, "audio")
    )
    assert probe_video(tmp_path / "b.mp4").lead == Fraction(1, 2)
    convert(source, tmp_path / "c.mp4")  # without sound there is nothing to wait for
    assert probe_video(tmp_path / "c.mp4").origin == 0


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("h264", "libx264"), ("h265", "libx265"), ("m2v", "mpeg2video")],
)
def test_raw_stream_plays_at_the_rate_that_it_declares(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    rate, path = Fraction(30000, 1001), tmp_path / f"a.{suffix}"
    with av.open(path, "w") as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=rate, options=quiet)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(30):
            native = av.VideoFrame(64, 48, "yuv420p")
            for plane in native.planes:
                plane.update(bytes([40 + 5 * index]) * plane.buffer_size)
            native.pts, native.time_base = index, 1 / rate
            container.mux(stream.encode(native))
        container.mux(stream.encode(None))
    assert probe_video(path).frame_rate == rate
    times = [timed.time for timed in read_frames(path)]
    assert times == pytest.approx([float(k / rate) for k in range(30)], abs=1e-6)
    convert(path, tmp_path / "b.mp4")
    assert probe_video(tmp_path / "b.mp4").duration == pytest.approx(1.001, abs=1e-3)
