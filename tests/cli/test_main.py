"""The command line: help that teaches, exit status, and one line of JSON."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from footage import tiny_config, write_face_set, write_pan

from deepfake_jax.benchmarks.report import to_json
from deepfake_jax.cli.main import parse_command, run_command
from deepfake_jax.cli.run_commands import Train
from deepfake_jax.json_files import format_json
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.train_config import ConfigError, TrainConfig, config_to_yaml

COMMANDS = (
    "extract",
    "faces",
    "train",
    "distill",
    "convert",
    "demo",
    "doctor",
    "benchmark",
)


def run(*args: object) -> int:
    """A command's exit status, also where the parser exits by itself."""
    try:
        return run_command([str(arg) for arg in args])
    except SystemExit as error:
        return int(error.code or 0)


def train_args(folder, *more: str) -> list[str]:
    a, b, out = (str(folder / name) for name in ("a", "b", "run"))
    return ["train", "--a", a, "--b", b, "--run", out, *more]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command, capsys):
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    assert f"deepfake-jax {command}" in text and "Example:" in text
    assert "--json" in text


@pytest.mark.parametrize("what", ["step", "loader", "train", "ratio", "quality", "all"])
def test_help_of_a_benchmark_shows_an_example(what, capsys):
    assert run("benchmark", what, "--help") == 0
    text = capsys.readouterr().out
    assert f"deepfake-jax benchmark {what}" in text and "--json" in text


def test_main_help_lists_every_command(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_help_imports_neither_jax_nor_opencv():
    code = (
        "import sys; from deepfake_jax.cli.main import run_command\n"
        "try: run_command(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('jax', 'cv2', 'av')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["paint"],
        ["extract"],
        ["extract", "--out", "faces"],
        ["extract", "a.mp4", "--out", "faces", "--every", "0"],
        ["train", "--a", "x"],
        ["train", "--a", "x", "--b", "y", "--run", "z", "--batch-size", "0"],
        ["train", "--a", "x", "--b", "y", "--run", "z", "--preset", "none"],
        ["train", "--a", "x", "--b", "y", "--run", "z", "--set", "steps"],
        ["train", "--a", "x", "--b", "y", "--run", "z", "--set", "model.depth=3"],
        ["convert", "a.mp4", "--run", "r", "--out", "o.mp4", "--to", "c"],
        ["benchmark"],
        ["benchmark", "step", "--steps", "0"],
        ["benchmark", "step", "--precision", "float16"],
        ["benchmark", "train", "--preset", "none"],
        ["benchmark", "all", "--set", "model.depth=3"],
    ],
)
def test_wrong_use_is_status_two(args, capsys):
    assert run(*args) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["extract", "no.mp4", "--out", "faces"], "no such file"),
        (["train", "--a", "x", "--b", "y", "--run", "z"], "no face set at x"),
        (["convert", "no.mp4", "--run", "r", "--out", "o.mp4"], "no such file"),
    ],
)
def test_failure_is_status_one_and_says_why(args, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*args) == 1
    captured = capsys.readouterr()
    assert words in captured.err and "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def options(*args: str, folder: Path) -> TrainConfig:
    command = parse_command(train_args(folder, *args))
    assert isinstance(command, Train)
    return command.options


def test_settings_come_from_preset_then_set_then_flags(tmp_path):
    plain = options("--preset", "original", folder=tmp_path)
    assert plain.model.width == 128 and plain.batch_size == 64
    lite = options(folder=tmp_path)
    assert lite.model.width == 32
    mixed = options(
        *("--preset", "lite", "--batch-size", "7", "--set", "batch_size=9"),
        *("--set", "optimizer.learning_rate=2e-3", "--optimizer.learning-rate", "0.5"),
        *("--set", "loss.pixel=mse", "--set=seed=3"),
        folder=tmp_path,
    )
    assert (mixed.batch_size, mixed.seed, mixed.model.width) == (7, 3, 32)
    assert mixed.optimizer.learning_rate == 0.5 and mixed.loss.pixel == "mse"


@pytest.mark.parametrize(
    ("args", "setting", "flag"),
    [
        (["train", "--a", "x", "--b", "y"], "seed=1", ["--seed", "2"]),
        (["distill", "--teacher", "t"], "minutes=1", ["--minutes", "2"]),
        (["benchmark", "step"], "batch_size=1", ["--batch-size", "2"]),
        (["benchmark", "ratio"], "batch_size=1", ["--batch-size", "2"]),
        (
            ["benchmark", "quality", "--a", "x", "--b", "y", "--out", "o"],
            "minutes=1",
            ["--minutes", "2"],
        ),
    ],
)
def test_a_flag_beats_set_in_every_command(args, setting, flag, tmp_path):
    run = ["--run", str(tmp_path / "run")] if args[0] != "benchmark" else []
    key = setting.partition("=")[0]
    for order in ([*flag, "--set", setting], ["--set", setting, *flag]):
        command: Any = parse_command([*args, *run, *order])
        config = command.options if args[0] == "train" else command.settings()
        assert getattr(config, key) == 2


def test_help_of_set_says_that_flags_beat_it(capsys):
    for command in (["train"], ["distill"], ["benchmark", "step"]):
        assert run(*command, "--help") == 0
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "Flags beat it" in text


@dataclass(frozen=True)
class Outcome:
    loss: float
    parts: dict[str, list[float]]


def test_json_has_no_nan_at_any_depth():
    result = Outcome(loss=float("nan"), parts={"a": [1.0, float("inf")]})
    assert json.loads(format_json(to_json(result))) == {
        "loss": None,
        "parts": {"a": [1.0, None]},
    }


def test_steps_or_minutes_replace_the_presets_limit(tmp_path):
    assert options("--minutes", "5", folder=tmp_path).steps is None
    assert options("--minutes=5", folder=tmp_path).steps is None
    assert options("--steps", "9", folder=tmp_path).minutes is None
    both = options("--steps", "9", "--minutes", "5", folder=tmp_path)
    assert (both.steps, both.minutes) == (9, 5)


def test_a_config_file_and_an_existing_run_give_the_defaults(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(config_to_yaml(tiny_config(seed=11)))
    assert options("--config", str(path), folder=tmp_path).seed == 11
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(path.read_text())
    assert options(folder=tmp_path).seed == 11
    with pytest.raises(ConfigError, match="not both"):
        options("--config", str(path), "--preset", "lite", folder=tmp_path)


@pytest.mark.usefixtures("detector_weights")
def test_the_whole_way_by_commands(portrait, tmp_path, capsys):
    clip = write_pan(tmp_path / "clip.mp4", portrait)
    assert run("extract", clip, "--out", tmp_path / "a", "--json") == 0
    extracted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (extracted["frames"], extracted["faces"]) == (12, 12)
    write_face_set(tmp_path / "b", 3, tint=(120, 160, 210))
    path = tmp_path / "tiny.yaml"
    path.write_text(config_to_yaml(tiny_config()))
    args = train_args(
        tmp_path, "--config", str(path), "--steps", "3", "--json", "--devices", "1"
    )
    assert run(*args) == 0
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = {"step", "loss_a", "loss_b", "images_per_second", "checkpoint"}
    assert keys <= set(trained) and trained["step"] == 3
    out = tmp_path / "out.mp4"
    args = ["convert", clip, "--run", tmp_path / "run", "--to", "b", "--out", out]
    assert run(*args, "--json") == 0
    converted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"frames", "swapped_frames", "frames_per_second", "out"} <= set(converted)
    assert converted["swapped_frames"] == 12 and converted["out"] == str(out)
    assert probe_video(out).frames == 12
    assert run(*args) == 1  # it exists now
    assert "--overwrite" in capsys.readouterr().err


def test_a_source_read_in_part_is_status_one(tmp_path, capsys, portrait):
    from deepfake_jax.media.pictures import write_picture

    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "good.png", portrait)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    assert run("extract", tmp_path / "in", "--out", tmp_path / "a", "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["faces"] == 1
    assert "read in part only" in captured.err and "bad.png" in captured.err


def test_doctor_speaks_json(capsys):
    assert run("doctor", "--json") in (0, 1)
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"]
    assert {"python", "jax", "encoder libx264"} <= {check["name"] for check in checks}
