"""Extraction from real footage: what is kept, what is recorded, what is refused."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from footage import write_face_set, write_pan

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import ExtractError, extract_faces
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import load_faces
from deepfake_jax.files import ForeignFilesError
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import PictureError, write_picture
from deepfake_jax.media.sources import SourceError
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.output_lock import OutputBusyError, lock_output

pytestmark = pytest.mark.usefixtures("detector_weights")


@pytest.fixture(scope="module")
def pan(portrait, tmp_path_factory) -> Path:
    return write_pan(tmp_path_factory.mktemp("pan") / "ein Gesicht é.mp4", portrait)


def test_every_frame_gives_a_face_with_its_record(pan, tmp_path):
    result = extract_faces(pan, tmp_path / "faces")
    assert (result.frames, result.faces) == (12, 12)
    (person,) = result.persons
    assert (person.number, person.faces) == (1, 12)
    assert person.folder == str(tmp_path / "faces")
    assert result.problems == ()
    faces = load_faces(tmp_path / "faces")
    assert faces.faces.shape == (12, 256, 256, 3)
    for index, record in enumerate(faces.records):
        assert record.source == pan.name
        assert record.frame == index
        assert record.time == pytest.approx(index / 25, abs=1e-6)
        assert 70 < record.box[2] < 110
        matrix, landmarks = map(np.array, (record.frame_to_face, record.landmarks))
        landmarks = apply_affine(matrix, landmarks)[27:48]
        # A similarity cannot put the nose and eyes of one on the mean face exactly.
        mean = template_landmarks(count=68)[27:48]
        np.testing.assert_allclose(landmarks, mean, atol=13)
        assert record.person == 1 and record.track == 0
    # The picture pans left by two pixels a frame; the detector's boxes jump by as much.
    lefts = [record.box[0] for record in faces.records]
    assert np.mean(np.diff(lefts)) == pytest.approx(-2, abs=0.5)
    source = faces.header["sources"][0]
    assert source["name"] == pan.name and len(source["sha256"]) == 64
    assert len(faces.header["identity"]) == 128


def test_the_record_names_no_path_of_this_machine(pan, tmp_path):
    extract_faces(pan, tmp_path / "faces")
    assert str(tmp_path) not in (tmp_path / "faces" / "faces.jsonl").read_text()


def test_every_nth_frame(pan, tmp_path):
    result = extract_faces(pan, tmp_path / "faces", ExtractConfig(every=5))
    assert (result.frames, result.faces) == (3, 3)
    frames = [record.frame for record in load_faces(tmp_path / "faces").records]
    assert frames == [0, 5, 10]


@pytest.fixture(scope="module")
def singer(clips, tmp_path_factory) -> Path:
    """A frame of the clip's close shot, where the singer is alone."""
    path = tmp_path_factory.mktemp("singer") / "singer.png"
    for timed in read_frames(clips / "hamilton.mp4"):
        if timed.index == 180:
            write_picture(path, timed.frame)
            break
    return path


def test_one_person_is_kept_of_several_and_all_can_be(clips, singer, tmp_path):
    clip = clips / "hamilton.mp4"
    options = ExtractConfig(every=10, min_track=1, person=str(singer))
    result = extract_faces(clip, tmp_path / "one", options)
    assert [p.folder for p in result.persons] == [str(tmp_path / "one")]
    assert result.dropped["other person"] > 0
    frames = [record.frame for record in load_faces(tmp_path / "one").records]
    # The singer's close shot; from 211 on the clip shows the audience.
    assert set(range(90, 211, 10)) <= set(frames)
    assert max(frames) <= 210
    options = ExtractConfig(every=10, min_track=1, person="all")
    everybody = extract_faces(clip, tmp_path / "all", options)
    assert everybody.faces == result.faces + result.dropped["other person"]
    assert "identity" not in load_faces(tmp_path / "all").header
    options = ExtractConfig(every=10, min_track=1)
    each = extract_faces(clip, tmp_path / "each", options)
    assert sum(person.faces for person in each.persons) == everybody.faces
    assert (tmp_path / "each" / "people.png").exists()
    first = load_faces(tmp_path / "each" / "person_1")
    assert [record.frame for record in first.records] == frames
    with pytest.raises(FaceSetError, match="several people"):
        load_faces(tmp_path / "each")


def test_a_person_who_is_not_there(pan, singer, tmp_path):
    with pytest.raises(ExtractError, match="looks like the --person"):
        extract_faces(pan, tmp_path / "faces", ExtractConfig(person=str(singer)))
    assert_untouched(tmp_path)


def test_folders_of_pictures_of_all_kinds(portrait, tmp_path):
    folder = tmp_path / "some pictures"
    folder.mkdir()
    write_picture(folder / "a b.png", portrait)
    write_picture(folder / "ü.jpg", portrait)
    (folder / "notes.txt").write_text("not a picture")
    result = extract_faces([folder, folder / "ü.jpg"], tmp_path / "faces")
    assert result.faces == 3


def test_a_damaged_picture_among_others_is_a_problem_not_the_end(portrait, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_picture(folder / "good.png", portrait)
    (folder / "bad.png").write_bytes(b"no picture")
    result = extract_faces(folder, tmp_path / "faces")
    assert result.faces == 1
    assert len(result.problems) == 1 and "bad.png" in result.problems[0]


def test_a_truncated_video_gives_what_it_has(pan, tmp_path):
    cut = tmp_path / "cut.mkv"
    mkv = write_pan_as_mkv(pan, tmp_path)
    cut.write_bytes(mkv.read_bytes()[: mkv.stat().st_size * 95 // 100])
    result = extract_faces(cut, tmp_path / "faces")
    assert 0 < result.faces < 12
    assert "cut.mkv" in result.problems[0]


def write_pan_as_mkv(pan: Path, folder: Path) -> Path:
    from deepfake_jax.media.frame_writer import OutputSpec
    from deepfake_jax.media.media_probe import probe_video
    from deepfake_jax.media.video_reader import read_frames
    from deepfake_jax.media.video_writer import VideoWriter

    info = probe_video(pan)
    path = folder / "whole.mkv"
    writer = VideoWriter(
        OutputSpec(
            path=path,
            width=info.width,
            height=info.height,
            frame_rate=info.frame_rate,
            time_base=info.time_base,
            crf=10,
        )
    )
    with writer:
        for timed in read_frames(pan):
            writer.write(timed.frame, pts=timed.pts)
    return path


def assert_untouched(folder: Path) -> None:
    assert not (folder / "faces").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_no_face_at_all(tmp_path):
    write_picture(tmp_path / "grey.png", np.full((200, 200, 3), 127, np.uint8))
    with pytest.raises(ExtractError, match="no face found in 1 frame of grey.png"):
        extract_faces(tmp_path / "grey.png", tmp_path / "faces")
    assert_untouched(tmp_path)


def test_faces_below_the_least_size_do_not_count(pan, tmp_path):
    with pytest.raises(ExtractError, match="--min-size"):
        extract_faces(pan, tmp_path / "faces", ExtractConfig(min_size=400))
    assert_untouched(tmp_path)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        extract_faces(tmp_path / "nothing.mp4", tmp_path / "faces")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        extract_faces(tmp_path / "empty", tmp_path / "faces")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(VideoError, match="text.mp4"):
        extract_faces(tmp_path / "text.mp4", tmp_path / "faces")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(PictureError, match="text.png"):
        extract_faces(tmp_path / "text.png", tmp_path / "faces")
    assert_untouched(tmp_path)


def test_an_existing_set_is_replaced_only_when_asked(portrait, tmp_path):
    write_picture(tmp_path / "one.png", portrait)
    extract_faces(tmp_path / "one.png", tmp_path / "faces")
    before = (tmp_path / "faces" / "faces.jsonl").read_text()
    with pytest.raises(ExtractError, match="--overwrite"):
        extract_faces(tmp_path / "one.png", tmp_path / "faces")
    assert (tmp_path / "faces" / "faces.jsonl").read_text() == before
    write_picture(tmp_path / "two.png", portrait)
    both = [tmp_path / "one.png", tmp_path / "two.png"]
    extract_faces(both, tmp_path / "faces", ExtractConfig(overwrite=True))
    lines = (tmp_path / "faces" / "faces.jsonl").read_text().splitlines()
    assert len(lines) == 3 and json.loads(lines[0])["version"] == 3


def test_a_folder_of_something_else_is_never_replaced(portrait, tmp_path):
    write_picture(tmp_path / "one.png", portrait)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("do not touch")
    with pytest.raises(ExtractError, match="no face set"):
        extract_faces(
            tmp_path / "one.png", tmp_path / "thesis", ExtractConfig(overwrite=True)
        )
    assert (tmp_path / "thesis" / "chapter.txt").exists()


@pytest.mark.skipif(find_spec("dlib") is not None, reason="dlib is installed")
def test_landmarks_that_are_missing_leave_nothing_behind(portrait, tmp_path):
    write_picture(tmp_path / "one.png", portrait)
    with pytest.raises(ImportError, match="--landmarks dlib needs dlib.*mesh"):
        extract_faces(
            tmp_path / "one.png", tmp_path / "faces", ExtractConfig(landmarks="dlib")
        )
    assert_untouched(tmp_path)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_sets_and_other_things_is_never_replaced(
    portrait, tmp_path, overwrite
):
    """A project's folder holds a set and would pass for several people's sets."""
    write_picture(tmp_path / "one.png", portrait)
    project = tmp_path / "project"
    write_face_set(project / "faces_a", 2)
    write_face_set(project / "person_1", 2)
    (project / "notes.txt").write_text("mine")
    before = snapshot(project)
    options = ExtractConfig(overwrite=overwrite)
    with pytest.raises(ForeignFilesError, match=r"faces_a/.*notes\.txt"):
        extract_faces(tmp_path / "one.png", project, options)
    assert snapshot(project) == before
    for stranger in ("person_1/notes.txt", "person_1/holiday.png", "portrait.png"):
        (project / "notes.txt").unlink(missing_ok=True)
        shutil.rmtree(project / "faces_a", ignore_errors=True)
        (project / stranger).write_bytes(b"mine")
        before = snapshot(project)
        with pytest.raises(ForeignFilesError, match=Path(stranger).name):
            extract_faces(tmp_path / "one.png", project, options)
        assert snapshot(project) == before
        (project / stranger).unlink()


def test_outputs_that_could_not_be_put_there_are_refused_at_once(
    portrait, tmp_path, monkeypatch
):
    write_picture(tmp_path / "one.png", portrait)
    faces = write_face_set(tmp_path / "faces", 2)
    before = snapshot(faces)
    options = ExtractConfig(overwrite=True)
    # A set extracted anew from its own pictures would remove its source.
    with pytest.raises(ExtractError, match="which is a source"):
        extract_faces(faces, faces, options)
    monkeypatch.chdir(faces)
    for out in (Path("."), Path(".."), faces):
        with pytest.raises(ExtractError, match="the folder that you are in"):
            extract_faces(tmp_path / "one.png", out, options)
    assert snapshot(faces) == before and not list(tmp_path.glob(".*"))


def test_a_link_stays_and_its_folder_is_replaced(portrait, tmp_path):
    write_picture(tmp_path / "one.png", portrait)
    write_face_set(tmp_path / "faces", 2)
    (tmp_path / "link").symlink_to("faces")
    extract_faces(
        tmp_path / "one.png", tmp_path / "link", ExtractConfig(overwrite=True)
    )
    assert (tmp_path / "link").is_symlink()
    assert len(load_faces(tmp_path / "faces").faces) == 1


def test_of_two_extractions_at_once_one_is_refused(portrait, tmp_path):
    write_picture(tmp_path / "one.png", portrait)
    with lock_output(tmp_path / "faces"):
        with pytest.raises(OutputBusyError, match="another process"):
            extract_faces(tmp_path / "one.png", tmp_path / "faces")
    assert extract_faces(tmp_path / "one.png", tmp_path / "faces").faces == 1


def test_a_part_without_frames_is_named(pan, tmp_path):
    options = ExtractConfig(start="30", end="1:00")
    with pytest.raises(
        ExtractError, match="no frame is shown from 30 to 1:00.*--start"
    ):
        extract_faces(pan, tmp_path / "faces", options)
    assert_untouched(tmp_path)


def test_damaged_frames_stay_out_of_a_set_and_are_told(portrait, tmp_path):
    """From the damage to the next key frame; which these are, PyAV tells."""
    clip = write_pan(tmp_path / "a.mp4", portrait, frames=30)
    with av.open(clip) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    start, size = packets[20].pos or 0, packets[20].size
    data = bytearray(clip.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, size // 2, np.uint8).tobytes()
    data[start + size // 3 : start + size // 3 + len(noise)] = noise
    clip.write_bytes(data)
    result = extract_faces(clip, tmp_path / "faces")
    frames = [record.frame for record in load_faces(tmp_path / "faces").records]
    lost = 30 - result.frames
    (problem,) = [p for p in result.problems if "damaged and were left out" in p]
    assert f"{30 - len(frames) - lost} of its frames" in problem
    first = frames[-1] + 1
    assert frames == list(range(first)) and 14 <= first <= 20


def test_interlaced_footage_is_said(portrait, tmp_path, caplog):
    frames = [f.frame for f in read_frames(write_pan(tmp_path / "p.mp4", portrait))]
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "5"}
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            native = av.VideoFrame.from_ndarray(frame, "rgb24")
            container.mux(stream.encode(native))
        container.mux(stream.encode(None))
    assert extract_faces(tmp_path / "a.mp4", tmp_path / "faces").faces == 12
    (said,) = [r.message for r in caplog.records if "interlaced" in r.message]
    assert said.startswith("a.mp4")
