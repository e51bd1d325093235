"""Long work: its progress, its end, Stop, and a server that is killed meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra studio is not installed")

from deepfake_jax.studio.jobs import Jobs, is_alive  # noqa: E402
from deepfake_jax.studio.texts import RequestError  # noqa: E402

# Programs of Python's own that do what a long command does.
SLEEP = ["-n", "1", "-r", "1", "import time; time.sleep(120)"]
PRINT = ["-n", "1", "-r", "1", "print({!r})"]
PATIENCE = 90.0  # seconds; other tests may keep the machine busy


def wait_for(jobs: Jobs, cache: Path, done: Callable[[dict[str, Any]], bool]) -> Any:
    end, job = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        (job, *_) = jobs.list(cache)
        if done(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job}")


def start(jobs: Jobs, cache: Path, command: list[str], module: str = "timeit") -> str:
    return jobs.start(cache, "train", command, {"run": "r"}, module=module)


def test_a_command_is_done_when_its_last_line_is_json(tmp_path: Path):
    jobs = Jobs()
    name = start(jobs, tmp_path, ["doctor", "--json"], "deepfake_jax")
    job = wait_for(jobs, tmp_path, lambda job: job["state"] != "running")
    assert job["state"] == "done" and job["name"] == name
    assert job["result"]["checks"] and job["facts"] == {"run": "r"}
    assert jobs.count_running() == 0


def test_what_a_command_says_is_its_error(tmp_path: Path):
    jobs = Jobs()
    command = ["evaluate", "--run", str(tmp_path / "nothing"), "--json"]
    start(jobs, tmp_path, command, "deepfake_jax")
    job = wait_for(jobs, tmp_path, lambda job: job["state"] != "running")
    assert job["state"] == "failed" and "no run at" in job["error"]
    assert not job["error"].startswith("deepfake-jax")


def test_progress_is_read_from_the_log(tmp_path: Path):
    jobs = Jobs()
    text = 'import sys; print(\'{"progress": "train", "done": 3}\', file=sys.stderr)'
    start(jobs, tmp_path, ["-n", "1", "-r", "1", text])
    job = wait_for(jobs, tmp_path, lambda job: job["state"] != "running")
    assert job["progress"] == {"progress": "train", "done": 3}
    assert not any("progress" in word for word in job["words"])
    assert "progress" not in jobs.read_log(tmp_path, job["name"])


def test_stop_is_ctrl_c(tmp_path: Path):
    jobs = Jobs()
    name = start(jobs, tmp_path, SLEEP)
    wait_for(jobs, tmp_path, lambda job: job["state"] == "running")
    time.sleep(0.5)
    jobs.stop(tmp_path, name)
    job = wait_for(jobs, tmp_path, lambda job: job["state"] == "stopped")
    assert any("KeyboardInterrupt" in word for word in job["words"])


def test_a_killed_command_failed_without_a_word(tmp_path: Path):
    jobs = Jobs()
    name = start(jobs, tmp_path, SLEEP)
    os.kill(jobs.started[tmp_path / "jobs" / name].pid, signal.SIGKILL)
    job = wait_for(jobs, tmp_path, lambda job: job["state"] != "running")
    assert job["state"] == "failed" and job["error"] == ""


def test_work_goes_on_when_the_server_is_killed_and_the_next_one_can_stop_it(
    tmp_path: Path,
):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from deepfake_jax.studio.jobs import Jobs\n"
        f"Jobs().start(Path({str(tmp_path)!r}), 'train', {SLEEP!r}, {{}},"
        " module='timeit')\nprint('started', flush=True)\ntime.sleep(60)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdout.readline() == "started\n"
    server.kill()
    server.wait()
    server.stdout.close()
    later = Jobs()
    job = wait_for(later, tmp_path, lambda job: True)
    assert job["state"] == "running"
    time.sleep(0.5)
    later.stop(tmp_path, job["name"])
    wait_for(later, tmp_path, lambda job: job["state"] == "stopped")
    assert not is_alive(tmp_path / "jobs" / job["name"])


def test_end_at_once_ends_what_does_not_listen(tmp_path: Path):
    jobs = Jobs()
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    deaf += "; print('deaf', flush=True); time.sleep(120)"
    name = start(jobs, tmp_path, ["-n", "1", "-r", "1", deaf])
    out = tmp_path / "jobs" / name / "out"
    wait_for(jobs, tmp_path, lambda job: out.read_text() == "deaf\n")
    jobs.stop(tmp_path, name)
    wait_for(jobs, tmp_path, lambda job: job["state"] == "stopping")
    jobs.stop(tmp_path, name, force=True)
    wait_for(jobs, tmp_path, lambda job: job["state"] == "stopped")


@pytest.mark.parametrize("name", ["", "..", "../x", "nothing", None, 3])
def test_only_jobs_that_are_there_can_be_named(tmp_path: Path, name: Any):
    with pytest.raises(RequestError, match="not known"):
        Jobs().stop(tmp_path, name)


def test_a_job_whose_log_is_gone_is_listed_all_the_same(tmp_path: Path):
    folder = tmp_path / "jobs" / "20260101-000000-train-000000"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text('{"name": "x", "kind": "train"}')
    (job,) = Jobs().list(tmp_path)
    assert job["state"] == "failed" and job["ended"] == 0
