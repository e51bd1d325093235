"""Sources of all kinds: folders of pictures, people, films that no browser plays."""

import shutil
import time
from pathlib import Path

import av
import pytest
from footage import make_face, write_face_set
from studio_client import StudioClient, open_studio
from videos import make_video

from deepfake_jax.media.pictures import write_picture
from deepfake_jax.studio.commands import order_convert, read_looks
from deepfake_jax.studio.projects import Project, create_project
from deepfake_jax.studio.results import find_result, list_results
from deepfake_jax.studio.roots import make_roots
from deepfake_jax.studio.texts import RequestError

_X265 = {"x265-params": "keyint=8:bframes=2:log-level=none"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two people on side A, a run, and a folder of three pictures."""
    made = create_project(tmp_path, "film")
    for number in (1, 2):
        write_face_set(made.folder / "faces_a" / f"person_{number}", 2 + number)
    (made.folder / "runs" / "one").mkdir(parents=True)
    (made.folder / "runs" / "one" / "config.yaml").write_text("batch_size: 4\n")
    for number in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        write_picture(tmp_path / "photos" / f"{number}.jpg", make_face(number))
    return made


def test_a_folder_of_pictures_is_swapped_into_a_folder(project: Project, tmp_path):
    roots = make_roots([tmp_path])
    asked = {"source": str(tmp_path / "photos"), "run": "one"}
    order = order_convert(project, roots, asked)
    out = project.folder / "results" / "photos swapped"
    assert order.command[:2] == ["convert", str(tmp_path / "photos")]
    assert order.command[order.command.index("--out") + 1] == str(out)
    assert order.facts["folder"] and order.facts["out"] == out.name
    shutil.copytree(tmp_path / "photos", out)
    (out.with_name(f"{out.name}.json")).write_text('{"tool": "deepfake-jax"}')
    (project.folder / "results" / "empty").mkdir()
    (found,) = list_results(project)
    assert (found["name"], found["kind"]) == (out.name, "folder")
    assert found["size"] > 1000 and found["sidecar"] == {"tool": "deepfake-jax"}
    assert find_result(project, out.name) == out
    for wrong in ("empty", "photos", "..", "../photos"):
        with pytest.raises(RequestError):
            find_result(project, wrong)
    assert order_convert(project, roots, asked).facts["out"] == f"{out.name} 2"


def test_a_person_is_meant_by_one_of_the_projects_sets(project: Project, tmp_path):
    roots = make_roots([tmp_path])

    def ask(person: object) -> dict:
        return read_looks(project, roots, {"looks": {"person": person}})

    picture = Path(ask("faces_a/person_2")["person"])
    assert picture.parent == project.folder / "faces_a" / "person_2"
    assert picture.is_file()
    assert ask("2") == {"person": "2"} and ask("auto") == {}
    for wrong in ("faces_a", "faces_a/person_3", "../x", "/etc/passwd", 2, None):
        with pytest.raises(RequestError) as error:
            ask(wrong)
        assert error.value.field == "person"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory):
    with open_studio(tmp_path_factory.mktemp("root")) as client:
        make_video(
            client.root / "phone.mkv",
            codec="libx265",
            pixel_format="yuv420p10le",
            pts=[24 * index for index in range(24)],
            sound="libopus",
            options=_X265,
        )
        yield client


def test_what_no_browser_plays_gets_a_copy_that_does(studio: StudioClient):
    folder = str(studio.make_project("phone"))
    query = {"project": folder, "path": str(studio.root / "phone.mkv")}
    facts = studio.get("/api/probe", **query).json()
    assert (facts["codec"], facts["plays"], facts["proxy"]) == ("hevc", False, False)
    assert studio.get("/api/played", **query).status == 404
    assert studio.post("/api/proxy", **query).status == 200
    until = time.monotonic() + 240
    while not studio.get("/api/probe", **query).json()["proxy"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    answer = studio.get("/api/played", **query)
    assert answer.headers["content-type"] == "video/mp4"
    copy = studio.root / "copy.mp4"
    copy.write_bytes(answer.body)
    with av.open(str(copy)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"
        assert len(list(container.decode(video))) == 24
    (studio.root / "none.mkv").write_bytes(b"no video")
    query["path"] = str(studio.root / "none.mkv")
    assert studio.get("/api/played", **query).status == 404
