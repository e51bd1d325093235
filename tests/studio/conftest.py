"""A browser, a studio with a project, and a page: each module has its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from footage import make_face, write_face_set, write_pan
from studio_browser import open_chromium, open_page
from studio_client import StudioClient, open_studio


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory):
    with open_studio(tmp_path_factory.mktemp("root")) as client:
        write_pan(client.root / "clip.mp4", make_face(1), start=(0, 0), width=160)
        yield client


@pytest.fixture(scope="module")
def project(studio: StudioClient) -> Path:
    """Footage, faces, a run and a result, all drawn."""
    folder = studio.make_project("film")
    path = str(studio.root / "clip.mp4")
    studio.post("/api/footage", project=str(folder), side="a", path=path)
    write_face_set(folder / "faces_a", 30)
    write_face_set(folder / "faces_b" / "person_1", 20, tint=(150, 170, 200))
    write_face_set(folder / "faces_b" / "person_2", 10, tint=(120, 170, 120))
    run = folder / "runs" / "run 1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("batch_size: 4\n")
    lines = [{"step": n, "loss_a": 1 / n, "loss_b": 2 / n} for n in range(1, 200)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (folder / "results").mkdir()
    write_pan(folder / "results" / "out.mp4", make_face(3), start=(0, 0), width=160)
    return folder


@pytest.fixture
def page(browser: Any, studio: StudioClient):
    with open_page(browser, studio, viewport={"width": 1280, "height": 800}) as made:
        yield made
        made.check()
