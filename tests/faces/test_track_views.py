"""A track whose face becomes another person's is cut there, and found out later on."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.video_writer import VideoWriter

FRAMES, CHANGE = 48, 41  # after a checkpoint and its embeddings


def write_exchange(path: Path, portrait: np.ndarray) -> Path:
    """Two people side by side who change places from one frame to the next."""
    other = read_picture(get_sample("grace_hopper"))
    faces = [portrait[20:220, 120:320], other[20:370, 80:430]]
    faces = [cv2.resize(f, (130, 130), interpolation=cv2.INTER_AREA) for f in faces]
    # Most of the picture stays as it is, or this would be a new scene.
    slope = np.linspace(0, 255, 800)[None, :, None] * np.ones((500, 1, 3))
    rate = Fraction(25)
    spec = OutputSpec(
        path=path, width=800, height=500, frame_rate=rate, time_base=1 / rate, crf=5
    )
    with VideoWriter(spec) as writer:
        for index in range(FRAMES):
            frame = slope.astype(np.uint8)
            left, right = faces if index < CHANGE else faces[::-1]
            frame[50:180, 100:230], frame[50:180, 500:630] = left, right
            writer.write(frame, pts=index)
    return path


@pytest.mark.usefixtures("detector_weights")
def test_who_changes_places_keeps_the_name(portrait, tmp_path):
    path = write_exchange(tmp_path / "exchange.mp4", portrait)
    search = FootageSearch(SearchConfig())
    found = list(search.search([Source(path, "video", FRAMES)]))
    people, tracks = search.sort_people(), {f.track for s in found for f in s.faces}
    assert len(tracks) == 2, "the test needs tracks that pass from face to face"
    assert sorted(people.means) == [1, 2]
    leftmost = min(found[0].faces, key=lambda face: float(face.box[0]))
    first = people.find_person(leftmost.track, 0)
    for searched in found:
        index = searched.timed.index
        if abs(index - CHANGE) <= 2:  # every fourth frame is looked at
            continue
        left, right = sorted(searched.faces, key=lambda face: float(face.box[0]))
        whose = [people.find_person(face.track, index) for face in (left, right)]

        assert (whose[0] == first) == (index < CHANGE)
        assert whose[0] != whose[1]
