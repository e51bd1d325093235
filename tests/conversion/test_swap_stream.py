"""Frames through the swap: order, an end in the middle, faces kept on the way."""

import itertools
import json
import threading
from collections.abc import Iterator

import numpy as np

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.saved_faces import FaceLog
from deepfake_jax.conversion.swap_stream import swap_stream
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.timed_frames import TimedFrame

CONFIG = ConvertConfig(mask="rectangle", color="none")
PLACED = PlacedFace(0, np.array([[4.0, 0, -60], [0, 4.0, -40]]), None)


def read_endless(closed: threading.Event) -> Iterator[TimedFrame]:
    try:
        for index in itertools.count():
            picture = np.full((90, 120, 3), index % 200, np.uint8)
            yield TimedFrame(index, index / 25, index, 1, picture=picture)
    finally:
        closed.set()


def test_a_consumer_that_stops_ends_all_stages_and_keeps_the_faces(tmp_path):
    closed = threading.Event()
    swapper = FrameSwapper(lambda faces, _=None: 255 - faces, 64, CONFIG)
    with FaceLog(tmp_path / "faces", overwrite=False) as log:
        stream = swap_stream(
            read_endless(closed), lambda timed: [PLACED], swapper, log=log
        )
        before = threading.active_count()
        shown = list(itertools.islice(stream, 3))
        stream.close()
    assert closed.is_set() and threading.active_count() == before
    assert [timed.index for timed, *_ in shown] == [0, 1, 2]
    assert all(faces == 1 for *_, faces in shown)
    lines = (tmp_path / "faces" / "faces.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    # Frames composed ahead of the consumer are kept too.
    assert len(kept) >= 3
    assert [line["frame"] for line in kept] == list(range(len(kept)))
    assert all((tmp_path / "faces" / line["mask"]).is_file() for line in kept)
