"""Requests that must be refused, each by itself, and those that must not."""

import os
from pathlib import Path

import pytest
from studio_client import TOKEN, StudioClient, open_studio

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory):
    with open_studio(tmp_path_factory.mktemp("root")) as client:
        yield client


def test_address_with_token_becomes_a_cookie_and_leaves_the_address_bar(studio):
    answer = studio.ask("GET", f"/?token={TOKEN}")
    assert answer.status == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert studio.get("/").status == 200


@pytest.mark.parametrize("address", ["/", "/page/main.js", "/api/start", "/api/media"])
@pytest.mark.parametrize("token", ["", "?token=", "?token=x", f"?token={TOKEN}x"])
def test_nothing_is_given_without_the_cookie(studio, address, token):
    assert studio.ask("GET", address + token).status == 403


@pytest.mark.parametrize("cookie", ["x", "", "\u00e9", f"{TOKEN}x", TOKEN[:-1]])
def test_a_wrong_cookie_is_refused(studio, cookie):
    name = studio.cookie["cookie"].partition("=")[0]
    headers = {"cookie": f"{name}={cookie}".encode()}
    assert studio.ask("GET", "/api/start", headers).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8300",
        "127.0.0.1",
        "127.0.0.1:80",
        "",
        "127.0.0.1:80.x",
    ],
)
def test_foreign_hosts_are_refused_even_with_the_token(studio, host):
    for address in ("/", f"/?token={TOKEN}", "/api/start"):
        answer = studio.ask("GET", address, {"host": host, **studio.cookie})
        assert answer.status == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1"]
)
def test_foreign_origins_are_refused(studio, origin):
    headers = {"origin": origin, **JSON, **studio.cookie}
    for method in ("GET", "POST"):
        answer = studio.ask(method, "/api/create", headers, "{}")
        assert answer.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_from_other_pages_are_refused(studio, site):
    headers = {"sec-fetch-site": site, **JSON, **studio.cookie}
    assert studio.ask("GET", "/api/start", headers).status == 403
    answer = studio.ask("POST", "/api/create", headers, "{}")
    assert answer.status == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)
def test_only_json_is_taken(studio, kind):
    headers = {"content-type": kind, **studio.cookie}
    answer = studio.ask("POST", "/api/create", headers, '{"name":"x"}')
    assert answer.status == 415
    assert not (studio.root / "x").exists()


@pytest.mark.parametrize("body", ["", "[]", "nonsense", '"text"', "[" * 10_000])
def test_what_is_no_json_object_is_refused(studio, body):
    headers = {**JSON, **studio.cookie}
    answer = studio.ask("POST", "/api/create", headers, body)
    assert answer.status == 400 and answer.json()["error"]


def test_long_requests_are_refused(studio):
    assert studio.post("/api/create", name="x" * 1_100_000).status == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(studio, method):
    assert studio.ask(method, "/api/create", studio.cookie).status == 405


def test_reading_requests_change_nothing(studio):
    for address in ("/api/create", "/api/order", "/api/stop", "/api/drop"):
        assert studio.get(address).status == 404


def test_every_answer_has_the_headers_that_keep_others_out(studio):
    for answer in (studio.get("/"), studio.get("/api/start"), studio.get("/nowhere")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def secrets(studio: StudioClient, tmp_path: Path) -> StudioClient:
    """A folder outside with a picture, links that lead there, and hidden files."""
    (tmp_path / "outside.png").write_bytes(b"secret")
    (tmp_path / "id_rsa").write_bytes(b"secret")
    root = studio.root
    for name, target in (("link.png", "outside.png"), ("way", ".")):
        if not (root / name).is_symlink():
            os.symlink(tmp_path / target, root / name)
    (root / ".hidden").mkdir(exist_ok=True)
    (root / ".hidden" / "a.png").write_bytes(b"secret")
    (root / "notes.txt").write_bytes(b"secret")
    (root / "page.svg").write_bytes(b"<svg onload='alert(1)'/>")
    (root / "page.html").write_bytes(b"<script>alert(1)</script>")
    return studio


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "../../../../etc/passwd",
            "..%2f..%2fetc/passwd",
            "/proc/self/mem",
        ),
        *("link.png", "way/outside.png", "way/id_rsa", ".hidden/a.png", "notes.txt"),
        *("page.svg", "page.html", "", " ", "\0", "a\0.png", "x" * 5000, "."),
    ],
)
@pytest.mark.parametrize("address", ["/api/media", "/api/probe", "/api/folder"])
def test_no_path_leads_out_of_the_folders(secrets, address, path):
    for given in (path, str(secrets.root / path) if "\0" not in path else path):
        answer = secrets.get(address, path=given)
        assert b"secret" not in answer.body
        listed = address == "/api/folder" and given in ("", " ", ".", str(secrets.root))
        if not listed and not (
            address == "/api/folder" and given.endswith(("/", "/."))
        ):
            assert answer.status in (400, 403, 404), (given, answer.body)


def test_folders_show_no_links_out_and_nothing_hidden(secrets):
    listed = secrets.get("/api/folder", path=str(secrets.root)).json()
    names = [each["name"] for each in (*listed["folders"], *listed["files"])]
    assert not {"way", "link.png", ".hidden", "notes.txt", "page.svg"} & set(names)


@pytest.mark.parametrize(
    "address", ["/api/project", "/api/faces", "/api/run", "/api/log"]
)
def test_projects_outside_are_refused(studio, tmp_path, address):
    for path in (str(tmp_path), "/", "..", str(studio.root / "nothing"), ""):
        answer = studio.get(address, project=path, set="faces_a", run="x", job="x")
        assert answer.status in (400, 403, 404)


def test_names_of_projects_make_no_paths(studio):
    for name in ("../x", "/x", "a/b", ".x", "", " ", "x" * 65, "-x", "a\0b", 3, None):
        answer = studio.post("/api/create", name=name)
        assert answer.status == 400 and answer.json()["field"] == "name"


def test_a_project_whose_folders_are_links_out_is_refused(studio, tmp_path):
    folder = studio.make_project("linked")
    (tmp_path / "faces.jsonl").write_text("{}\n")
    (tmp_path / "a.png").write_bytes(b"secret")
    os.symlink(tmp_path, folder / "faces_a")
    for address in ("/api/faces", "/api/thumb", "/api/face"):
        answer = studio.get(address, project=str(folder), set="faces_a", file="a.png")
        assert answer.status in (400, 403, 404) and b"secret" not in answer.body
    runs = folder / "runs"
    runs.mkdir()
    (tmp_path / "config.yaml").write_text("batch_size: 4\n")
    (tmp_path / "preview.png").write_bytes(b"secret")
    os.symlink(tmp_path, runs / "out")
    answer = studio.get("/api/preview", project=str(folder), run="out")
    assert answer.status == 403
