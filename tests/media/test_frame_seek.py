"""A frame by its time is the one that reading the whole video shows then."""

from pathlib import Path

import numpy as np
import pytest
from videos import make_video

from deepfake_jax.media.frame_seek import seek_frame
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.video_reader import read_frames

UNEVEN = [0, 40, 50, 120, 130, 141, 200, 210, 300, 310, *range(400, 1000, 20)]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_the_frame_at_a_time_is_that_of_the_whole(name: str, tmp_path: Path):
    options = {"g": "7", "bf": "2"}
    path = make_video(tmp_path / name, pts=UNEVEN, options=options)
    whole = list(read_frames(path))
    for wanted in (whole[0], whole[6], whole[8], whole[23], whole[-1]):
        found = seek_frame(path, wanted.time + 0.001)
        assert (found.index, found.time) == (wanted.index, wanted.time)
        np.testing.assert_array_equal(found.frame, wanted.frame)
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
