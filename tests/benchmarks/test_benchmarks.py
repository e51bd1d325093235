"""Benchmarks: the figures they give, not how large those are on this machine."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepfake_jax.benchmarks.against_pytorch import (
    Peer,
    PeerError,
    choose_best,
    compare,
    find_peer_script,
    keep_best,
    measure_ratio,
)
from deepfake_jax.benchmarks.layers import (
    list_all_forms,
    list_forms,
    list_layers,
    name_chosen,
    time_form,
)
from deepfake_jax.benchmarks.loader import classic_pair, draw_faces
from deepfake_jax.benchmarks.machine import (
    describe_machine,
    device_peak_memory_mb,
    find_commit,
    peak_memory_mb,
    peak_tflops,
)
from deepfake_jax.benchmarks.report import format_number, format_rows
from deepfake_jax.benchmarks.step import (
    StepRunner,
    draw_batch,
    measure_matmul,
    train_flops_per_image,
)
from deepfake_jax.benchmarks.train import write_drawn_set
from deepfake_jax.cli.main import run_command
from deepfake_jax.kernels.library import find_kernels
from deepfake_jax.models.conv import conv
from deepfake_jax.runs.metrics_file import read_metrics
from deepfake_jax.runs.run_folder import METRICS_NAME
from deepfake_jax.train_config import ModelConfig, config_from_dict, load_preset
from deepfake_jax.training.augment import augment_faces
from deepfake_jax.training.loop import train

TINY = config_from_dict({"model": {"width": 8}, "batch_size": 2})
TINY_FLAGS = ["--set", "model.width=8", "--batch-size", "2"]


def run_json(capsys, *args: str) -> dict[str, Any]:
    assert run_command(["benchmark", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# Operations


def test_operations_of_the_classic_network_equal_a_count_by_hand():
    # Multiplications and additions a layer, forward, for one face.
    convs = [(32, 5, 3, 128), (16, 5, 128, 256), (8, 5, 256, 512), (4, 5, 512, 1024)]
    encoder = [*convs, (1, 1, 4 * 4 * 1024, 1024), (1, 1, 1024, 4 * 4 * 1024)]
    encoder += [(4, 3, 1024, 4 * 512)]
    decoder = [(8, 3, 512, 4 * 256), (16, 3, 256, 4 * 128), (32, 3, 128, 4 * 64)]
    decoder += [(64, 5, 64, 3)]
    counts = [
        2 * size**2 * window**2 * channels * features
        for size, window, channels, features in encoder + decoder
    ]
    # Forward and two gradients; the faces themselves need none.
    expected = 3 * sum(counts) - counts[0]
    assert train_flops_per_image(ModelConfig()) == expected
    assert 128 * expected == pytest.approx(1.46e12, rel=0.005)


def test_operations_do_not_depend_on_precision():
    half = ModelConfig(width=8, precision="bfloat16")
    assert train_flops_per_image(half) == train_flops_per_image(ModelConfig(width=8))


# The machine


@pytest.mark.parametrize(
    ("device", "bfloat16", "float32"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 494.7),
        ("NVIDIA H100 PCIe", 756.0, 378.0),
        ("NVIDIA A100-SXM4-40GB", 312.0, 156.0),
        ("NVIDIA L4", 121.0, 60.0),
        ("NVIDIA L40S", None, None),
        ("Tesla T4", None, 8.1),
        ("TPU v5 lite", 197.0, 197.0),
        ("TPU v5p", 459.0, 459.0),
        ("TPU v6 lite", 918.0, 918.0),
        ("Intel(R) Xeon(R)", None, None),
    ],
)
def test_peak_rates_are_found_by_name(device, bfloat16, float32):
    assert peak_tflops(device, "bfloat16") == bfloat16
    assert peak_tflops(device, "float32") == float32


def test_machine_is_described():
    machine = describe_machine()
    assert machine.platform == "cpu" and machine.device != "cpu"
    assert machine.device_count == 4  # conftest's virtual devices
    assert machine.versions["jax"] == jax.__version__
    assert machine.command.startswith("deepfake-jax")


def test_commit_is_only_a_checkouts_own(tmp_path: Path):
    inside = tmp_path / "inside"
    inside.mkdir()
    assert find_commit(inside) is None


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_mb()
    size = int(1.2 * before) + 100
    held = np.ones(size * 10**6, np.uint8)
    assert peak_memory_mb() >= max(before, size)
    del held
    assert device_peak_memory_mb() is None  # JAX keeps none on a CPU


# The step


def test_runner_does_each_step_once_and_times_it():
    runner = StepRunner(TINY)
    assert len(runner.run(3)) == 3
    assert int(runner.state.step) == 5  # one compiles, and one fills the queue
    times = runner.run(2)
    assert all(0 < seconds < 60 for seconds in times)


def test_step_benchmark_speaks_json(capsys):
    result = run_json(capsys, "step", *TINY_FLAGS, "--steps", "2")
    keys = "images_per_second step_ms compile_seconds tflops peak_memory_mb device"
    assert {*keys.split(), "versions", "commit", "command"} <= set(result)
    assert result["images_per_second"] == pytest.approx(4e3 / result["step_ms"])
    assert result["step_ms_min"] <= result["step_ms"] <= result["step_ms_max"]
    assert result["share_of_peak"] is None
    share = result["tflops"] / result["matmul_tflops"]
    assert result["share_of_matmul"] == pytest.approx(share)
    assert result["precision"] == "float32" and result["width"] == 8


def test_step_benchmark_uses_several_devices():
    runner = StepRunner(TINY, devices=2)
    runner.run(1)
    assert np.asarray(runner.state.step).tolist() == [3, 3]
    with pytest.raises(ValueError, match="cannot be split evenly"):
        StepRunner(replace(TINY, batch_size=3), devices=2)
    with pytest.raises(ValueError, match="--devices 9"):
        StepRunner(TINY, devices=9)


def test_drawn_batch_is_like_faces():
    for pair in draw_batch(replace(TINY, batch_size=4)).values():
        for faces in (pair.warped, pair.target):
            assert faces.shape == (4, 64, 64, 3) and faces.dtype == np.uint8
            assert 80 < faces.mean() < 140 and 30 < faces.std() < 70
        assert pair.shape is None


def test_drawn_batch_has_shapes_where_a_config_learns_them():
    # Or the step of `lite` would be timed without one of its losses.
    batch = draw_batch(replace(load_preset("lite"), batch_size=3))
    assert [pair.shape.shape for pair in batch.values()] == [(3, 102)] * 2


def test_matmul_rate_is_that_of_its_size():
    # On a tiny product the rate is the call's overhead: far below a large one's.
    rates = [measure_matmul("float32", size=size) for size in (8, 512)]
    assert 0 < rates[0] < rates[1] < 100


# Seamless cloning


def test_poisson_benchmark_speaks_json(capsys):
    result = run_json(capsys, "poisson", "--size", "64", "--rounds", "3")
    assert result["ratio_min"] <= result["ratio"] <= result["ratio_max"]
    assert min(result["blend_ms"], result["opencv_ms"]) > 0
    # The same question, within OpenCV's truncation; the other is another.
    assert 0 < result["rms_same_problem"] < 1.5
    assert result["size"] == 64 and result["device"]


# The loader


def test_classic_form_agrees_with_ours_in_what_it_draws(faces: np.ndarray):
    rng, ours = np.random.default_rng(0), np.random.default_rng(0)
    n = 60
    classic = [classic_pair(rng, faces[index % 6]) for index in range(n)]
    warped, target = augment_faces(ours, faces[np.arange(n) % 6])
    for index, found in enumerate((warped, target)):
        old = np.stack([pair[index] for pair in classic]).astype(float)
        assert old.shape == found.shape
        # The mean picture of 60 random pairs, up to the draws: both mirror, turn and
        # bend the same faces about the same centre.
        assert np.abs(old.mean(axis=0) - found.mean(axis=0)).mean() < 6
        assert old.std() == pytest.approx(found.std(), rel=0.1)


def test_loader_benchmark_speaks_json(capsys):
    options = ["--rounds", "1", "--seconds", "0.2", "--batch-size", "8"]
    result = run_json(capsys, "loader", *options)
    keys = "faces_per_second faces_per_second_per_core ratio workers device versions"
    assert set(keys.split()) <= set(result)
    classic = result["classic_faces_per_second_per_core"]
    assert result["ratio"] == pytest.approx(
        result["faces_per_second_per_core"] / classic
    )
    # Run-time checks of shapes slow both here; without them it is some seven times.
    assert result["ratio"] > 2


def test_drawn_faces_differ():
    assert np.any(draw_faces(1) != draw_faces(1, seed=1))
    assert draw_faces(2).shape == (2, 256, 256, 3)


# Training


def test_drawn_sets_have_what_every_loss_reads(tmp_path: Path):
    # Or the loop of `lite` would be timed without one of its losses.
    config = replace(load_preset("lite"), holdout=0.0, steps=1, batch_size=2)
    for seed, side in enumerate("ab"):
        write_drawn_set(tmp_path / side, 3, seed=seed)
    model = replace(config.model, width=8)
    config = replace(config, model=model, log_every=1)
    train(tmp_path / "a", tmp_path / "b", tmp_path / "run", config, devices=1)
    (line,) = read_metrics(tmp_path / "run" / METRICS_NAME)
    assert line["loss_shape"] > 0


def test_train_benchmark_speaks_json(capsys):
    options = ["--steps", "3", "--rounds", "1", "--faces", "3"]
    result = run_json(capsys, "train", *TINY_FLAGS, *options)
    rates = (
        result["end_to_end_images_per_second"],
        result["step_only_images_per_second"],
    )
    assert all(rate > 0 for rate in rates)
    assert result["ratio_min"] <= result["ratio"] <= result["ratio_max"]
    assert 0 <= result["data_wait"] <= 1
    assert run_command(["benchmark", "train", *TINY_FLAGS, "--steps", "1"]) == 1
    assert "must be at least 2" in capsys.readouterr().err


# The peer


def test_forms_that_may_be_the_best_in_float32_or_of_all_go_on():
    rates = {"float32-a": 10.0, "float32-b": 7.4, "bfloat16-a": 3.0, "bfloat16-b": 8.0}
    assert keep_best(rates) == ["float32-a", "bfloat16-b"]
    rates = {"float32-a": 10.0, "float32-b": 7.6, "bfloat16-a": 20.0}
    assert keep_best(rates) == ["float32-a", "float32-b", "bfloat16-a"]
    assert keep_best({"bfloat16-a": 1.0}) == ["bfloat16-a"]


def test_ratio_is_the_median_of_rounds():
    assert compare([2.0, 9.0, 4.0], [1.0, 3.0, 8.0]) == (2.0, 0.5, 3.0)
    assert compare([2.0], None) == (None, None, None)
    assert choose_best({"a": [1.0, 9.0, 1.0], "b": [2.0] * 3}, ["a", "b"]) == "b"
    assert choose_best({}, []) is None


# Stands in for an installation of PyTorch, which the project does not depend on.
SPEAKER = """
import json, sys, time
print(json.dumps({"forms": ["float32-eager", "float32-compile", "bfloat16-eager"],
                  "args": sys.argv[1:]}), flush=True)
for line in sys.stdin:
    form, steps = line.split()
    if "compile" in form:
        print(json.dumps({"form": form, "error": "no compiler"}), flush=True)
    else:
        print(json.dumps({"form": form, "images_per_second": 5.0}), flush=True)
"""


def test_ratio_benchmark_alternates_with_a_process(tmp_path: Path, capsys):
    script = tmp_path / "peer.py"
    script.write_text(SPEAKER)
    options = ["--peer-script", str(script), "--rounds", "1", "--steps", "1"]
    result = run_json(capsys, "ratio", *TINY_FLAGS, *options)
    rates = result["images_per_second"]
    assert result["failed"] == {"float32-compile": "no compiler"}
    assert result["peer_best_float32"] == "float32-eager"
    assert result["peer"]["args"][-4:] == ["--width", "8", "--batch-size", "2"]
    assert set(rates) == {
        *("float32-eager", "bfloat16-eager", "ours-float32", "ours-bfloat16")
    }
    assert result["ratio_float32"] == pytest.approx(rates["ours-float32"] / 5)
    assert result["ratio_bfloat16"] == pytest.approx(rates["ours-bfloat16"] / 5)


def test_ratio_knows_the_peers_forms(tmp_path: Path):
    script = tmp_path / "peer.py"
    script.write_text(SPEAKER)
    with pytest.raises(PeerError, match="no form float16; it has float32-eager"):
        measure_ratio(TINY, script=script, forms=["float16"])


def test_ratio_compares_no_two_networks():
    other = replace(TINY, model=replace(TINY.model, name="lite"))
    with pytest.raises(PeerError, match="no network 'lite'.*model.name=original"):
        measure_ratio(other)


def test_peer_that_cannot_run_is_an_error(tmp_path: Path):
    python = Path(sys.executable)
    with pytest.raises(PeerError, match="checkout"):
        Peer(python, tmp_path / "none.py", width=8, batch_size=2)
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(3)")
    with pytest.raises(PeerError, match="status 3"):
        Peer(python, broken, width=8, batch_size=2)
    with pytest.raises(PeerError, match="cannot start"):
        Peer(tmp_path / "python", broken, width=8, batch_size=2)
    assert find_peer_script().is_file()


# The layers


def test_layers_are_those_of_the_step():
    layers = list_layers(TINY)
    assert len(layers) == 9
    assert str(layers[0]) == "encoder conv0: 4 x 64x64x3 -> 8, 5/2"
    assert str(layers[4]) == "encoder upscale.conv: 4 x 4x4x64 -> 128, 3/1"
    assert str(layers[-1]) == "decoder output: 2 x 64x64x4 -> 3, 5/1"


@pytest.mark.parametrize("batch_size", [2, 64])
def test_chosen_form_of_each_layer_is_one_of_its_forms(batch_size: int):
    for layer in list_layers(replace(TINY, batch_size=batch_size)):
        forms = list_forms(layer)
        for precision in ("float32", "bfloat16"):
            assert name_chosen(layer, "cpu", precision) in forms
        assert name_chosen(layer, "gpu", "bfloat16") in ("xla", "blocks by xla")


def test_forms_of_a_layer_give_its_values():
    layer = list_layers(TINY)[3]  # 5x5 at stride 2
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=layer.x_shape), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=layer.kernel_shape), jnp.float32)
    forms = list_forms(layer)
    expected = np.asarray(forms["xla"](x, kernel, 2))
    for name, form in forms.items():
        # Rounded transforms: see test_conv. The rest differ by order of summation.
        tolerance = 2e-2 if "bfloat16" in name else 2e-5
        y = np.asarray(form(x, kernel, 2)) / np.abs(expected).max()
        np.testing.assert_allclose(y, expected / np.abs(expected).max(), 0, tolerance)
    assert all(0 < ms < 1e4 for ms in time_form(layer, forms["xla"], "bfloat16", 1))


# The table


def test_numbers_are_short():
    assert format_number(None) == "-"
    assert [format_number(x) for x in (0.12345, 12.345, 12345.6)] == [
        *("0.123", "12.3", "12,346")
    ]
    assert format_rows([("a", "1"), ("long", "2")]) == "a     1\nlong  2"


@pytest.mark.skipif(find_kernels("float32") is None, reason="no kernels here")
def test_our_own_kernels_are_among_the_forms_where_the_network_takes_them():
    layers = list_layers(load_preset("lite"))
    taken = {
        str(layer): "kernels" in list_all_forms(layer, "float32") for layer in layers
    }
    # Of `lite` what reads or writes twelve numbers a block fills no vectors.
    assert any(taken.values()) and not all(taken.values())
    for layer in layers:
        text = jax.jit(lambda x, k, s=layer.stride: conv(x, k, stride=s)).lower(
            jnp.zeros(layer.x_shape), jnp.zeros(layer.kernel_shape)
        )
        assert ("deepfake_jax_value" in text.as_text()) == taken[str(layer)]
