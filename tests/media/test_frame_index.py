"""Reading from the middle gives the frames that reading from the start does."""

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from videos import make_video

from deepfake_jax.media.frame_index import FrameIndex, read_index
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.video_reader import read_frames, read_from

STEADY = [24 * index for index in range(40)]
UNEVEN = [0, 40, 50, 120, 130, 141, 200, 210, 300, 310, *range(400, 1000, 20)]


def tell(timed: TimedFrame) -> tuple:
    assert timed.native is not None
    planes = [bytes(plane) for plane in timed.native.planes]
    return timed.index, timed.time, timed.pts, timed.duration, timed.damaged, planes


def read_whole(path: Path) -> list[tuple]:
    return [tell(timed) for timed in read_frames(path)]


CASES = {
    "b_frames.mp4": {"options": {"g": "10", "bf": "3"}},
    "uneven.mp4": {"pts": UNEVEN, "options": {"g": "7", "bf": "2"}},
    "uneven.mkv": {"pts": UNEVEN, "options": {"g": "7", "bf": "2"}},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=8:open-gop=1:log-level=none"},
    },
    "open.mp4": {"options": {"g": "8", "bf": "2", "x264-params": "open-gop=1"}},
    "refresh.mp4": {"options": {"g": "10", "x264-params": "intra-refresh=1"}},
    "transport.ts": {"options": {"g": "8"}},
}


@pytest.mark.parametrize("name", CASES)
def test_frames_from_any_one_on_are_those_of_the_whole(name, tmp_path):
    options = {"pts": STEADY, **CASES[name]}
    path = make_video(tmp_path / name, **options)
    info = probe_video(path)
    index, whole = read_index(info), read_whole(path)
    if not index.distrust:
        assert len(index.stamps) == len(whole)
    if name == "transport.ts":
        assert "no exact index" in index.distrust
    if name in ("b_frames.mp4", "uneven.mp4", "uneven.mkv"):
        assert len(index.keys) > 3
    for number in (1, 7, 8, 13, 25, len(whole) - 1):
        assert [tell(t) for t in read_from(info, number, index)] == whole[number:]


def test_a_wrong_index_is_noticed_and_told(tmp_path, caplog, monkeypatch):
    path = make_video(
        tmp_path / "a.mp4", pts=STEADY, options={"g": "10", "sc_threshold": "0"}
    )
    info, whole = probe_video(path), read_whole(path)
    index = read_index(info)
    assert index.keys == (0, 10, 20, 30)
    monkeypatch.setattr("deepfake_jax.media.video_reader._MANY", 1)
    late = replace(
        index, stamps=(*index.stamps[:27], *(s + 1 for s in index.stamps[27:]))
    )
    shifted = FrameIndex(index.stamps, (0, 10, 23, 30))
    for wrong in (late, shifted, FrameIndex(distrust="for a test")):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "deepfake_jax"):
            found = [tell(timed) for timed in read_from(info, 24, wrong)]
        assert found == whole[24:]
        assert "decoded from its start" in caplog.text


def test_a_late_start_does_not_decode_what_is_before(tmp_path, monkeypatch):
    pts = [24 * index for index in range(600)]
    path = make_video(
        tmp_path / "a.mp4", pts=pts, height=16, width=16, options={"g": "50"}
    )
    whole = [timed.time for timed in read_frames(path)]
    from deepfake_jax.media import frame_decoder

    decoded = []
    decode = frame_decoder._decode

    def count(*args):
        for frame in decode(*args):
            decoded.append(1)
            yield frame

    monkeypatch.setattr(frame_decoder, "_decode", count)
    start = Fraction(whole[507]).limit_denominator(1000)
    late = list(read_frames(path, start=start))
    assert [timed.index for timed in late] == list(range(507, 600))
    assert [timed.time for timed in late] == whole[507:]
    assert len(decoded) <= 101
