"""What the page asks for: projects, footage, faces, pictures, orders; bad input."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import make_face, write_face_set, write_pan
from studio_client import StudioClient, open_studio

from deepfake_jax.face_sets.face_set import read_record
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.studio.commands import order_train
from deepfake_jax.studio.projects import create_project, write_consent
from deepfake_jax.studio.roots import make_roots


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory):
    with open_studio(tmp_path_factory.mktemp("root")) as client:
        picture = cv2.resize(make_face(1), (320, 320))
        write_pan(client.root / "clip.mp4", picture, start=(0, 0), width=200)
        write_picture(client.root / "face.png", make_face(2))
        yield client


@pytest.fixture(scope="module")
def project(studio: StudioClient) -> Path:
    folder = studio.make_project("film")
    write_face_set(folder / "faces_a", 12)
    run = folder / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("batch_size: 4\n")
    lines = [{"step": n, "loss_a": 1 / n, "loss_b": 2 / n} for n in range(1, 2000)]
    judged = {"mae_a": 0.1, "mae_b": 0.1, "interval": 10}
    lines += [{"step": n, "score": n < 900, **judged} for n in range(400, 2000, 200)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(
        text.replace("true", "0.9").replace("false", "0")
    )
    for side, name in (("a", "clip.mp4"), ("b", "face.png")):
        facts = {"side": side, "path": str(studio.root / name)}
        assert studio.post("/api/footage", project=str(folder), **facts).status == 200
    return folder


def test_project_is_opened_where_it_was_left(studio: StudioClient, project: Path):
    studio.post("/api/left", project=str(project), view="train")
    assert studio.post("/api/open", project=str(project)).json()["view"] == "train"
    listed = studio.get("/api/start").json()["projects"]
    assert str(project) in [each["path"] for each in listed]
    facts = studio.get("/api/project", project=str(project)).json()
    assert facts["consent"]["by"] == "A. Tester" and facts["free"] > 0
    assert [each["name"] for each in facts["footage"]["a"]] == ["clip.mp4"]
    assert facts["sets"]["a"] == [{"path": "faces_a", "faces": 12, "trains": True}]
    assert [run["name"] for run in facts["runs"]] == ["one"]


def test_nothing_is_started_before_the_people_agreed(studio: StudioClient):
    folder = str(studio.make_project("unasked", agreed=False))
    order = {"kind": "train", "run": "x", "minutes": 1, "preset": "lite"}
    assert studio.post("/api/order", project=folder, **order).status == 403
    swap = {"source": str(studio.root / "clip.mp4"), "run": "x"}
    assert studio.post("/api/swap", project=folder, **swap).status == 403
    for wrong in ({}, {"agreed": True}, {"agreed": True, "who": " "}, {"who": "me"}):
        assert studio.post("/api/consent", project=folder, **wrong).status == 400
    assert not (Path(folder) / "consent.json").exists()


def test_what_was_confirmed_goes_along_with_a_training(tmp_path: Path):
    """So it stands in the run's folder, and its hash in what the run makes."""
    project = create_project(tmp_path, "film")
    for side in "ab":
        write_face_set(project.folder / f"faces_{side}", 2)
    asked = {"run": "one", "minutes": 1, "preset": "lite128"}
    roots = make_roots([tmp_path])
    silent = order_train(project, roots, asked)
    assert not any(flag.startswith("--consent") for flag in silent.command)
    said = write_consent(project, "A. Tester")
    told = order_train(project, roots, asked)
    assert f"--consent={said['text']} (A. Tester)" in told.command


@pytest.mark.parametrize(
    "kind, wrong, field",
    [
        ("extract", {"side": "c"}, "side"),
        ("extract", {"side": "a", "start": "1:90"}, "start"),
        ("extract", {"side": "a", "start": "x"}, "start"),
        ("extract", {"side": "a", "start": 3}, "start"),
        ("extract", {"side": "a", "start": "3", "end": "2"}, "end"),
        ("extract", {"side": "a", "every": 0}, "every"),
        ("extract", {"side": "a", "every": "2"}, "every"),
        ("train", {"run": "../x", "minutes": 1, "preset": "lite"}, "run"),
        ("train", {"run": "", "minutes": 1, "preset": "lite"}, "run"),
        ("train", {"run": "x", "minutes": 0, "preset": "lite"}, "minutes"),
        ("train", {"run": "x", "minutes": None, "preset": "lite"}, "minutes"),
        ("train", {"run": "x", "minutes": True, "preset": "lite"}, "minutes"),
        ("train", {"run": "x", "minutes": 1e9, "preset": "lite"}, "minutes"),
        ("train", {"run": "x", "minutes": 1, "preset": "--run"}, "preset"),
        ("train", {"run": "x", "minutes": 1, "preset": "lite"}, "b"),
        ("convert", {"run": "one", "source": "/etc/passwd"}, "source"),
        ("convert", {"run": "two", "source": "clip.mp4"}, "run"),
        ("convert", {"run": "one", "source": "clip.mp4", "name": "a/b"}, "name"),
        ("convert", {"run": "one", "source": "clip.mp4", "start": "-1"}, "start"),
        ("evaluate", {"run": None}, "run"),
        ("nonsense", {}, "kind"),
        (["train"], {}, "kind"),
    ],
)
def test_bad_fields_are_named(studio, project, kind, wrong, field):
    answer = studio.post("/api/order", project=str(project), kind=kind, **wrong)
    assert answer.status in (400, 403, 404), answer.body
    assert answer.json()["field"] == field
    assert len(answer.json()["error"]) > 20


@pytest.mark.parametrize(
    "looks, field",
    [
        ({"mask": "nothing"}, "mask"),
        ({"color": 3}, "color"),
        ({"erode": 0.9}, "erode"),
        ({"erode": "0.1"}, "erode"),
        ({"feather": -1}, "feather"),
        ({"detail": 0}, "detail"),
        ({"recall": 2}, "recall"),
        ({"to": "c"}, "to"),
        ({"person": "/etc/passwd"}, "person"),
        ({"save_faces": "/elsewhere/x"}, "save_faces"),
        ({"overwrite": True}, "overwrite"),
    ],
)
def test_bad_looks_are_named(studio, project, looks, field):
    order = {"run": "one", "source": "clip.mp4", "looks": looks}
    for address in ("/api/order", "/api/swap"):
        answer = studio.post(address, project=str(project), kind="convert", **order)
        assert answer.status == 400 and answer.json()["field"] == field, answer.body


def test_searching_again_asks_first(studio: StudioClient, project: Path):
    answer = studio.post("/api/order", project=str(project), kind="extract", side="a")
    assert answer.status == 409 and answer.json()["code"] == "faces_exist"


def test_videos_are_given_in_parts(studio: StudioClient):
    path = studio.root / "clip.mp4"
    whole = path.read_bytes()
    headers = {**studio.cookie, "range": "bytes=10-19"}
    answer = studio.ask("GET", f"/api/media?path={path}", headers)
    assert answer.status == 206 and answer.body == whole[10:20]
    assert answer.headers["content-type"] == "video/mp4"
    answer = studio.ask(
        "GET", f"/api/media?path={path}", {**headers, "range": "bytes=-5"}
    )
    assert answer.body == whole[-5:]
    headers["range"] = f"bytes={len(whole) + 5}-"
    assert studio.ask("GET", f"/api/media?path={path}", headers).status == 416


def test_footage_says_what_it_is_and_shows_a_frame(studio: StudioClient, project: Path):
    query = {"project": str(project), "path": str(studio.root / "clip.mp4")}
    facts = studio.get("/api/probe", **query).json()
    assert (facts["width"], facts["height"], facts["frames"]) == (200, 200, 12)
    assert facts["plays"] and 20 < facts["rate"] <= 25
    for time in ("0", "0.3", "99"):
        answer = studio.get("/api/frame", **query, time=time)
        assert answer.headers["content-type"] == "image/jpeg", answer.body
        shown = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape == (200, 200, 3)
    for time in ("-1", "x", "nan", "inf", ""):
        assert studio.get("/api/frame", **query, time=time).status == 400
    (studio.root / "broken.mp4").write_bytes(b"no video")
    answer = studio.get("/api/probe", path=str(studio.root / "broken.mp4"))
    assert answer.status == 400 and "broken.mp4" in answer.json()["error"]


def test_a_dead_worker_is_started_anew(studio: StudioClient):
    import os
    import signal

    path = str(studio.root / "clip.mp4")
    assert studio.get("/api/probe", path=path).status == 200
    process = studio.studio.reader.process
    assert process is not None
    os.kill(process, signal.SIGKILL)
    answers = [studio.get("/api/probe", path=path).status for _ in range(2)]
    assert answers[-1] == 200


def test_faces_come_as_columns_and_small_pictures(studio: StudioClient, project: Path):
    query = {"project": str(project), "set": "faces_a"}
    facts = studio.get("/api/faces", **query).json()
    files = facts["columns"]["file"]
    assert len(files) == 12 and facts["dropped"] == [False] * 12
    assert {len(column) for column in facts["columns"].values()} == {12}
    answer = studio.get("/api/thumb", **query, file=files[0])
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    small = list((project / ".studio" / "thumbs").rglob("*.jpg"))
    before = small[0].stat().st_mtime_ns
    assert studio.get("/api/thumb", **query, file=files[0]).body == answer.body
    assert small[0].stat().st_mtime_ns == before
    assert studio.get("/api/face", **query, file=files[0]).body.startswith(b"\x89PNG")
    for wrong in ("", "../x", "faces.jsonl", "nothing.png"):
        assert studio.get("/api/face", **query, file=wrong).status == 404


def test_faces_are_left_out_and_brought_back(studio: StudioClient, project: Path):
    asked = {"project": str(project), "set": "faces_a"}
    files = [record.file for record in read_record(project / "faces_a")[1]]
    answer = studio.post("/api/drop", **asked, files=files[:3])
    assert answer.json() == {"changed": 3}
    answer = studio.post("/api/drop", **asked, query="frame>=10")
    assert answer.json() == {"changed": 2}
    assert len(read_record(project / "faces_a")[1]) == 7
    facts = studio.get("/api/faces", **asked).json()
    assert sum(facts["dropped"]) == 5 and facts["columns"]["file"] == files
    assert studio.post("/api/restore", **asked, query="frame<2").json()["changed"] == 2
    assert studio.post("/api/restore", **asked, files=files).json()["changed"] == 3
    assert [r.file for r in read_record(project / "faces_a")[1]] == files
    for wrong in ({"query": "yaw>"}, {"query": "import os"}, {}, {"files": [3]}):
        answer = studio.post("/api/drop", **asked, **wrong)
        assert answer.status == 400 and answer.json()["error"]
    assert len(read_record(project / "faces_a")[1]) == 12


def test_people_are_parted_and_joined(studio: StudioClient, project: Path):
    folder = studio.make_project("people")
    write_face_set(folder / "faces_b", 6)
    files = [record.file for record in read_record(folder / "faces_b")[1]]
    asked = {"project": str(folder), "set": "faces_b", "files": files[:2]}
    answer = studio.post("/api/move", **asked, person=None)
    assert answer.json() == {"set": "faces_b/person_2"}, answer.body
    one, two = (folder / "faces_b" / f"person_{number}" for number in (1, 2))
    assert [r.file for r in read_record(two)[1]] == files[:2]
    assert {r.person for r in read_record(two)[1]} == {2}
    assert [r.file for r in read_record(one)[1]] == files[2:]
    chosen = {"project": str(folder), "side": "b", "set": "faces_b/person_2"}
    assert studio.post("/api/choose", **chosen).status == 200
    sets = studio.get("/api/project", project=str(folder)).json()["sets"]["b"]
    assert [each["trains"] for each in sets] == [False, True]
    asked = {"project": str(folder), "set": "faces_b/person_2", "files": files[:2]}
    assert studio.post("/api/move", **asked, person=2).status == 400
    assert studio.post("/api/move", **asked, person=1).status == 200
    header, back = read_record(one)
    assert [r.file for r in back] == files and {r.person for r in back[:2]} == {1}
    assert all((one / name).is_file() for name in files)


def test_a_run_is_a_thousand_points_and_a_verdict(studio, project):
    facts = studio.get("/api/run", project=str(project), run="one").json()
    assert len(facts["losses"]["step"]) == 1200 and facts["step"] == 1999
    assert facts["verdict"] == {"state": "level", "best": 400, "since": 7}
    assert facts["preview"] is None
    assert studio.get("/api/preview", project=str(project), run="one").status == 404


def test_results_are_listed_with_what_they_say_of_themselves(studio, project):
    folder = project / "results"
    folder.mkdir()
    write_picture(folder / "a face.png", make_face(3))
    sidecar = folder / "a face.png.json"
    sidecar.write_text('{"notice": "Synthetic media", "tool": "deepfake-jax"}')
    (folder / "notes.txt").write_text("mine")
    facts = studio.get("/api/project", project=str(project)).json()["results"]
    assert [each["name"] for each in facts] == ["a face.png"]
    assert facts[0]["sidecar"]["notice"] == "Synthetic media"
    query = {"project": str(project), "name": "a face.png"}
    assert studio.get("/api/result", **query).body.startswith(b"\x89PNG")
    saved = studio.get("/api/result", **query, download="1")
    assert "attachment" in saved.headers["content-disposition"]
    for wrong in ("notes.txt", "../studio.json", "a face.png.json", "", ".png"):
        query["name"] = wrong
        assert studio.get("/api/result", **query).status in (400, 404)


def test_events_tell_what_changes(studio: StudioClient, project: Path):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=30)
    connection.request("GET", f"/api/events?project={project}", headers=studio.cookie)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    first = json.loads(answer.readline().removeprefix(b"data: "))
    assert first["jobs"] == [] and "run one" in first["versions"]
    (project / "runs" / "one" / "preview.png").write_bytes(b"new")
    answer.readline()
    second = json.loads(answer.readline().removeprefix(b"data: "))
    assert first["versions"]["run one"] != second["versions"]["run one"]
    (project / "runs" / "one" / "preview.png").unlink()
    connection.close()
