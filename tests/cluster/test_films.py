"""Films in chunks, whoever does them: the same to the bit as in one process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exported_runs import make_run
from footage import write_pan

from deepfake_jax.cluster.convert_films import (
    _limit_workers,
    convert_films,
    convert_share,
    join_films,
    parse_share,
)
from deepfake_jax.cluster.film_plan import PLAN_NAME, read_plan
from deepfake_jax.cluster.films import FilmSteps
from deepfake_jax.cluster.job import Schedule, run_job
from deepfake_jax.cluster.job_file import list_films, write_job
from deepfake_jax.cluster.local_pool import LocalPool
from deepfake_jax.conversion.convert import convert_video
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.video_reader import read_frames

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.usefixtures("detector_weights")

# Lossless, so that pictures can be compared; and no process has to import JAX.
CONFIG = ConvertConfig(person="largest", backend="onnx", encoder="ffv1")
FRAMES, MOST = 76, 32
KILLS = int(os.environ.get("DEEPFAKE_JAX_KILLS", "1"))  # of workers, at most 6


@pytest.fixture(scope="module")
def made(portrait, faces, tmp_path_factory) -> dict[str, Path]:
    """An exported run, a film, and what one process makes of it."""
    from deepfake_jax.export.exporter import export_trained

    folder = tmp_path_factory.mktemp("films")
    run, film = folder / "run.onnx", folder / "film.mp4"
    export_trained(make_run(), folder / "run", run)
    write_pan(film, portrait, frames=FRAMES)
    out = folder / "one.mkv"
    convert_video(film, run, out, CONFIG)
    return {"run": run, "film": film, "one": out}


def read_planes(path: Path) -> Iterator[Any]:
    for timed in read_frames(path):
        assert timed.native is not None
        yield timed.pts, timed.duration, [bytes(plane) for plane in timed.native.planes]


def assert_same(one: Path, other: Path) -> None:
    pairs = list(zip(read_planes(one), read_planes(other), strict=True))
    assert len(pairs) == FRAMES
    for first, second in pairs:
        assert first == second


def test_a_short_video_starts_no_more_workers_than_chunks(made, tmp_path):
    out = tmp_path / "out.mkv"
    films = list_films(made["film"], made["run"], out, CONFIG, most=MOST)
    assert _limit_workers(8, films, MOST) == 3 and _limit_workers(2, films, MOST) == 2
    assert _limit_workers(8, films, 2000) == 1
    gone = [replace(film, source=tmp_path / "gone.mp4") for film in films]
    assert _limit_workers(8, gone, MOST) == 8  # the scan will say what is wrong


@pytest.mark.parametrize("harm", [b"", b"{", b"[1]", b'{"facts": {"version": "0"}}'])
def test_a_damaged_plan_is_none(made, tmp_path, harm):
    out = tmp_path / "out.mkv"
    (film,) = list_films(made["film"], made["run"], out, CONFIG, most=MOST)
    film.folder.mkdir(parents=True)
    (film.folder / PLAN_NAME).write_bytes(harm)
    assert read_plan(film) is None


def test_a_worker_is_killed_and_the_pictures_are_those_of_one(made, tmp_path):
    out = tmp_path / "out.mkv"
    films = list_films(made["film"], made["run"], out, CONFIG, most=MOST)
    killed = []

    class Killing(LocalPool):
        def wait(self, seconds: float) -> Any:
            for step, many in self.busy.items():
                # A step may lose three workers.
                some = step.kind == "convert" and step.number != 0
                if some and killed.count(step) < 3 and len(killed) < KILLS:
                    time.sleep(0.1 * len(killed) / KILLS)
                    killed.append(step)
                    os.kill(many[0].pid, signal.SIGKILL)
            return super().wait(seconds)

    with Killing(write_job(films, out), 2) as pool:
        result = run_job(Schedule(films), pool, out=str(out))
    print(f"{len(killed)} killed, {result.retries} steps begun again")
    assert len(killed) == result.retries == KILLS and not result.problems
    assert result.films == 1 and result.frames == FRAMES
    assert_same(made["one"], out)
    assert not films[0].folder.exists()
    source = list(read_planes(made["film"]))
    changed = sum(a != b for a, b in zip(source, read_planes(out), strict=True))
    assert changed >= result.swapped_frames > 60  # it leaves the picture at the end


def test_shares_are_joined_and_a_late_one_changes_nothing(made, tmp_path):
    out = tmp_path / "out.mkv"
    (film,) = list_films(made["film"], made["run"], out, CONFIG, most=MOST)
    job = (made["film"], made["run"], out)
    with pytest.raises(ConvertError, match="no job"):
        join_films(out)
    convert_share(*job, "2/2", CONFIG, most=MOST)
    parts = {path: path.stat().st_mtime_ns for path in film.folder.glob("*.part")}
    assert len(parts) == 1
    with pytest.raises(ConvertError, match="2 of 3 chunks are missing"):
        join_films(out)
    convert_share(*job, "1/2", CONFIG, most=MOST)
    # What is there is not done again, and done again it comes to the same bytes.
    plan, late = FilmSteps().scan(film), FilmSteps()
    first = film.folder / plan.names[0]
    kept = first.read_bytes()
    assert all(path.stat().st_mtime_ns == then for path, then in parts.items())
    first.unlink()
    late.convert(film, 0)
    assert first.read_bytes() == kept
    result = join_films(out)
    assert result.frames == FRAMES and result.films == 1
    assert_same(made["one"], out)
    with pytest.raises(ConvertError, match="not planned, or done already"):
        late.convert(film, 0)
    assert not film.folder.exists()
    # One chunk or three: the same, too.
    whole = tmp_path / "whole.mkv"
    (film,) = list_films(made["film"], made["run"], whole, CONFIG, most=2000)
    steps = FilmSteps()
    assert len(steps.scan(film).parts) == 1
    steps.convert(film, 0)
    steps.join(film)
    assert_same(out, whole)


def test_one_bad_video_fails_alone_and_is_tried_again(made, tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for name in ("a.mp4", "c.mp4"):
        shutil.copy(made["film"], videos / name)
    (videos / "b.mp4").write_bytes(made["film"].read_bytes()[:3000])
    config = replace(CONFIG, encoder="h264", end="1")
    job = (videos, made["run"], out, config)
    result = convert_films(*job, workers=1)
    assert result.films == 2 and len(result.problems) == 1
    assert result.problems[0].startswith("b.mp4: ")
    assert sorted(p.name for p in out.glob("*.mp4")) == ["a.mp4", "c.mp4"]
    first = (out / "a.mp4").stat().st_mtime_ns
    shutil.copy(made["film"], videos / "b.mp4")
    result = convert_films(*job, workers=1)
    assert result.films == 1 and not result.problems
    assert (out / "a.mp4").stat().st_mtime_ns == first
    frames = [sum(1 for _ in read_frames(out / f"{name}.mp4")) for name in "abc"]
    assert frames == [25, 25, 25]


def test_shares_are_those_of_the_text_or_of_slurm():
    assert parse_share("3/16", {}) == (2, 16)
    names = ("ID", "MIN", "COUNT", "STEP")
    slurm = dict(zip([f"SLURM_ARRAY_TASK_{n}" for n in names], "7142", strict=True))
    slurm["SLURM_ARRAY_TASK_ID"] = "5"
    assert parse_share("slurm", slurm) == (2, 4)
    for share in ("0/4", "5/4", "3", "a/b"):
        with pytest.raises(ConvertError, match="--part"):
            parse_share(share, {})
    with pytest.raises(ConvertError, match="SLURM_ARRAY_TASK_ID"):
        parse_share("slurm", {})


def test_what_chunks_cannot_make_is_refused_before_any_work(made, tmp_path):
    for out, config, words in (
        ("out.gif", CONFIG, "one process writes the other kinds"),
        ("out.mkv", replace(CONFIG, save_faces=str(tmp_path / "f")), "--save-faces"),
    ):
        with pytest.raises(ConvertError, match=words):
            convert_films(made["film"], made["run"], tmp_path / out, config)


def test_ray_nodes_may_die(made, tmp_path):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    out = tmp_path / "out.mkv"
    code = Path(__file__).with_name("ray_job.py")
    command = [sys.executable, str(code), *map(str, (made["film"], made["run"], out))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode == 77:
        pytest.skip(f"Ray could not start two nodes here: {done.stdout[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "retries" in done.stdout
    print(f"a node killed, {done.stdout.strip().splitlines()[-1]}")
    assert_same(made["one"], out)
