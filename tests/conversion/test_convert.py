"""Conversion: what changes, what does not, and what the output says of itself."""

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av import VideoFrame
from footage import tiny_config, write_face_set, write_pan
from networks import NO_FACTS, NOTHING, Same
from videos import read_picture_tags

from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.convert import ConvertError, convert_video
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import place_faces
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.conversion.search import Conversion
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.identity import make_embedder
from deepfake_jax.files import ForeignFilesError, hash_file
from deepfake_jax.imaging.blend import face_box
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.pictures import (
    read_picture,
    write_picture,
)
from deepfake_jax.media.sources import Source, SourceError
from deepfake_jax.media.timed_frames import picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.output_lock import OutputBusyError, lock_output
from deepfake_jax.provenance.facts import sidecar_path
from deepfake_jax.runs.run_folder import RunError
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.training.loop import train

pytestmark = pytest.mark.usefixtures("detector_weights")

LARGEST = ConvertConfig(person="largest")
GREY = np.full((300, 200, 3), 99, np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run that has hardly learned anything: it paints grey where a face was."""
    folder = tmp_path_factory.mktemp("run")
    a = write_face_set(folder / "a", 2)
    b = write_face_set(folder / "b", 2, tint=(120, 160, 210))
    train(a, b, folder / "run", tiny_config(steps=2), devices=1)
    return folder / "run"


@pytest.fixture(scope="module")
def pan(portrait, tmp_path_factory) -> Path:
    return write_pan(tmp_path_factory.mktemp("pan") / "pan.mp4", portrait)


def identity_run(**facts: Any) -> TrainedRun:
    return TrainedRun(
        model=Autoencoder(Same(), Same(), 64),
        params=NOTHING,
        step=0,
        facts=replace(NO_FACTS, **facts),
        model_hash="0" * 64,
    )


def place_one(swapper: FrameSwapper, frame: np.ndarray, folder: Path) -> list:
    path = folder / "frame.png"
    write_picture(path, frame)
    source = Source(path, "picture", 1)
    return place_faces([source], swapper.config, swapper.identity).find(0, 0)


def swap_one(trained: TrainedRun, frame: np.ndarray, folder: Path, config=LARGEST):
    swapper = make_frame_swapper(trained, config)
    placed = place_one(swapper, frame, folder)
    (swapped,) = swapper.swap([(picture_frame(frame), placed)])
    result = compose_frame(swapped, config)
    assert not isinstance(result, VideoFrame)
    return result


@pytest.mark.parametrize("mask", ["oval", "rectangle", "classic"])
def test_the_identity_network_gives_the_frame_back(portrait, mask, tmp_path):
    # At half size the face's crop is about 64 pixels wide, the network's own size.
    frame = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    config = ConvertConfig(person="largest", mask=mask)
    swapped = swap_one(identity_run(), frame, tmp_path, config)
    assert not np.array_equal(swapped, frame)
    error = np.abs(swapped.astype(float) - frame)
    # Two resamplings at about the face's own scale lose fine detail alone: 34 dB; the
    # classic's third, to 160 pixels by two taps, more.
    touched = error.max(axis=2) > 0
    least = 30 if mask == "classic" else 34
    assert 10 * np.log10(255**2 / np.mean(error[touched] ** 2)) > least
    assert touched.mean() < 0.12


def test_only_the_faces_box_changes(portrait, tmp_path):
    trained = identity_run(color_shift=(40.0, 0.0, 0.0))
    swapped = swap_one(trained, portrait, tmp_path)
    x, y, width, height = make_detector()(portrait)[0].box
    changed = np.argwhere((swapped != portrait).any(axis=2))
    low, high = changed.min(axis=0), changed.max(axis=0)
    # The crop reaches from the brows to the chin and about a cheek to each side.
    assert low[0] > y - 0.3 * height and high[0] < y + 1.3 * height
    assert low[1] > x - 0.5 * width and high[1] < x + 1.5 * width


def test_without_a_face_there_is_no_swap(tmp_path):
    frame = np.full((120, 160, 3), 127, np.uint8)
    assert swap_one(identity_run(), frame, tmp_path) is frame


def test_the_person_is_told_from_others(portrait, tmp_path):
    detection = make_detector()(portrait)[0]
    vector = make_embedder()(portrait, detection)
    person = ConvertConfig()
    known = identity_run(identities={"a": vector.tolist()})
    assert swap_one(known, portrait, tmp_path, person) is not portrait
    stranger = identity_run(identities={"a": (-vector).tolist()})
    assert swap_one(stranger, portrait, tmp_path, person) is portrait
    # To swap to A, it is B's face that is looked for.
    back = ConvertConfig(to="a")
    other = identity_run(identities={"b": vector.tolist()})
    assert swap_one(other, portrait, tmp_path, back) is not portrait


def test_whoever_is_there_instead_is_said(portrait, tmp_path):
    path = tmp_path / "face.png"
    write_picture(path, portrait)
    vector = make_embedder()(portrait, make_detector()(portrait)[0])
    cases = [
        ({"a": -vector, "b": vector}, "no face of the run's A .* give --to a to swap"),
        ({"a": -vector}, "the person the run was trained on .*--person largest"),
    ]
    for vectors, words in cases:
        identities: Any = {side: v.tolist() for side, v in vectors.items()}
        swapper = make_frame_swapper(
            identity_run(identities=identities), ConvertConfig()
        )
        conversion = Conversion([Source(path, "picture", 1)], swapper)
        assert not len(conversion.placement)
        with pytest.raises(ConvertError, match=words):
            raise conversion.explain_no_face(path, 1)


def test_poisson_and_colour_choices_differ(portrait, tmp_path):
    trained = identity_run(color_shift=(0.0, 0.0, 60.0))
    results = [
        swap_one(trained, portrait, tmp_path, config)
        for config in (
            LARGEST,
            replace(LARGEST, color="none"),
            replace(LARGEST, blend="poisson"),
        )
    ]
    for first, second in combinations(results, 2):
        assert not np.array_equal(first, second)


def test_a_video_keeps_its_times_size_and_says_what_it_is(pan, run, tmp_path):
    out = tmp_path / "new folder" / "swapped ü.mp4"
    result = convert_video(pan, run, out, LARGEST)
    assert (result.frames, result.swapped_frames) == (12, 12)
    assert result.problems == () and result.frames_per_second > 0
    before, after = probe_video(pan), probe_video(out)
    assert (after.width, after.height) == (before.width, before.height)
    times = [[timed.time for timed in read_frames(path)] for path in (pan, out)]
    assert times[0] == times[1]
    facts = json.loads(sidecar_path(out).read_text())
    assert facts["synthetic"] is True
    assert facts["source_sha256"] == hash_file(pan)
    assert facts["tool"] == "deepfake-jax" and len(facts["model_sha256"]) == 64
    with av.open(str(out)) as container:
        tags = container.metadata
    assert tags["synthetic"] == "true" and "Synthetic media" in tags["comment"]
    assert tags["model_sha256"] == facts["model_sha256"]


def test_frames_without_a_face_keep_their_exact_samples(portrait, run, tmp_path):
    """A pan that leaves the face: its later frames are passed on as decoded."""
    pan = write_pan(
        tmp_path / "pan.mp4", portrait, frames=90, start=(150, 20), width=160
    )
    out = tmp_path / "out.mkv"
    options = replace(LARGEST, encoder="libx264", crf=0)
    result = convert_video(pan, run, out, options)
    assert 0 < result.swapped_frames < 90
    natives = [
        [t.native.to_ndarray() for t in read_frames(path) if t.native is not None]
        for path in (pan, out)
    ]
    # At crf 0 the encoder is lossless, so a frame passed on is the same to the bit.
    same = [np.array_equal(a, b) for a, b in zip(*natives, strict=True)]
    assert sum(same) == 90 - result.swapped_frames


def test_sound_is_copied(clips, run, tmp_path):
    source = cut_with_sound(clips / "hamilton.mp4", tmp_path / "cut.mp4", 15)
    out = tmp_path / "out.mp4"
    convert_video(source, run, out, LARGEST)
    packets = []
    for path in (source, out):
        with av.open(str(path)) as container:
            packets.append([bytes(p) for p in container.demux(audio=0) if p.size])
    assert len(packets[0]) > 10 and packets[0] == packets[1]


def cut_with_sound(source: Path, out: Path, frames: int) -> Path:
    """The first frames of a clip with its sound, by packets."""
    with av.open(str(source)) as clip, av.open(str(out), "w") as container:
        streams = {
            stream.index: container.add_stream_from_template(stream)
            for stream in (clip.streams.video[0], clip.streams.audio[0])
        }
        count = 0
        for packet in clip.demux(*[clip.streams[index] for index in streams]):
            count += packet.stream.type == "video"
            if packet.dts is None or count > frames:
                continue
            packet.stream = streams[packet.stream.index]
            container.mux(packet)
    return out


def test_pictures_and_folders(portrait, run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_picture(source / "face.png", portrait)
    write_picture(source / "gesicht 2.jpg", portrait)
    write_picture(source / "wall.png", GREY)
    config = replace(LARGEST, watermark="none")  # which differs from job to job
    result = convert_video(source, run, tmp_path / "out", config)
    assert (result.frames, result.swapped_frames) == (3, 2)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["face.png", "gesicht 2.jpg", "wall.png"]
    wall = (tmp_path / "out" / "wall.png").read_bytes()
    assert wall == (source / "wall.png").read_bytes()
    swapped = read_picture(tmp_path / "out" / "face.png")
    assert swapped.shape == portrait.shape and not np.array_equal(swapped, portrait)
    tags = read_picture_tags(tmp_path / "out" / "gesicht 2.jpg")
    assert tags["synthetic"] == "true"
    assert tags["source_sha256"] == hash_file(source / "gesicht 2.jpg")
    facts = json.loads(sidecar_path(tmp_path / "out").read_text())
    assert sorted(facts["source_sha256"]) == ["face.png", "gesicht 2.jpg"]
    one = convert_video(source / "face.png", run, tmp_path / "one.png", config)
    assert one.swapped_frames == 1
    # Alone and beside another face a network rounds differently, by a grey level.
    apart = np.abs(read_picture(tmp_path / "one.png") - swapped.astype(float))
    assert apart.mean() < 0.1 and (apart > 2).mean() < 0.01


def test_a_truncated_video_is_converted_as_far_as_it_goes(portrait, run, tmp_path):
    whole = write_pan(tmp_path / "whole.mkv", portrait)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 95 // 100])
    result = convert_video(cut, run, tmp_path / "out.mp4", LARGEST)
    assert 0 < result.frames < 12 and len(result.problems) == 1
    assert sum(1 for _ in read_frames(tmp_path / "out.mp4")) == result.frames


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".partial" in path.name]


def test_a_source_without_a_face_writes_nothing(run, tmp_path):
    grey = write_pan(
        tmp_path / "grey.mp4", np.full((300, 400, 3), 99, np.uint8), frames=3
    )
    with pytest.raises(ConvertError, match="no face in 3 frames"):
        convert_video(grey, run, tmp_path / "out.mp4", LARGEST)
    assert not (tmp_path / "out.mp4").exists() and not leftovers(tmp_path)
    (tmp_path / "walls").mkdir()
    write_picture(tmp_path / "walls" / "w.png", np.full((90, 90, 3), 9, np.uint8))
    with pytest.raises(ConvertError, match="no face"):
        convert_video(tmp_path / "walls", run, tmp_path / "out", LARGEST)
    assert not (tmp_path / "out").exists() and not leftovers(tmp_path)


def test_outputs_that_do_not_fit_are_refused(pan, portrait, run, tmp_path):
    picture = tmp_path / "face.png"
    write_picture(picture, portrait)
    taken = tmp_path / "taken.mp4"
    taken.write_text("mine")
    cases = [
        (pan, taken, "--overwrite"),
        (pan, tmp_path / "out.png", "video"),
        (picture, tmp_path / "out.mp4", "picture"),
        (pan, tmp_path, "--overwrite"),
        (tmp_path, picture, "folder"),
    ]
    for source, out, words in cases:
        with pytest.raises(ConvertError, match=words):
            convert_video(source, run, out, LARGEST)
    copy = tmp_path / "copy.mp4"
    shutil.copy(pan, copy)
    with pytest.raises(ConvertError, match="the source itself"):
        convert_video(copy, run, copy, replace(LARGEST, overwrite=True))
    assert taken.read_text() == "mine" and hash_file(copy) == hash_file(pan)
    convert_video(pan, run, taken, replace(LARGEST, overwrite=True))
    assert probe_video(taken).frames == 12


def test_bad_sources_and_runs(pan, run, tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        convert_video(tmp_path / "no.mp4", run, tmp_path / "out.mp4", LARGEST)
    with pytest.raises(RunError, match="no such folder"):
        convert_video(pan, tmp_path / "no run", tmp_path / "out.mp4", LARGEST)


def test_face_box_matches_what_changes(portrait):
    matrix = np.array([[1.0, 0, 10], [0, 1, 20]])
    assert face_box(portrait, matrix, 64) == (slice(0, 45), slice(0, 55))


def test_one_process_writes_an_output(pan, run, tmp_path):
    out = tmp_path / "out.mp4"
    with lock_output(out), pytest.raises(OutputBusyError, match=r"out\.mp4"):
        convert_video(pan, run, out, LARGEST)
    assert not out.exists() and not leftovers(tmp_path)


def test_a_folder_converted_again_holds_no_older_pictures(portrait, run, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("face.png", "wall [1].png"):
        write_picture(source / name, portrait if name == "face.png" else GREY)
    convert_video(source, run, out, LARGEST)
    (source / "wall [1].png").unlink()
    with pytest.raises(ConvertError, match="--overwrite"):
        convert_video(source, run, out, LARGEST)
    again = replace(LARGEST, overwrite=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ForeignFilesError, match=r"notes\.txt"):
        convert_video(source, run, out, again)
    assert len(list(out.iterdir())) == 3
    (out / "notes.txt").unlink()
    convert_video(source, run, out, again)
    assert [path.name for path in out.iterdir()] == ["face.png"]
