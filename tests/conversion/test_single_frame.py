"""One frame by itself: found, steadied and chosen as in a conversion of the whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import write_pan
from networks import NO_FACTS, NOTHING, Same

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.conversion import single_frame
from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.placement import place_faces
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.conversion.single_frame import SingleFrames
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import extract_faces
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.timed_frames import picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.runs.trained_run import TrainedRun

pytestmark = pytest.mark.usefixtures("detector_weights")
LARGEST = ConvertConfig(person="largest", color="avg")
RUN = TrainedRun(
    model=Autoencoder(Same(), Same(), 64),
    params=NOTHING,
    step=0,
    facts=NO_FACTS,
    model_hash="0" * 64,
)


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a network that gives its crops back; loading one is tested elsewhere."""
    monkeypatch.setattr(single_frame, "load_run", lambda run, checkpoint: RUN)
    return tmp_path / "run"


def test_a_frame_is_steadied_as_in_a_conversion(portrait, tmp_path, run):
    rng = np.random.default_rng(4)
    noisy = rng.normal(portrait, 12).clip(0, 255).astype(np.uint8)
    clip = write_pan(tmp_path / "clip.mp4", noisy, frames=14)
    frames = list(read_frames(clip))
    placement = place_faces([Source(clip, "video", None)], LARGEST, None)
    single = SingleFrames()
    chunk = [(timed, placement.find(0, timed.index)) for timed in frames]
    whole = list(steady_looks(make_frame_swapper(RUN, LARGEST).swap(chunk)))
    # All frames are looked at for frame 5. Of the last one those before 5 are not, from
    # which a conversion has followed the face.
    for number, off in ((5, 1e-3), (13, 0.5)):
        time = frames[number].time
        looked = single.look(clip, LARGEST, time=time)
        (face,) = looked.near[looked.at][1]
        (placed,) = placement.find(0, number)
        np.testing.assert_allclose(face.frame_to_face, placed.frame_to_face, atol=off)
        shape = apply_affine(face.frame_to_face, face.landmarks)
        assert placed.landmarks is not None
        np.testing.assert_allclose(shape, placed.landmarks, atol=off + 0.1)
        pair = single.swap(clip, run, LARGEST, time=time)
        assert (pair.swapped, pair.found) == (1, 1)
        rgb = replace(whole[number], timed=picture_frame(frames[number].frame))
        wanted = compose_frame(rgb, LARGEST)
        assert isinstance(wanted, np.ndarray)
        apart = np.abs(pair.after.astype(int) - wanted)
        # A face that is found a trifle elsewhere moves its edges by that.
        assert apart.mean() < 0.05 + off and np.percentile(apart, 99) <= 2 + 20 * off
        assert (pair.after != pair.before).any()


def test_another_look_draws_nothing_anew(portrait, tmp_path, run, monkeypatch):
    clip = write_pan(tmp_path / "clip.mp4", portrait, frames=4)
    single, drawn = SingleFrames(), []
    one = single.swap(clip, run, LARGEST, time=0.04)
    assert single._swapper is not None
    swapper = single._swapper[1]
    inner = swapper._double
    assert inner is not None
    monkeypatch.setattr(swapper, "_double", lambda x: (drawn.append(1), inner(x))[1])
    monkeypatch.setattr(single, "_find", None)
    hull = replace(LARGEST, mask="hull", erode=0.2)
    other = single.swap(clip, run, hull, time=0.04)
    assert (one.after != other.after).any() and len(drawn) == 1


def test_who_is_meant_is_told_by_a_face_of_theirs(portrait, tmp_path, run):
    other = read_picture(get_sample("grace_hopper"))[:512, :512]
    both = np.concatenate([portrait, other], axis=1)
    write_picture(tmp_path / "both.png", both)
    write_picture(tmp_path / "other.png", other)
    extract_faces(tmp_path / "other.png", tmp_path / "faces", ExtractConfig())
    (face,) = (tmp_path / "faces").glob("000_*.png")
    single = SingleFrames()

    def find_changed(person: str) -> tuple[bool, bool]:
        config = replace(LARGEST, person=person, color="none", mask="rectangle")
        changed = {}
        pair = single.swap(tmp_path / "both.png", run, config, time=0.0)
        changed = (pair.after != pair.before).any(axis=(0, 2))
        return bool(changed[:512].any()), bool(changed[512:].any())

    assert find_changed("all") == (True, True)
    assert find_changed(str(face)) == (False, True)
