"""Quality against training time: what is counted, what is judged, and going on."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from footage import tiny_config, write_face_set, write_pan

from deepfake_jax.benchmarks.quality import measure_quality
from deepfake_jax.benchmarks.quality_curve import (
    Curve,
    find_retrieval_minutes,
    format_curve,
    keep_numbers,
    plot_curves,
    take_median,
)
from deepfake_jax.cli.main import run_command
from deepfake_jax.cli.quality_benchmarks import parse_seeds
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.evaluation.evaluate import evaluate
from deepfake_jax.face_sets.face_set import read_record, write_record
from deepfake_jax.faces.detection import make_detector
from deepfake_jax.imaging.align import frame_to_face_matrix, warp_face
from deepfake_jax.json_files import format_json
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.runs.held_out import HELD_NAME
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.train_config import ConfigError
from deepfake_jax.training.loop import train

# `tiny_config`, whose step other tests compile, too.
_SETTINGS = "model.width=8 batch_size=2 optimizer.learning_rate=1e-3"
TINY = ["--preset", "original", "--set", "optimizer.ema_decay=0.9"]
TINY += [word for setting in _SETTINGS.split() for word in ("--set", setting)]


def make_line(minutes: float, a_to_b: float, b_to_a: float, seed: int = 0) -> dict:
    """A judgement of which only the retrieval matters."""
    figures = {"identity_transfer": 0.5, "expression_error": 0.1, "sharpness": 0.2}
    line: dict[str, Any] = {"seed": seed, "minutes": float(minutes)}
    line["step"] = int(60 * minutes)
    for to, retrieval in (("a_to_b", a_to_b), ("b_to_a", b_to_a)):
        line[to] = {"retrieval": retrieval, **figures}
    return line


# The curve


def test_retrieval_counts_from_where_both_directions_keep_it():
    lines = [
        make_line(1, 1.0, 0.9),
        make_line(2, 0.95, 1.0),  # reached, and lost again
        make_line(3, 1.0, 0.94),
        make_line(4, 0.97, 0.95),
        make_line(5, 1.0, 1.0),
    ]
    assert find_retrieval_minutes(lines) == 4
    assert find_retrieval_minutes(lines[:3]) is None
    assert find_retrieval_minutes([]) is None


def test_medians_of_figures_that_some_runs_never_reached():
    runs = [
        {"t": 3.0, "held": True},
        {"t": None, "held": True},
        {"t": 5.0, "held": True},
    ]
    assert take_median(runs) == {"t": 5.0, "held": True}
    assert take_median([None, None, 1.0]) is None
    assert take_median([None, 1.0]) is None  # half of them is no median
    assert take_median([{"held": True}, {"held": False}]) == {"held": False}


def test_a_curve_outlives_its_process_and_forgets_what_a_kill_undid(tmp_path: Path):
    curve = Curve(tmp_path / "quality.jsonl")
    for line in (make_line(2, 1, 1), make_line(1, 1, 1, seed=1), make_line(3, 1, 1)):
        curve.add(line)
    again = Curve(tmp_path / "quality.jsonl")
    assert again.lines == curve.lines
    assert [line["minutes"] for line in again.of_seed(0)] == [2, 3]
    again.cut(0, 120)  # the step of the second minute
    assert [line["minutes"] for line in again.of_seed(0)] == [2]
    again.add(make_line(2, 0.5, 0.5))  # the same step, judged anew
    assert [x["a_to_b"]["retrieval"] for x in again.of_seed(0)] == [0.5]
    assert Curve(tmp_path / "quality.jsonl").lines == again.lines
    assert len(again.of_seed(1)) == 1


def test_curves_are_drawn_and_written_as_a_table(tmp_path: Path):
    lines = [make_line(m, m / 3, 1.0, seed) for seed in (0, 1) for m in (1, 2, 3)]
    plot_curves(lines, tmp_path / "both.png")
    plot_curves(lines[:3], tmp_path / "one.png")
    both, one = (read_picture(tmp_path / f"{name}.png") for name in ("both", "one"))
    assert both.shape == one.shape == (700, 1000, 3)
    assert (both != one).any()  # the second run's curves are there, paler
    rows = format_curve(lines).splitlines()
    assert (
        len(rows) == 7 and "100%" in rows[-1] and rows[1].split()[:2] == ["0", "1.00"]
    )
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize("text", ["", "a", "0,", "-1", "1,1", "0 1"])
def test_seeds_are_different_numbers(text: str):
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(text)
    assert parse_seeds("0,7, 2") == (0, 7, 2)


# Looking at a run


def test_looking_takes_no_training_time(tmp_path: Path):
    a, b = write_face_set(tmp_path / "a", 3), write_face_set(tmp_path / "b", 3)
    looks: list[tuple[int, float]] = []

    def look(trained: TrainedRun, seconds: float) -> None:
        looks.append((trained.step, seconds))
        time.sleep(1)

    # Every step comes after another of these times.
    minutes = [n / 60e4 for n in range(10**6)]
    start = time.monotonic()
    config = tiny_config(steps=4)
    run = tmp_path / "run"
    result = train(a, b, run, config, devices=1, watch=look, watch_minutes=minutes)
    elapsed = time.monotonic() - start
    assert [step for step, _ in looks] == [1, 2, 3, 4]
    seconds = [at for _, at in looks]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert result.seconds <= elapsed - 4
    # Two looks lie between, of a second each; steps take milliseconds, or half a second
    # where the machine is busy.
    assert seconds[3] - seconds[1] < 2
    # A finished run is looked at once more, at its end.
    train(a, b, run, config, devices=1, watch=look)
    assert [step for step, _ in looks[4:]] == [4]
    assert looks[4][1] >= seconds[3]


# The whole


def write_turned_set(folder: Path, picture: Any, count: int) -> Path:
    """A face set of one portrait in many turns, a second apart."""
    write_face_set(folder, count)
    header, records = read_record(folder)
    matrix = frame_to_face_matrix(make_detector()(picture)[0].landmarks)
    face, kept = warp_face(picture, matrix), []
    for index, record in enumerate(records):
        spin = cv2.getRotationMatrix2D((127.5, 127.5), index - count / 2, 1.0)
        turned = cv2.warpAffine(face, spin, (256, 256))
        write_picture(folder / record.file, turned, overwrite=True)
        kept.append(replace(record, time=float(index), picture=f"{index:08x}"))
    write_record(folder, header, kept)
    return folder


@pytest.fixture(scope="module")
def measured(portrait, detector_weights, tmp_path_factory) -> tuple[list[str], Path]:
    """The arguments of a tiny measurement, and its folder."""
    folder = tmp_path_factory.mktemp("quality")
    hopper = read_picture(get_sample("grace_hopper"))
    a = write_turned_set(folder / "a", portrait, 8)
    b = write_turned_set(folder / "b", hopper, 8)
    args = ["benchmark", "quality", "--a", str(a), "--b", str(b), *TINY]
    args += ["--minutes", "0.02", "--judgements", "2", "--seeds", "3"]
    args += ["--holdout", "0.5"]
    args += ["--out", str(folder / "out"), "--json"]
    return args, folder / "out"


def run_json(capsys, args: list[str]) -> dict[str, Any]:
    assert run_command(args) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def as_json(figures: dict[str, Any]) -> dict[str, Any]:
    """Plain numbers; what was not measured is left out."""
    numbers = json.loads(format_json(keep_numbers(figures)))
    return {name: value for name, value in numbers.items() if value is not None}


def test_a_measurement_speaks_json_and_is_gone_on_with(measured, capsys):
    args, out = measured
    result = run_json(capsys, args)
    curve = result["curve"]
    assert [line["seed"] for line in curve] == [3] * len(curve)
    for name in ("minutes", "step"):
        values = [line[name] for line in curve]
        assert all(x < y for x, y in zip(values, values[1:], strict=False))
    assert 1 <= len(curve) <= 2 and result["minutes"] == curve[-1]["minutes"] >= 0.02
    assert {"minutes_to_retrieval", "identity_transfer", "device"} <= set(result)
    assert {"mae", "psnr", "ssim", "cos_to_self"} < set(result["b"])
    assert result["a"]["faces"] == 4 and result["a"]["held_out"] is True
    lines = (out / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == curve
    assert read_picture(out / "quality.png").shape == (700, 1000, 3)
    # At the end it says what `evaluate` says, which finds the sets by itself.
    run = out / "run_3"
    assert load_run(run).step == result["step"]
    figures = asdict(evaluate(run))
    for part in ("a", "b", "a_to_b", "b_to_a"):
        assert as_json(result[part]) == pytest.approx(as_json(figures[part]), rel=1e-6)
    # The same again: nothing is left to do.
    again = run_json(capsys, args)
    assert again["curve"] == curve and load_run(run).step == result["step"]
    # Another measurement has no room there.
    for other, name in (("--set", "loss.pixel=mse"), ("--init", str(run))):
        assert run_command([*args, other, name]) == 1
        told = "init" if other == "--init" else "loss"
        assert f"other {told}" in capsys.readouterr().err


def test_a_measurement_can_start_from_another_run(measured, tmp_path, capsys, caplog):
    args, out = measured
    run_json(capsys, args)  # there already, unless this test is run alone
    where, out = args.index("--out"), out / "run_3"
    args = [*args[:where], "--out", str(tmp_path), *args[where + 2 :]]
    result = run_json(capsys, [*args, "--init", str(out)])
    assert result["step"] >= 1 and f"starting with encoder of {out}" in caplog.text


def test_a_student_is_compared_with_its_teacher_and_itself(measured, tmp_path, capsys):
    args, out = measured
    run_json(capsys, args)
    command = ["benchmark", "distill", "--teacher", str(out / "run_3"), "--json"]
    command += ["--minutes", "0.02", "--width", "8", "--set", "batch_size=2"]
    command += ["--rounds", "1", "--out", str(tmp_path)]
    result = run_json(capsys, command)
    teacher, student, alone = (result[n] for n in ("teacher", "student", "alone"))
    assert student["step"] == alone["step"] >= 1 and teacher["minutes"] is None
    assert student["parameters"] < teacher["parameters"]
    # The same network, but for the moments of codes and the map that reads shapes.
    assert 0 < alone["parameters"] - student["parameters"] < 5000
    assert student["size_mb"] > 4e-6 * student["parameters"]  # real faces are in it
    share = student["identity_transfer"] / teacher["identity_transfer"]
    assert result["share_of_transfer"] == pytest.approx(share)
    figures = asdict(evaluate(out / "run_3"))
    swaps = as_json(figures["a_to_b"])
    assert as_json(teacher["a_to_b"]) == pytest.approx(swaps, rel=1e-6)
    for figure in ("faces_per_second", "sharpness"):
        assert min(each[figure] for each in (teacher, student, alone)) > 0
    held = {(tmp_path / n / HELD_NAME).read_text() for n in ("student", "alone")}
    assert held == {(out / "run_3" / HELD_NAME).read_text()}


@pytest.mark.usefixtures("detector_weights")
def test_what_cannot_be_measured_is_said_before_training(portrait, tmp_path, capsys):
    a, b = tmp_path / "clip.mp4", write_face_set(tmp_path / "b", 40)
    write_pan(a, portrait)
    args = ["benchmark", "quality", "--a", str(a), "--b", str(b), *TINY]
    args += ["--minutes", "1", "--out"]
    assert run_command([*args, str(tmp_path / "out")]) == 1
    # The footage became a face set on the way; that of B is taken as it is.
    assert "of 12 faces of A, --holdout 0.2 leaves 2" in capsys.readouterr().err
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"quality.json", "faces_a"}
    assert run_command([*args, str(b)]) == 1
    assert "not empty and no earlier measurement" in capsys.readouterr().err
    assert run_command([*args, str(tmp_path / "x"), "--seeds", "0,0"]) == 2
    sources: Any = {"a": a, "b": b}
    with pytest.raises(ValueError, match="config.minutes"):
        measure_quality(sources, tmp_path / "y", tiny_config())
    assert not (tmp_path / "y").exists()
