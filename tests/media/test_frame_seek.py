"""A frame by its time is the one that reading the whole video shows then."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from videos import make_video

from deepfake_jax.media.frame_seek import seek_around, seek_frame
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.video_reader import read_frames

UNEVEN = [0, 40, 50, 120, 130, 141, 200, 210, 300, 310, *range(400, 1000, 20)]


X264: dict[str, Any] = {"options": {"g": "7", "bf": "2"}}
# As phones film: 10 bits, and key frames that frames before them lean on.
_X265 = "keyint=7:min-keyint=7:bframes=3:open-gop=1:scenecut=0:log-level=none"
X265: dict[str, Any] = {
    "codec": "libx265",
    "pixel_format": "yuv420p10le",
    "options": {"x265-params": _X265},
}


@pytest.mark.parametrize("coded", [X264, X265], ids=["h264", "hevc"])
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_the_frame_at_a_time_is_that_of_the_whole(name: str, coded, tmp_path: Path):
    stamps = UNEVEN if coded is X264 else [24 * index for index in range(40)]
    path = make_video(tmp_path / name, pts=stamps, **coded)
    whole = list(read_frames(path))
    for wanted in (whole[0], whole[6], whole[8], whole[23], whole[-1]):
        found = seek_frame(path, wanted.time + 0.001)
        assert (found.index, found.time) == (wanted.index, wanted.time)
        np.testing.assert_array_equal(found.frame, wanted.frame)
    for wanted in (whole[0], whole[9], whole[-2]):
        near, at = seek_around(path, wanted.time + 0.001, radius=3)
        first, last = max(0, wanted.index - 3), min(len(whole) - 1, wanted.index + 3)
        assert [timed.index for timed in near] == list(range(first, last + 1))
        assert near[at].index == wanted.index
        np.testing.assert_array_equal(near[0].frame, whole[first].frame)
        np.testing.assert_array_equal(near[-1].frame, whole[last].frame)
    between = (whole[9].time + whole[10].time) / 2
    assert seek_frame(path, between).index == 9
    assert seek_frame(path, 1e6).index == whole[-1].index


def test_a_file_that_was_replaced_is_looked_at_anew(tmp_path: Path):
    path = make_video(tmp_path / "film.mp4", pts=list(range(0, 800, 40)))
    last = seek_frame(path, 1e6).index
    make_video(path, pts=list(range(0, 400, 40)))
    assert seek_frame(path, 1e6).index < last
    with pytest.raises(VideoError):
        seek_frame(tmp_path / "none.mp4", 0.0)
