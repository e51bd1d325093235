"""Videos made here with PyAV, read and written again; no file comes from outside."""

import resource
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.error import ArgumentError
from av.video.stream import VideoStream
from videos import (
    TICK,
    VFR,
    copy_spec,
    encode_sound,
    make_frame,
    make_video,
    read_packets,
)

from deepfake_jax.media.encoder_choices import list_codecs
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.media_probe import VideoInfo, probe_video
from deepfake_jax.media.opened_videos import TruncatedVideoError, VideoError
from deepfake_jax.media.outputs import open_writer as open_output
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.pixel_formats import BT709, convert_from_rgb, convert_to_rgb
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.media.video_writer import VideoWriter

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"


def copy_video(source: Path, target: Path, *, native: bool, **options: Any) -> None:
    info = probe_video(source)
    settings: dict[str, Any] = {"like": info} | options
    spec = OutputSpec(
        path=target,
        width=info.width,
        height=info.height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        **settings,
    )
    with VideoWriter(spec) as writer:
        for timed in read_frames(source):
            assert timed.native is not None
            frame = timed.native if native else timed.frame
            writer.write(frame, pts=timed.pts, duration=timed.duration)


def first_shown(path: Path) -> Fraction:
    """When the first frame is shown on the file's own clock, seconds."""
    return min(packet[0] * packet[3] for packet in read_packets(path, "video"))


def read_planes(path: Path) -> list[list[bytes]]:
    """Every sample of every frame, without the padding at the rows' ends."""
    planes = []
    with av.open(path) as container:
        for native in container.decode(video=0):
            planes.append(
                [
                    np.frombuffer(bytes(plane), np.uint8)
                    .reshape(plane.height, -1)[:, : plane.width]
                    .tobytes()
                    for plane in native.planes
                ]
            )
    return planes


def open_writer(path: Path, **options: Any) -> VideoWriter:
    settings = {"width": 64, "height": 48, "time_base": TICK} | options
    return VideoWriter(OutputSpec(path=path, **settings))


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("source") / "a.mp4", sound="aac")


# --- reading -----------------------------------------------------------------


def test_probe_tells_what_was_written(sounding: Path) -> None:
    info = probe_video(sounding)
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert (info.frames, info.frame_rate) == (25, 25)
    assert (info.codec, info.pixel_format, info.has_audio) == ("h264", "yuv420p", True)
    assert info.duration == pytest.approx(1.0, abs=1 / 600)  # one tick of the source
    assert info.pixel_aspect == 1


def test_frames_come_in_order_with_times(sounding: Path) -> None:
    frames = list(read_frames(sounding))
    assert [timed.index for timed in frames] == list(range(25))
    assert [timed.time for timed in frames] == pytest.approx(
        [index / 25 for index in range(25)]
    )
    for timed in frames:
        assert timed.frame.shape == (48, 64, 3)
        assert timed.frame.flags.c_contiguous and timed.frame.flags.writeable
        # crf 23 and 4:2:0 cost a smooth picture about two levels.
        loss = np.abs(timed.frame.astype(int) - make_frame(timed.index)).mean()
        assert loss < 4


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_containers_are_read(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    path = make_video(tmp_path / name, codec=codec, pixel_format=pixel_format)
    frames = list(read_frames(path))
    assert len(frames) == 25
    steps = np.diff([timed.time for timed in frames])
    # Matroska rounds to milliseconds, GIF counts hundredths.
    assert steps == pytest.approx(np.full(24, 0.04), abs=0.0011)
    assert frames[0].time < 0.2


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_applied(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = make_video(tmp_path / "a.mp4", rotation=rotation, mirrored=mirrored)
    info = probe_video(path)
    timed = next(read_frames(path))
    expected = np.rot90(make_frame(0), -rotation // 90)
    if mirrored:
        expected = np.fliplr(expected)
    else:
        assert info.rotation == rotation
    assert timed.frame.shape == expected.shape == (info.height, info.width, 3)
    # As above: two levels of coding loss; a wrong turn is off by tens.
    assert np.abs(timed.frame.astype(int) - expected).mean() < 4
    assert timed.native is not None
    assert (timed.native.width, timed.native.height) == (info.width, info.height)


def test_rotated_video_is_written_upright(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", rotation=90)
    copy_video(path, tmp_path / "b.mp4", native=True, crf=0)
    info = probe_video(tmp_path / "b.mp4")
    assert (info.width, info.height, info.rotation) == (48, 64, 0)
    for before, after in zip(
        read_frames(path), read_frames(tmp_path / "b.mp4"), strict=True
    ):
        assert np.array_equal(before.frame, after.frame)


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("limits", [1, 2])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_matrix_and_range_follow_the_formula(
    matrix: int, limits: int, pixel_format: str
) -> None:
    # Kr and Kb of ITU-R BT.709, BT.601 and BT.2020.
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(matrix, (0.299, 0.114))
    luma, cb, cr = 120, 110, 140
    native = av.VideoFrame(16, 16, pixel_format)
    deep = pixel_format.endswith("10le")
    for plane, value in zip(native.planes, (luma, cb, cr), strict=True):
        kind = np.uint16 if deep else np.uint8
        count = plane.buffer_size // kind().itemsize
        plane.update(np.full(count, value * 4 if deep else value, kind).tobytes())
    native.colorspace, native.color_range = matrix, limits
    y = (luma - 16) / 219 if limits == 1 else luma / 255
    u, v = ((c - 128) / (224 if limits == 1 else 255) for c in (cb, cr))
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    # Half a level is rounding; a wrong matrix or range is off by 4 levels and more.
    found = convert_to_rgb(native)[8, 8]
    assert found == pytest.approx(np.array([r, g, b]) * 255, abs=0.6)


def test_deep_hdr_source_keeps_format_and_tags(tmp_path: Path) -> None:
    hdr = (9, 1, 9, 16)
    path = make_video(tmp_path / "a.mp4", pixel_format="yuv420p10le", tags=hdr)
    copy_video(path, tmp_path / "b.mp4", native=False)
    before, after = probe_video(path), probe_video(tmp_path / "b.mp4")
    assert before.color == after.color
    assert (after.color.matrix, after.color.transfer) == (9, 16)
    assert after.pixel_format == "yuv420p10le"
    first, second = next(read_frames(path)), next(read_frames(tmp_path / "b.mp4"))
    # One more generation of coding loss at crf 18: under two levels.
    assert np.abs(first.frame.astype(int) - second.frame).mean() < 2


def test_missing_and_backward_times_are_repaired(tmp_path: Path) -> None:
    # An elementary stream has no time stamps at all.
    path = make_video(tmp_path / "a.h264")
    pts = [timed.pts for timed in read_frames(path)]
    assert len(pts) == 25 and np.all(np.diff(pts) > 0)
    # Two transport streams end to end: the clock jumps back in the middle.
    first = make_video(tmp_path / "a.ts").read_bytes()
    (tmp_path / "b.ts").write_bytes(first + first)
    pts = [timed.pts for timed in read_frames(tmp_path / "b.ts")]
    assert len(pts) == 50 and np.all(np.diff(pts) > 0)


def test_colon_and_letters_in_names(tmp_path: Path) -> None:
    path = tmp_path / "http: ä ö %03d.mp4"
    shutil.move(make_video(tmp_path / "a.mp4"), path)
    assert probe_video(path).frames == 25
    copy_video(path, tmp_path / "data: é.mp4", native=True)
    assert probe_video(tmp_path / "data: é.mp4").frames == 25


# --- files that cannot be read, or not to their end --------------------------


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    note = tmp_path / "note.txt"
    note.write_text("not a video\n" * 100)
    sound = tmp_path / "sound.m4a"
    with av.open(sound, "w") as container:
        track = container.add_stream("aac", rate=48000)
        assert isinstance(track, AudioStream)
        container.mux(encode_sound(track, 0) + track.encode(None))
    picture = tmp_path / "picture.png"
    native = av.VideoFrame.from_ndarray(make_frame(0), "rgb24")
    native.save(str(picture))
    cases = {
        tmp_path / "none.mp4": "no such file",
        tmp_path: "folder",
        empty: "0 bytes",
        text: "no video",
        note: "text",
        sound: "no video stream, only audio",
        picture: "a picture",
    }
    for path, message in cases.items():
        with pytest.raises(VideoError, match=message) as caught:
            probe_video(path)
        assert str(path) in str(caught.value)
        with pytest.raises(VideoError, match=message):
            next(read_frames(path))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.gif"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_truncated_video_gives_its_readable_part(
    tmp_path: Path, name: str, share: float
) -> None:
    codec = {"a.avi": "mpeg4", "a.gif": "gif"}.get(name, "libx264")
    path = make_video(
        tmp_path / name,
        codec=codec,
        pixel_format="rgb8" if codec == "gif" else "yuv420p",
        movflags="faststart" if name == "a.mp4" else None,
        options={} if codec == "gif" else {"g": "5", "crf": "0"},
        # Large enough that the headers are not half of the file.
        height=240,
        width=320,
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    frames = []
    with pytest.raises(TruncatedVideoError, match="truncated or damaged") as caught:
        for timed in read_frames(path):
            frames.append(timed.index)
    assert caught.value.frames_read == len(frames)
    assert 0 < len(frames) < 25
    assert frames == list(range(len(frames)))
    assert caught.value.frames_expected == (None if name == "a.gif" else 25)


def test_video_without_index_looks_truncated(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VideoError, match="index .* truncated"):
        probe_video(path)


def test_cut_fragments_are_reported(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4",
        options={"g": "5", "crf": "0"},
        movflags="frag_keyframe+empty_moov",
    )
    assert len(list(read_frames(path))) == 25
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TruncatedVideoError) as caught:
        list(read_frames(path))
    assert 0 < caught.value.frames_read < 25


def test_damage_in_the_middle_is_reported_at_the_end(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4", options={"g": "5", "crf": "1"}, movflags="faststart"
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(1500)
    path.write_bytes(data)
    times = []
    with pytest.raises(TruncatedVideoError) as caught:
        for timed in read_frames(path):
            times.append(timed.time)
    assert caught.value.frames_read == len(times) < 25
    assert times[-1] == pytest.approx(24 / 25)  # what follows the damage is there


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_healthy_oddities_do_not_raise(tmp_path: Path, name: str) -> None:
    # A last frame that is shown long, and sound that outlasts the pictures by far.
    path = make_video(tmp_path / name, pts=[*VFR, 3000], sound="aac")
    assert len(list(read_frames(path))) == len(VFR) + 1
    silent = make_video(tmp_path / f"b{path.suffix}", pts=VFR)
    info = replace(probe_video(path), lead=Fraction(0))
    with open_writer(tmp_path / f"c{path.suffix}", like=info) as writer:
        for timed in read_frames(silent):
            writer.write(timed.frame, pts=timed.index)
    assert len(list(read_frames(tmp_path / f"c{path.suffix}"))) == len(VFR)


# --- writing -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_times_survive(tmp_path: Path, name: str, codec: str) -> None:
    stamps = VFR
    with open_writer(tmp_path / name, codec=codec) as writer:
        for index, pts in enumerate(stamps):
            writer.write(make_frame(index), pts=pts, duration=90)
    found = list(read_frames(tmp_path / name))
    with av.open(tmp_path / name) as container:
        assert container.duration is not None
        length = container.duration / av.time_base
    if name.endswith("mkv"):
        # It counts milliseconds.
        times = [timed.time for timed in found]
        assert times == pytest.approx([float(pts * TICK) for pts in stamps], abs=0.0005)
        assert length == pytest.approx((stamps[-1] + 90) / 600, abs=0.001)
        return
    info = probe_video(tmp_path / name)
    assert info.time_base == TICK
    assert [timed.pts for timed in found] == stamps
    assert found[-1].duration == 90
    assert info.duration == pytest.approx((524 + 90) / 600, abs=1e-6)
    assert length == pytest.approx((524 + 90) / 600, abs=1e-3)


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_sound_is_copied_byte_by_byte(
    sounding: Path, tmp_path: Path, name: str
) -> None:
    copy_video(sounding, tmp_path / name, native=True)
    before = read_packets(sounding, "audio")
    after = read_packets(tmp_path / name, "audio")
    assert [packet[-1] for packet in before] == [packet[-1] for packet in after]
    if not name.endswith("mkv"):
        assert [packet[:4] for packet in before] == [packet[:4] for packet in after]
    # Matroska counts milliseconds; sound and pictures must move by the same amount.
    late = [
        float(new[0] * new[3] - old[0] * old[3])
        for old, new in zip(before, after, strict=True)
    ]
    moved = float(first_shown(tmp_path / name) - first_shown(sounding))
    assert late == pytest.approx([moved] * len(late), abs=0.001)


def test_odd_starts_are_kept_to_the_tick(tmp_path: Path) -> None:
    # A transport stream's sound starts at 0 here and its pictures 1920 ticks of 90 kHz
    # later, which is no whole number of milliseconds.
    source = make_video(tmp_path / "a.ts", sound="aac")
    copy_video(source, tmp_path / "b.mp4", native=True)
    before, after = (
        [packet[0] for packet in sorted(read_packets(path, "video"))]
        for path in (source, tmp_path / "b.mp4")
    )
    (sound, *_), (copied, *_) = (
        read_packets(path, "audio") for path in (source, tmp_path / "b.mp4")
    )
    assert (before[0] - sound[0]) * 1000 % 90000
    # The output begins with its sound, give or take a tick of the pictures' clock.
    assert copied[0] == 0 and 0 <= after[0] - (before[0] - sound[0]) < 2
    assert np.diff(after).tolist() == np.diff(before).tolist()


def test_every_sound_stream_is_copied_in_step(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "a.mkv", sound="aac", sounds=2, pts=[24 * i for i in range(100)]
    )
    copy_video(source, tmp_path / "b.mp4", native=True)
    for stream in (0, 1):
        before = read_packets(source, "audio", stream)
        after = read_packets(tmp_path / "b.mp4", "audio", stream)
        assert [packet[-1] for packet in before] == [packet[-1] for packet in after]
    # In the file, pictures lie among the sound and not before or after all of it.
    with av.open(tmp_path / "b.mp4") as container:
        order = [
            (packet.pos or 0, packet.stream.type)
            for packet in container.demux()
            if packet.size
        ]
    kinds = [kind for _, kind in sorted(order)]
    changes = sum(a != b for a, b in zip(kinds, kinds[1:], strict=False))
    assert changes > 20


def test_sound_from_a_transport_stream_goes_into_mp4(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.ts", sound="aac")
    copy_video(source, tmp_path / "b.mp4", native=True)
    before = read_packets(source, "audio")
    after = read_packets(tmp_path / "b.mp4", "audio")
    assert len(before) == len(after)
    # MP4 keeps AAC without the 7 bytes of header that each packet has in a stream.
    assert [packet[-1][7:] for packet in before] == [packet[-1] for packet in after]


@pytest.mark.parametrize(("height", "width"), [(47, 65), (48, 63), (1, 1)])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "ffv1"])
def test_every_size_is_kept(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    height: int,
    width: int,
    codec: str,
) -> None:
    path = tmp_path / "b.mkv"
    with open_writer(path, width=width, height=height, codec=codec) as writer:
        for index in range(3):
            writer.write(make_frame(index, height=height, width=width), pts=24 * index)
    frames = list(read_frames(path))
    assert len(frames) == 3
    for timed in frames:
        frame = make_frame(timed.index, height=height, width=width)
        if codec == "libx264":
            # 4:2:0, which every player shows, has even sides only.
            odd = ((0, height % 2), (0, width % 2), (0, 0))
            frame = np.pad(frame, odd, mode="edge")
            assert probe_video(path).pixel_format == "yuv420p"
        assert timed.frame.shape == frame.shape
        if codec == "ffv1":
            assert np.array_equal(timed.frame, frame)
        # As above, and mpeg4 at its 3 of 31.
        assert np.abs(timed.frame.astype(int) - frame).mean() < 4
    told = [r.message for r in caplog.records if "no odd sides" in r.message]
    assert len(told) == (codec == "libx264")


def test_pixel_format_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    with open_writer(path, width=65, height=47, pixel_format="yuv444p") as writer:
        writer.write(make_frame(0, height=47, width=65), pts=0)
    assert next(read_frames(path)).frame.shape == (47, 65, 3)
    with pytest.raises(VideoError, match="no pixel format 'rgb48'; use one of yuv420p"):
        with open_writer(tmp_path / "c.mp4", pixel_format="rgb48"):
            pass


def test_refusal_of_a_muxer_does_not_blame_the_disk(tmp_path: Path) -> None:
    class Refused(VideoWriter):
        def _finish(self) -> None:
            raise ArgumentError(22, "Invalid argument")

    spec = OutputSpec(path=tmp_path / "b.mp4", width=64, height=48, time_base=TICK)
    with pytest.raises(VideoError, match="FFmpeg refuses it") as caught:
        with Refused(spec) as writer:
            writer.write(make_frame(0), pts=0)
    assert "space" not in str(caught.value)


def test_size_that_the_encoder_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="libx265 cannot encode 4x4 .* use libx264"):
        with open_writer(tmp_path / "b.mp4", width=4, height=4, codec="libx265"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuvj420p", "yuv422p"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 1, 6, 6), None])
def test_native_frames_keep_their_samples(
    tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int] | None
) -> None:
    source = make_video(tmp_path / "a.mp4", pixel_format=pixel_format, tags=tags)
    copy_video(source, tmp_path / "b.mp4", native=True, crf=0)
    assert probe_video(source).pixel_format == pixel_format
    assert probe_video(tmp_path / "b.mp4").color == probe_video(source).color
    assert read_planes(source) == read_planes(tmp_path / "b.mp4")


def test_native_frame_is_handed_back_as_it_was(tmp_path: Path, sounding: Path) -> None:
    timed = list(read_frames(sounding))[3]
    assert timed.native is not None
    before = (timed.native.pts, timed.native.time_base, timed.native.pict_type)
    with open_writer(tmp_path / "b.mp4") as writer:
        writer.write(timed.native, pts=0)
    assert (timed.native.pts, timed.native.time_base, timed.native.pict_type) == before


def test_rgb_and_native_frames_have_the_same_colors(tmp_path: Path) -> None:
    # Unspecified tags at standard definition are BT.601 on both ways; a mix-up of
    # matrices would make swapped frames flicker by up to 10 levels.
    source = make_video(tmp_path / "a.mp4", tags=(2, 0, 2, 2))
    copy_video(source, tmp_path / "native.mp4", native=True, crf=1)
    copy_video(source, tmp_path / "rgb.mp4", native=False, crf=1)
    for one, other in zip(
        read_frames(tmp_path / "native.mp4"),
        read_frames(tmp_path / "rgb.mp4"),
        strict=True,
    ):
        # Two roundings and crf 1.
        assert np.abs(one.frame.astype(int) - other.frame).mean() < 1.5


def test_plain_writer_declares_bt709(tmp_path: Path) -> None:
    with open_writer(tmp_path / "b.mp4", crf=1) as writer:
        writer.write(make_frame(0), pts=0)
    color = probe_video(tmp_path / "b.mp4").color
    assert (color.matrix, color.range, color.primaries, color.transfer) == (1, 1, 1, 1)
    found = next(read_frames(tmp_path / "b.mp4")).frame
    # 4:2:0 and crf 1 cost a smooth picture about a level.
    assert np.abs(found.astype(int) - make_frame(0)).mean() < 1.5


def test_rgb_conversion_inverts() -> None:
    native = convert_from_rgb(make_frame(0), "yuv444p", BT709)
    # Limited range has 219 steps for 256 levels: two levels at most.
    difference = np.abs(convert_to_rgb(native).astype(int) - make_frame(0))
    assert difference.max() <= 2


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv", "b.webm"])
def test_metadata_comes_back(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    metadata = {"comment": "swapped", "deepfake_jax": '{"a": "ä"}'}
    with open_writer(tmp_path / name, codec=codec, metadata=metadata) as writer:
        writer.write(make_frame(0), pts=0)
    with av.open(tmp_path / name) as container:
        # Matroska writes names in capitals.
        found = {name.lower(): text for name, text in container.metadata.items()}
    assert metadata.items() <= found.items()


def test_pixel_aspect_is_kept(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        assert isinstance(stream, VideoStream)
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        native = av.VideoFrame.from_ndarray(make_frame(0), "rgb24")
        container.mux(stream.encode(native) + stream.encode(None))
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4", native=False)
    assert probe_video(tmp_path / "b.mp4").pixel_aspect == Fraction(16, 15)
    # Pictures and GIFs know square pixels only.
    spec = copy_spec(tmp_path / "a.mp4", tmp_path / "c.gif")
    for path in (tmp_path / "c.gif", tmp_path / "frames"):
        with open_output(replace(spec, path=path)) as writer:
            for timed in read_frames(tmp_path / "a.mp4"):
                assert timed.pixel_aspect == Fraction(16, 15)
                writer.write(timed.frame, pts=timed.pts)
    assert next(read_frames(tmp_path / "c.gif")).frame.shape == (48, 68, 3)
    assert read_picture(tmp_path / "frames" / "000000.png").shape == (48, 68, 3)


# --- choices that cannot work, and files that cannot be finished --------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("b.avi", {}, r"'\.avi'.*\.mp4, \.m4v, \.mov, \.mkv, \.webm"),
        ("b", {}, "no suffix"),
        ("b.mp4", {"codec": "h266"}, "'h266' is not known; use one of h264"),
        ("b.webm", {}, "cannot hold libx264; use libvpx-vp9"),
        ("b.mov", {"codec": "ffv1"}, "cannot hold ffv1"),
        ("b.mp4", {"crf": 52}, "crf is 52"),
        ("b.mp4", {"width": 0}, "width is 0"),
        ("b.mp4", {"time_base": Fraction(0)}, "time_base is 0"),
        ("b.mp4", {"frame_rate": Fraction(0)}, "frame_rate is 0"),
    ],
)
def test_impossible_choices(
    tmp_path: Path, name: str, options: dict, message: str
) -> None:
    with pytest.raises(VideoError, match=message):
        open_writer(tmp_path / name, **options)


@pytest.mark.parametrize(
    ("name", "sound", "expected"),
    [
        ("b.webm", "aac", "opus"),
        ("b.mp4", "wmav2", "aac"),
        ("b.mov", "libopus", "aac"),  # which FFmpeg finds at the header only
        ("b.mkv", "adpcm_ms", "aac"),
        ("b.mkv", "pcm_s16le", "pcm_s16le"),
        ("b.mp4", "adpcm_ms", "aac"),
    ],
)
def test_sound_that_does_not_fit_is_coded_anew(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    sound: str,
    expected: str,
) -> None:
    suffix = ".mkv" if sound == "libopus" else ".asf"
    suffix = ".avi" if "pcm" in sound else suffix
    source = make_video(
        tmp_path / f"a{suffix}", codec="mpeg4", sound=sound, pts=list(range(0, 600, 24))
    )
    codec = "libvpx-vp9" if name.endswith("webm") else "mpeg4"
    copy_video(source, tmp_path / name, native=True, codec=codec)
    with av.open(tmp_path / name) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == expected
        sound_seconds = sum(
            f.samples / f.sample_rate for f in container.decode(audio=0)
        )
    # A packet of each codec more or less.
    assert sound_seconds == pytest.approx(1.0, abs=0.15)
    said = [record.message for record in caplog.records if "coded as" in record.message]
    assert len(said) == (expected not in sound)


def test_existing_file_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(VideoError, match="exists already"):
        with open_writer(path):
            pytest.fail("an existing file was opened")
    assert path.read_bytes() == b"mine"
    with open_writer(path, overwrite=True) as writer:
        writer.write(make_frame(0), pts=0)
        assert path.read_bytes() == b"mine"  # until the end
    assert probe_video(path).frames == 1


def test_missing_folder_is_made_and_a_file_is_no_folder(tmp_path: Path) -> None:
    with open_writer(tmp_path / "new" / "er" / "b.mp4") as writer:
        writer.write(make_frame(0), pts=0)
    assert [path.name for path in (tmp_path / "new" / "er").iterdir()] == ["b.mp4"]
    with pytest.raises(VideoError, match="could not be written"):
        with open_writer(tmp_path / "new" / "er" / "b.mp4" / "c.mp4"):
            pass
    (tmp_path / "d.mp4").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        with open_writer(tmp_path / "d.mp4", overwrite=True):
            pass


def test_exception_leaves_nothing(sounding: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        info = probe_video(sounding)
        with open_writer(tmp_path / "b.mp4", like=info) as writer:
            for index in range(60):
                writer.write(make_frame(index), pts=24 * index)
            (partial,) = tmp_path.iterdir()
            assert partial.name.startswith(".b.") and partial.suffix == ".mp4"
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_no_frame_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frame was written"):
        with open_writer(tmp_path / "b.mp4"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path / "b.mp4") as writer:
        writer.write(make_frame(0), pts=10)
        for pts in (10, 9):
            with pytest.raises(VideoError, match=f"pts of frame 1 is {pts}"):
                writer.write(make_frame(1), pts=pts)
        for wrong in (
            make_frame(1, height=64, width=48),
            av.VideoFrame(32, 48, "yuv420p"),
        ):
            with pytest.raises(VideoError, match="frame 1 .* must be 64x48"):
                writer.write(wrong, pts=20)
    assert probe_video(tmp_path / "b.mp4").frames == 1


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the file size fails in the same place as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        with pytest.raises(VideoError, match="could not be written.*free space"):
            with open_writer(tmp_path / "b.mp4", crf=0) as writer:
                for index in range(100):
                    writer.write(noise, pts=24 * index)
                    noise = np.roll(noise, 7, axis=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_readable_part_of_a_truncated_source_can_be_kept(
    sounding: Path, tmp_path: Path
) -> None:
    source = make_video(tmp_path / "a.mp4", sound="aac", movflags="faststart")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 2 // 3])
    with open_writer(tmp_path / "b.mp4", like=probe_video(source)) as writer:
        with pytest.raises(TruncatedVideoError) as caught:
            for timed in read_frames(source):
                writer.write(timed.frame, pts=timed.index * 24)
    assert probe_video(tmp_path / "b.mp4").frames == caught.value.frames_read
    assert 0 < len(read_packets(tmp_path / "b.mp4", "audio"))


def test_codecs_are_listed() -> None:
    codecs = list_codecs()
    assert list(codecs)[0] == "libx264" and codecs["libx264"] is True
    assert {"libx265", "libvpx-vp9", "libsvtav1", "mpeg4", "ffv1"} < codecs.keys()


# --- a real clip -------------------------------------------------------------


@pytest.mark.skipif(
    not (CLIPS / "hamilton.mp4").is_file(), reason=f"no {CLIPS / 'hamilton.mp4'}"
)
def test_real_clip_keeps_times_size_and_sound(tmp_path: Path) -> None:
    # Its pictures start 0.85 s in and its sound at 0.008 s: easily lost.
    source = CLIPS / "hamilton.mp4"
    info: VideoInfo = probe_video(source)
    target = tmp_path / "b.mp4"
    stamps = []
    copy_video(source, target, native=True, codec="mpeg4")
    stamps = [timed.pts for timed in read_frames(source)]
    found = probe_video(target)
    assert len(stamps) == info.frames == found.frames == 275
    assert (found.width, found.height) == (info.width, info.height)
    assert found.duration == info.duration and found.time_base == info.time_base
    before, after = (read_packets(path, "audio") for path in (source, target))
    assert [packet[-1] for packet in before] == [packet[-1] for packet in after]
    # The sound still begins as long before the pictures as it did.
    shown = first_shown(source), first_shown(target)
    leads = [s - b[0][0] * b[0][3] for s, b in zip(shown, (before, after), strict=True)]
    assert float(leads[0]) == pytest.approx(float(leads[1]), abs=1 / 15000)
    assert leads[0] > 0.8
