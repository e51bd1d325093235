"""What a conversion writes: encoders, GIFs, pictures, tracks and cuts."""

import json
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.subtitles.codeccontext import SubtitleCodecContext
from av.video.stream import VideoStream
from videos import (
    RATE,
    TICK,
    VFR,
    convert,
    copy_spec,
    make_beeps,
    make_frame,
    make_video,
    read_beeps,
    read_flashes,
    read_packets,
    read_picture_tags,
)

from deepfake_jax.media import encoder_choices
from deepfake_jax.media.encoder_choices import (
    check_choices,
    list_codecs,
    make_options,
    resolve_codec,
)
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.outputs import check_output, choose_output, open_writer
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.recoded_tracks import SUBTITLE_HEADER, read_text
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.processor import read_processor
from deepfake_jax.types import Frame

# --- encoders ----------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "vp9"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_formats_by_name_in_every_container(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    # 4:2:0 of 10 bits and full range are what phones record; odd sides become even
    # where the encoder takes no others.
    out = tmp_path / f"b{suffix}"
    # QuickTime has no name for AV1 and VP9, WebM holds nothing else.
    fits = (codec in ("av1", "vp9")) != (suffix == ".mov")
    fits = fits if suffix in (".mov", ".webm") else True
    if not fits:
        with pytest.raises(VideoError, match=f"{suffix} cannot hold .* use "):
            check_choices(out, codec, 18)
        return
    source = make_video(
        tmp_path / "a.mkv",
        pts=[0, 24, 48],
        height=67,
        width=65,
        codec="ffv1",
        pixel_format="yuv420p10le",
    )
    convert(source, out, codec=codec, crf=10)
    frames = list(read_frames(out))
    odd = codec in ("av1", "vp9")
    assert [timed.frame.shape for timed in frames] == [
        (67, 65, 3) if odd else (68, 66, 3)
    ] * 3
    found = probe_video(out)
    assert found.codec.removeprefix("lib").startswith(
        {"h264": "h264", "h265": "hevc", "av1": ("dav1d", "av1"), "vp9": "vp"}[codec]
    )
    if codec != "vp9":  # this build of libvpx has 8 bits only
        assert "10le" in found.pixel_format
    for timed in frames:
        # Coding loss of a smooth picture; wrong colors are off by tens.
        expected = make_frame(timed.index, height=67, width=65).astype(int)
        assert np.abs(timed.frame[:67, :65] - expected).mean() < 4


def test_full_range_survives_every_codec(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "a.mp4", pts=[0, 24], pixel_format="yuvj420p", height=64
    )
    before = next(read_frames(source)).frame.astype(int)
    for codec in ("h264", "h265", "av1", "vp9"):
        convert(source, tmp_path / f"{codec}.mkv", codec=codec, crf=10)
        after = next(read_frames(tmp_path / f"{codec}.mkv")).frame
        # As above; a range taken for the other would be off by up to 16 levels.
        assert np.abs(before - after).mean() < 3, codec


def test_apple_plays_the_h265(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", pts=[0, 24, 48])
    convert(source, tmp_path / "b.mp4", codec="hevc")
    assert b"hvc1" in (tmp_path / "b.mp4").read_bytes()


def shown_times(path: Path) -> list[Fraction]:
    """Seconds at which a video's frames are shown, ascending."""
    return sorted(p * base for p, _, _, base, _ in read_packets(path, "video"))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_h265_of_few_frames(tmp_path: Path, count: int) -> None:
    # x265 gives packets of one or two frames no decoding times, but what lay in memory.
    source = make_video(tmp_path / "a.mp4", pts=[24 * i for i in range(count)])
    for turn in range(4):
        out = tmp_path / f"b{turn}.mp4"
        convert(source, out, codec="hevc")
        assert shown_times(out) == shown_times(source)


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9"])
def test_the_same_frames_are_the_same_film_whatever_memory_holds(
    tmp_path: Path, portrait: Frame, codec: str
) -> None:
    rng = np.random.default_rng(0)
    films = set[tuple[bytes, ...]]()
    for number in range(6):
        sizes = (10 ** rng.uniform(2, 6.5, 60)).astype(int)
        used = [rng.integers(0, 256, size, np.uint8) for size in sizes]
        del used
        films.add(_encode(portrait, tmp_path / f"{number}.mp4", codec))
    assert len(films) == 1


@pytest.mark.skipif(
    "avx2" not in read_processor() or "avx512f" in read_processor(),
    reason="for processors that have AVX2 and no AVX-512",
)
def test_processors_with_avx512_write_the_film_of_this_one(
    tmp_path: Path, portrait: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = set[tuple[bytes, ...]]()
    for flags in ({"avx2"}, {"avx2", "avx512f"}):
        monkeypatch.setattr(
            encoder_choices, "read_processor", lambda flags=flags: frozenset(flags)
        )
        films.add(_encode(portrait, tmp_path / f"{len(flags)}.mp4", "h264"))
    assert len(films) == 1
    assert make_options("libx264", 18)["x264opts"] == "asm=AVX2"


def _encode(portrait: Frame, out: Path, codec: str) -> tuple[bytes, ...]:
    """The packets of a pan over a portrait."""
    spec = OutputSpec(
        path=out,
        width=240,
        height=200,
        frame_rate=Fraction(25),
        time_base=Fraction(1, 25),
        codec=codec,
    )
    with open_writer(spec) as writer:
        for index, x in enumerate(range(100, 110, 2)):
            writer.write(portrait[20:220, x : x + 240].copy(), pts=index)
    return tuple(packet[-1] for packet in read_packets(out, "video"))


def test_hardware_without_its_device_is_explained(tmp_path: Path) -> None:
    codecs = list_codecs()
    assert resolve_codec("H264") == "libx264" and "h264_nvenc" in codecs
    refused = 0
    for codec in (name for name, there in codecs.items() if there and "_" in name):
        try:
            check_choices(tmp_path / "b.mkv", codec, 18)
        except VideoError as error:
            refused += 1
            assert "it needs a" in str(error) and "Use lib" in str(error)
    absent = [name for name, there in codecs.items() if not there]
    for codec in absent:
        with pytest.raises(VideoError, match="built without"):
            check_choices(tmp_path / "b.mkv", codec, 18)
    # No machine has cards of all makers and runs all systems.
    assert refused + len(absent) > 0


# --- GIF ---------------------------------------------------------------------


def read_delays(path: Path) -> list[int]:
    """Delays in hundredths of a second, by walking through the blocks of a GIF."""
    data = path.read_bytes()

    def table(flags: int) -> int:
        return 3 * 2 ** ((flags & 7) + 1) if flags & 128 else 0

    def skip(at: int) -> int:
        while data[at]:
            at += data[at] + 1
        return at + 1

    at, delays = 13 + table(data[10]), []
    while data[at] != 0x3B:
        if data[at] == 0x21:
            if data[at + 1] == 0xF9:
                delays.append(int.from_bytes(data[at + 4 : at + 6], "little"))
            at = skip(at + 2)
        else:
            at = skip(at + 11 + table(data[at + 9]))
    return delays


def test_gif_times_do_not_drift(tmp_path: Path) -> None:
    # 30 frames a second: 3.33 hundredths each. Rounded one by one, 60 of them would be
    # 20 hundredths short.
    source = make_video(tmp_path / "a.mp4", pts=[20 * index for index in range(60)])
    convert(source, tmp_path / "b.gif")
    delays = read_delays(tmp_path / "b.gif")
    assert len(delays) == 60 and set(delays) == {3, 4}
    starts = np.cumsum([0, *delays])
    # Half a hundredth is rounding; 2 s in all.
    assert np.abs(starts[:60] - np.arange(60) * 100 / 30).max() <= 0.51
    # It is a source again.
    frames = list(read_frames(tmp_path / "b.gif"))
    assert [timed.time for timed in frames] == pytest.approx(starts[:-1] / 100)
    for timed in frames:
        # A palette of its own for each frame, dithered: a few levels.
        assert np.abs(timed.frame.astype(int) - make_frame(timed.index)).mean() < 6
    convert(tmp_path / "b.gif", tmp_path / "c.mp4")
    assert [timed.time for timed in read_frames(tmp_path / "c.mp4")] == pytest.approx(
        starts[:-1] / 100
    )


def test_gif_holds_frames_as_long_as_they_were(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", pts=[60, 600, 601, 606, 1200])
    info = probe_video(source)
    with open_writer(copy_spec(source, tmp_path / "b.gif")) as writer:
        for timed in read_frames(source):
            writer.write(
                timed.frame, pts=timed.pts, duration=round(1.5 / info.time_base)
            )
    # The second and the third are closer than two hundredths: the later is left out;
    # the fourth is one hundredth after the second.
    assert read_delays(tmp_path / "b.gif") == [90, 100, 150]


def test_gif_says_once_that_it_is_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_video(tmp_path / "a.mp4", pts=[0, 24, 48], sound="aac")
    convert(source, tmp_path / "b.gif", sound=True)
    assert [record.message for record in caplog.records if "no sound" in record.message]
    assert len(caplog.records) == 1
    with pytest.raises(VideoError, match="exists already"):
        convert(source, tmp_path / "b.gif")
    with pytest.raises(VideoError, match="no frame was written"):
        with open_writer(copy_spec(source, tmp_path / "c.gif")):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.gif"}


# --- pictures ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["frames/%04d.jpg", "frames", "frames/a_%d.webp"])
def test_pictures_are_numbered_and_timed(tmp_path: Path, name: str) -> None:
    source = make_video(tmp_path / "a.mp4", pts=VFR)
    assert choose_output(tmp_path / name) == "sequence"
    convert(source, tmp_path / name, metadata={"comment": "swapped"})
    folder = tmp_path / "frames"
    times = json.loads((folder / "times.json").read_text())
    pattern = "%06d.png" if name == "frames" else Path(name).name
    assert list(times) == [pattern % index for index in range(len(VFR))]
    assert list(times.values()) == pytest.approx([float(pts * TICK) for pts in VFR])
    assert len(list(folder.iterdir())) == len(VFR) + 1
    for index, timed in enumerate(read_frames(source)):
        found = read_picture(folder / (pattern % index)).astype(int)
        # JPEG and WebP of quality 95; PNG is exact.
        assert np.abs(found - timed.frame).mean() <= (0 if name == "frames" else 3)
    assert read_picture_tags(folder / (pattern % 0)) == {"comment": "swapped"}
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_full_folder_is_kept_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", pts=[0, 24])
    folder = tmp_path / "frames"
    folder.mkdir()
    convert(source, folder)  # an empty one is filled
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(VideoError, match="holds files already"):
        convert(source, folder)
    convert(source, folder, overwrite=True)
    assert (folder / "mine.txt").read_text() == "mine"
    with pytest.raises(KeyboardInterrupt):
        with open_writer(copy_spec(source, tmp_path / "new")) as writer:
            writer.write(make_frame(0), pts=0)
            raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "frames"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.avi", r"cannot be written as '\.avi'; .*\.gif, a folder"),
        ("%d/%d_%d.png", "must have one place"),
        ("frames/%06d", "no picture's suffix"),
        ("b.webm", "cannot hold libx264"),
    ],
)
def test_outputs_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        check_output(tmp_path / name, codec="h264", crf=18)


# --- subtitles, chapters, names ----------------------------------------------


def make_rich(path: Path, subtitles: str) -> Path:
    """Three seconds with two languages of subtitles, chapters and names."""
    words = [(0.2, 0.7, "Hello <i>you</i>"), (1.5, 1.0, "zwei\nZeilen ä")]
    with av.open(path, "w") as container:
        container.metadata.update({"title": "A film", "artist": "Somebody"})
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        assert isinstance(video, VideoStream)
        video.metadata["language"] = "fre"
        tracks = []
        for language in ("eng", "ger"):
            track = container.add_stream(subtitles)
            assert isinstance(track.codec_context, SubtitleCodecContext)
            track.codec_context.subtitle_header = SUBTITLE_HEADER
            track.time_base = Fraction(1, 1000)
            track.metadata["language"] = language
            tracks.append(track)
        tracks[1].disposition |= Disposition.forced
        for index in range(75):
            native = av.VideoFrame.from_ndarray(make_frame(index), "rgb24")
            native.pts, native.time_base = index, Fraction(1, 25)
            container.mux(video.encode(native))
        for number, (start, length, text) in enumerate(words):
            for track in tracks:
                data = text.encode()
                if subtitles == "ass":
                    styled = text.replace("<i>", r"{\i1}").replace("</i>", r"{\i0}")
                    styled = styled.replace("\n", r"\N")
                    data = f"{number},0,Default,,0,0,0,,{styled}".encode()
                if subtitles == "mov_text":
                    data = len(data).to_bytes(2, "big") + data
                packet = av.Packet(data)
                packet.time_base = Fraction(1, 1000)
                packet.pts = packet.dts = round(start * 1000)
                packet.duration = round(length * 1000)
                packet.stream = track
                container.mux_one(packet)
        container.mux(video.encode(None))
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": 1000 * number,
                    "end": 1000 * number + 1000,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"part {number}"},
                }
                for number in range(3)
            ]
        )
    return path


def read_subtitles(path: Path, stream: int = 0) -> list[tuple[float, float, str]]:
    with av.open(path) as container:
        codec = container.streams.subtitles[stream].codec_context.name
        return [
            (
                float((packet.pts or 0) * (packet.time_base or 0)),
                float((packet.duration or 0) * (packet.time_base or 0)),
                read_text(bytes(packet), codec),
            )
            for packet in container.demux(subtitles=stream)
            if packet.size and bytes(packet) != b"\0\0"
        ]


@pytest.mark.parametrize(
    ("before", "subtitles", "after", "codec"),
    [
        ("a.mkv", "subrip", "b.mkv", "h264"),
        ("a.mkv", "subrip", "b.mp4", "h264"),
        ("a.mkv", "ass", "b.mp4", "h264"),
        ("a.mkv", "ass", "b.webm", "vp9"),
        ("a.mp4", "mov_text", "b.mp4", "h264"),
        ("a.mov", "mov_text", "b.mkv", "h264"),
    ],
)
def test_subtitles_chapters_and_names_are_kept(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    before: str,
    subtitles: str,
    after: str,
    codec: str,
) -> None:
    source, out = make_rich(tmp_path / before, subtitles), tmp_path / after
    convert(source, out, codec=codec, metadata={"comment": "swapped"})
    for stream in (0, 1):
        (first, second) = read_subtitles(out, stream)
        # Milliseconds in both.
        assert first[:2] == pytest.approx((0.2, 0.7), abs=1e-3)
        assert second[:2] == pytest.approx((1.5, 1.0), abs=1e-3)
        assert first[2].replace("<i>", "").replace("</i>", "") == "Hello you"
        assert second[2] == "zwei\nZeilen ä"
    with av.open(out) as container:
        names = {name.lower(): text for name, text in container.metadata.items()}
        assert names["title"] == "A film" and names["comment"] == "swapped"
        tracks = container.streams.subtitles
        assert [track.language for track in tracks] == ["eng", "ger"]
        forced = bool(tracks[1].disposition & Disposition.forced)
        assert forced == (before != "a.mov")  # which has no place for it
        with av.open(source) as rich:
            language = rich.streams.video[0].language
        assert container.streams.video[0].language == language
        assert language == ("fre" if before != "a.mov" else None)  # as above
        chapters = [
            (float(c["start"] * (c["time_base"] or 0)), c["metadata"]["title"])
            for c in container.chapters()
        ]
        assert chapters == [(0, "part 0"), (1, "part 1"), (2, "part 2")]
    warned = [record.message for record in caplog.records]
    assert len(warned) == (2 if subtitles == "ass" else 0)


def test_subtitles_that_do_not_fit_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "a.mkv"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        track = container.add_stream("dvdsub")
        assert isinstance(video, VideoStream)
        track.metadata["language"] = "eng"
        container.start_encoding()
        native = av.VideoFrame.from_ndarray(make_frame(0), "rgb24")
        container.mux(video.encode(native) + video.encode(None))
    with caplog.at_level(logging.WARNING, "deepfake_jax"):
        convert(source, tmp_path / "b.webm", codec="vp9")
    (record,) = caplog.records
    assert "dvdsub subtitles (stream 1, eng)" in record.message
    assert ".mkv" in record.message
    assert probe_video(tmp_path / "b.webm").frames == 1


# --- parts -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("start", [1.0, 1.7])
def test_a_cut_keeps_sound_in_step_to_its_end(
    tmp_path: Path, name: str, start: float
) -> None:
    source, out = make_beeps(tmp_path / "a.mp4"), tmp_path / name
    times = convert(source, out, sound=True, start=start, end=7.3)
    assert times[0] == pytest.approx(np.ceil(start * 25) / 25)
    frames = list(read_frames(out))
    # Matroska would have to start later to hold sound from before.
    assert frames[0].time == 0 and len(frames) == len(times)
    flashes, (beeps, end) = read_flashes(out), read_beeps(out)
    expected = [k + 0.48 - times[0] for k in range(8) if times[0] < k + 0.48 < 7.3]
    assert flashes == pytest.approx(expected, abs=1e-3)
    # AAC smears an attack over up to two of its packets of 21 ms; so it does uncut.
    assert len(beeps) == len(flashes) == len(expected)
    uncut_flashes, (uncut_beeps, _) = read_flashes(source), read_beeps(source)
    late = np.array(uncut_beeps) - uncut_flashes
    assert np.array(beeps) - flashes == pytest.approx(
        np.full(len(beeps), np.median(late)), abs=2e-3
    )
    last = frames[-1].time + 0.04
    assert last - 1024 / RATE <= end <= last + 1024 / RATE


def test_a_cut_moves_subtitles_and_chapters(tmp_path: Path) -> None:
    source = make_rich(tmp_path / "a.mkv", "subrip")
    convert(source, tmp_path / "b.mp4", start=0.5, end=2.0)
    (first, second) = read_subtitles(tmp_path / "b.mp4")
    # The source's frames are at multiples of 40 ms: the first one is at 0.52 s.
    assert first[:2] == pytest.approx((0, 0.9 - 0.52), abs=1e-3)
    assert second[:2] == pytest.approx((1.5 - 0.52, 0.5), abs=1e-3)
    with av.open(tmp_path / "b.mp4") as container:
        chapters = [
            tuple(float(c[side] * (c["time_base"] or 0)) for side in ("start", "end"))
            for c in container.chapters()
        ]
    expected = [(0, 0.48), (0.48, 1.48)]
    assert chapters == [pytest.approx(pair, abs=1e-3) for pair in expected]


def test_an_end_alone_moves_nothing(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "a.mp4", sound="aac", pts=[300 + 24 * i for i in range(50)]
    )
    convert(source, tmp_path / "b.mp4", sound=True, end=1.0)
    found = [timed.pts for timed in read_frames(tmp_path / "b.mp4")]
    assert found == [timed.pts for timed in read_frames(source)][:25]
    before, after = (
        read_packets(path, "audio") for path in (source, tmp_path / "b.mp4")
    )
    assert after[:-1] == before[: len(after) - 1]
    stop = after[-1][0] + after[-1][2]
    assert stop / RATE == pytest.approx(1.5, abs=1e-3) and len(after) < len(before)


def test_part_of_the_frames_keeps_index_and_time(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", pts=VFR)
    everything = list(read_frames(path))
    part = list(read_frames(path, start=37 / 600, end=Fraction(480, 600)))
    assert [timed.index for timed in part] == [3, 4, 5, 6]
    for timed in part:
        whole = everything[timed.index]
        assert (timed.pts, timed.duration) == (whole.pts, whole.duration)
    with pytest.raises(VideoError, match="no frame is shown from 50 s to the end"):
        list(read_frames(path, start=50.0))


def test_side_by_side_is_wider_than_the_source(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", pts=[0, 24])
    with open_writer(copy_spec(source, tmp_path / "b.mp4", width=128)) as writer:
        for timed in read_frames(source):
            both: Frame = np.hstack([timed.frame, 255 - timed.frame])
            writer.write(both, pts=timed.pts)
    found = probe_video(tmp_path / "b.mp4")
    assert (found.width, found.height, found.frames) == (128, 48, 2)


def test_writer_by_class_keeps_no_extras_unless_asked(tmp_path: Path) -> None:
    source = make_rich(tmp_path / "a.mkv", "subrip")
    with open_writer(copy_spec(source, tmp_path / "b.mkv", like=None)) as writer:
        writer.write(make_frame(0), pts=0)
    with av.open(tmp_path / "b.mkv") as container, av.open(source) as rich:
        assert len(container.streams) == 1 and not container.chapters()
        assert len(rich.streams) == 3


def test_shorter_sequence_leaves_no_stale_pictures(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    out = tmp_path / "seq" / "%06d.png"
    convert(source, out)
    (tmp_path / "seq" / "000099.png").write_bytes(b"mine")
    (tmp_path / "seq" / "notes.txt").write_text("mine")
    convert(source, out, end=0.2, overwrite=True)
    left = {path.name for path in (tmp_path / "seq").iterdir()}
    assert left == {f"{k:06d}.png" for k in (0, 1, 2, 3, 4, 99)} | {
        "notes.txt",
        "times.json",
    }
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
