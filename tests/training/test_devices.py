"""Several devices and several processes: the run that one device has."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from footage import tiny_config, write_face_set

from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    METRICS_NAME,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import ConfigError, TrainConfig, config_to_yaml
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.devices import Devices, find_devices, setup_distributed
from deepfake_jax.training.loop import train

Sets = tuple[Path, Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Sets:
    folder = tmp_path_factory.mktemp("sets")
    return (
        write_face_set(folder / "a", 4),
        write_face_set(folder / "b", 3, tint=(120, 160, 210)),
    )


@pytest.fixture(scope="module")
def straight(sets: Sets, tmp_path_factory) -> Path:
    """A run of 12 steps on one device."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    train(*sets, run, with_steps(12), devices=1)
    return run


def with_steps(steps: int, **settings) -> TrainConfig:
    more = {"optimizer": {"learning_rate": 1e-4}, "workers": 1, **settings}
    return tiny_config(batch_size=4, steps=steps, **more)


def read_losses(run: Path) -> np.ndarray:
    lines = read_metrics(run / METRICS_NAME)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return np.array([[line["loss_a"], line["loss_b"]] for line in lines])


def assert_same_losses(run: Path, other: Path) -> None:
    # A mean of means rounds in another order than one mean, and Adam's division by the
    # gradient's size makes whole steps of that where a gradient is almost zero.
    np.testing.assert_allclose(read_losses(run), read_losses(other), rtol=1e-3)
    # Before the first update nothing is amplified: float32 sums in another order.
    np.testing.assert_allclose(
        read_losses(run)[0], read_losses(other)[0], rtol=1e-6, atol=0
    )


# In one process


def test_a_batch_is_split_evenly_or_refused():
    four = Devices(local=(0, 1), everywhere=(0, 1, 2, 3), process=1, processes=2)
    assert four.rows(8) == slice(4, 8)
    assert not four.leads and not four.single
    with pytest.raises(ConfigError, match="batch_size = 6 .*4 devices.*batch-size 8"):
        four.rows(6)


def test_devices_are_counted():
    assert len(find_devices().local) == 4
    assert find_devices(1).single
    with pytest.raises(ConfigError, match="--devices 5: there are 4"):
        find_devices(5)
    with pytest.raises(ConfigError, match="--devices 0"):
        find_devices(0)


def test_state_goes_to_each_device_and_comes_back():
    tree = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3), "n": np.int32(7)}
    for count in (1, 3):
        devices = find_devices(count)
        spread = devices.put_state(tree)
        assert spread["w"].sharding.device_set == set(devices.local)
        back = devices.get_state(spread)
        np.testing.assert_array_equal(back["w"], tree["w"])
        assert back["n"] == 7 and back["w"].sharding.device_set == {devices.local[0]}


def test_batches_are_split_by_rows_and_stacked_by_steps():
    rows = np.arange(4, dtype=np.uint8)[:, None, None, None]
    batches: list[Batch] = [
        {"a": Pair(np.full((4, 2, 2, 3), 10 * k, np.uint8) + rows, rows)}
        for k in range(3)
    ]
    two = find_devices(2)
    warped = two.put_batches(batches)["a"].warped
    faces = np.asarray(warped)
    assert faces.shape == (2, 3, 2, 2, 2, 3)
    # Device 1's share of step 2: rows 2 and 3.
    np.testing.assert_array_equal(faces[1, 2, :, 0, 0, 0], [22, 23])
    assert warped.addressable_shards[1].data.shape[0] == 1
    np.testing.assert_array_equal(two.put_vote(15)["vote"], [15, 15])
    single = find_devices(1).put_batches(batches[:1])
    assert single["a"].warped.shape == (4, 2, 2, 3) and single["a"].shape is None
    assert not find_devices(1).put_vote(15)


def test_four_devices_train_the_run_of_one(sets: Sets, straight, tmp_path):
    # Dispatches of five, and single steps before the state of step 10 and the end.
    config = with_steps(12, steps_per_dispatch=5)
    result = train(*sets, tmp_path / "run", config)
    assert result.step == 12
    assert_same_losses(tmp_path / "run", straight)
    assert load_run(tmp_path / "run").step == 12


def test_a_run_moves_between_numbers_of_devices(sets: Sets, straight, tmp_path):
    for steps, count in ((4, 4), (8, 1), (12, 4)):
        train(*sets, tmp_path / "run", with_steps(steps), devices=count)
    assert_same_losses(tmp_path / "run", straight)


def test_uneven_batches_are_refused_before_anything_is_written(sets: Sets, tmp_path):
    with pytest.raises(ConfigError, match="batch_size = 4 .* 3 devices"):
        train(*sets, tmp_path / "run", with_steps(1), devices=3)
    assert not (tmp_path / "run").exists()


# Which processes there are


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("10.0.0.1:99", 2, None), "all three"),
        ((None, 2, 0), "all three"),
        (("10.0.0.1", 2, 0), "host and port"),
        (("10.0.0.1:99", 2, 2), "--process-id 2: of 2 processes"),
    ],
)
def test_half_a_cluster_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        setup_distributed(*arguments)


def test_a_process_by_itself_waits_for_nobody(monkeypatch):
    assert not setup_distributed()
    # A shell inside an allocation for eight tasks, and a step of one task.
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert not setup_distributed()
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert not setup_distributed(num_processes=1)
    assert jax.process_count() == 1


@pytest.mark.skipif(os.name != "posix", reason="mpirun's variables")
def test_processes_that_mpirun_started_find_each_other():
    # What mpirun sets; JAX makes the coordinator's port of the job's number.
    number = 4096 * random.SystemRandom().randrange(1, 2**12)
    code = (
        "import jax\n"
        "from deepfake_jax.training.devices import setup_distributed\n"
        "print(setup_distributed(), jax.process_count(), jax.process_index())\n"
    )
    shared = {
        "OMPI_MCA_orte_hnp_uri": f"{number}.0;tcp://127.0.0.1:40000",
        "OMPI_COMM_WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ
            | shared
            | {"OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_LOCAL_RANK": str(i)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert said == ["True 2 0\n", "True 2 1\n"]


# In two processes, of two devices each


def start_two(sets: Sets, run: Path, config: TrainConfig, *, folder: Path, second=None):
    """Starts two processes that train a run together."""
    path = folder / "config.yaml"
    path.write_text(config_to_yaml(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for index, (a, b) in enumerate((sets, second or sets)):
        command = [sys.executable, "-m", "deepfake_jax", "train", "--json"]
        command += ["--a", str(a), "--b", str(b), "--run", str(run)]
        command += ["--config", str(path), "--coordinator", f"127.0.0.1:{port}"]
        command += ["--num-processes", "2", "--process-id", str(index)]
        # The last flag of a name counts: two devices each, compiled as here.
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            )
        )
    return processes


def finish(processes, *, timeout: float = 120) -> list[tuple[int, str, str]]:
    """Exit status, output and messages of each; none is left behind."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *out) for p, out in zip(processes, outputs, strict=True)]


def test_two_processes_train_the_run_of_one(sets: Sets, straight, tmp_path):
    run = tmp_path / "run"
    (status, out, err), (status_1, out_1, err_1) = finish(
        start_two(sets, run, with_steps(5), folder=tmp_path)
    )
    assert (status, status_1) == (0, 0), err + err_1
    assert json.loads(out.splitlines()[-1])["step"] == 5
    # One voice for all; what connects the processes prints a line of its own.
    assert "{" not in out_1 and "img/s" not in err_1
    # One process goes on with it, and two with that.
    train(*sets, run, with_steps(8), devices=1)
    done = finish(start_two(sets, run, with_steps(12), folder=tmp_path))
    assert [status for status, _, _ in done] == [0, 0], done
    assert_same_losses(run, straight)
    assert list_checkpoints(run / CHECKPOINTS) == [10, 12]


def test_a_signal_to_one_process_ends_both_at_one_step(sets: Sets, tmp_path):
    run = tmp_path / "run"
    processes = start_two(sets, run, with_steps(100_000), folder=tmp_path)
    deadline = time.monotonic() + 100
    while len(read_metrics(run / METRICS_NAME)) < 3:
        assert time.monotonic() < deadline and processes[0].poll() is None
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    (status, out, err), (status_1, _, err_1) = finish(processes, timeout=60)
    assert (status, status_1) == (0, 0), err + err_1
    result = json.loads(out.splitlines()[-1])
    assert result["interrupted"] == "SIGTERM"
    assert list_checkpoints(run / CHECKPOINTS)[-1] == result["step"]
    assert read_metrics(run / METRICS_NAME)[-1]["step"] == result["step"]


def test_a_process_that_cannot_start_ends_the_other(sets: Sets, tmp_path):
    elsewhere = tmp_path / "none", sets[1]
    (status, _, err), (status_1, _, err_1) = finish(
        start_two(
            sets, tmp_path / "run", with_steps(5), folder=tmp_path, second=elsewhere
        )
    )
    assert (status, status_1) == (1, 1)
    assert "process 1 could not start" in err and "no face set" in err_1


def test_processes_must_be_told_the_same(sets: Sets, tmp_path):
    swapped = sets[::-1]
    (status, _, err), (status_1, _, _) = finish(
        start_two(
            sets, tmp_path / "run", with_steps(5), folder=tmp_path, second=swapped
        )
    )
    assert (status, status_1) == (1, 1)
    assert "process 1 has other settings or face sets" in err
