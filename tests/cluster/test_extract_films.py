"""Faces of many videos, searched by several workers: the record of one process."""

import pytest
from footage import write_pan

from deepfake_jax.cluster.extract_films import extract_films
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import extract_faces

pytestmark = pytest.mark.usefixtures("detector_weights")


def test_workers_come_to_the_record_of_one_to_the_byte(portrait, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number, start in enumerate(((100, 20), (120, 30))):
        write_pan(videos / f"{number}.mp4", portrait, start=start)
    config = ExtractConfig(min_sharpness=0.0)
    extract_faces([videos], tmp_path / "one", config)
    result = extract_films([videos], tmp_path / "many", config, workers=2)
    assert result.faces == 24 and not result.problems
    one, many = (tmp_path / name for name in ("one", "many"))
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in many.iterdir()) and len(names) > 24
    for name in names:
        assert (one / name).read_bytes() == (many / name).read_bytes(), name
    assert not list(tmp_path.glob(".many*"))
