"""Whatever is sent: read, or refused in words, in bounded time and memory."""

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faults.hostile_files import make_seeds, make_special, make_texts, mutate
from faults.reading import MEGABYTES, read_all
from faults.seeds import explain, make_random, scale
from faults.tries import Limits, run


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[Path]:
    return make_seeds(tmp_path_factory.mktemp("hostile") / "seeds")


def test_mutated_media(seeds, tmp_path, tally):
    rng = make_random("mutated media")
    made = {}
    for number in range(scale(60)):
        path = tmp_path / f"{number:05d}"
        told = mutate(rng, seeds, path)
        path = path.rename(path.with_suffix(f".{told.split(':')[0].split('.')[1]}"))
        made[path] = told
    for path, problem in read_all(list(made), tmp_path):
        tally.add(problem and f"{path.name}, {made[path]}: {problem}")
    assert not tally.lost, explain(tally.lost)


def test_bombs_pipes_and_devices(tmp_path, tally):
    paths = list(make_special(tmp_path / "special"))
    for path, problem in read_all(paths, tmp_path):
        tally.add(problem and f"{path.name!r}: {problem}")
    # A folder of them is gone through, too, without an end nowhere.
    large = tmp_path / "special" / "large.webp"
    large.unlink()
    found = run(["extract", "special", "--out", "faces"], tmp_path, patience=600)
    assert found.status == 1 and found.is_clear, found.text
    assert found.peak < MEGABYTES
    assert not tally.lost, explain(tally.lost)


def test_texts(inputs, tmp_path, tally):
    """Configs and records through the commands that read them."""
    for path, kind in make_texts(tmp_path / "texts"):
        sets = ["--a", inputs / "a", "--b", inputs / "b"]
        words = ["train", *sets, "--run", "run", "--config", path]
        if kind == "set":
            words = ["faces", path, "--no-sheets"]
        found = run(words, tmp_path, Limits(memory=12 << 30), patience=600)
        told = f"{path.name}: {found.status} {found.text[-800:]}"
        good = found.is_clear and found.status in (1, 2) and len(found.text) < 20_000
        tally.add("" if good and found.peak < MEGABYTES else told)
    assert not (tmp_path / "owned").exists() and not (tmp_path / "run").exists()
    assert not tally.lost, explain(tally.lost)


def test_records_do_not_lead_out_of_their_folder(inputs, tmp_path):
    """A set from a stranger must not read, move or remove files elsewhere."""
    secret = tmp_path / "secret.png"
    shutil.copyfile(inputs / "one.png", secret)
    faces = tmp_path / "faces"
    shutil.copytree(inputs / "a", faces)
    record = faces / "faces.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text(
        lines[0] + lines[1].replace('"000_000000_0.png"', '"../secret.png"')
    )
    words = ["train", "--a", "faces", "--b", inputs / "b", "--run", "run"]
    found = run([*words, "--steps", "1"], tmp_path)
    assert found.status == 1 and "without a folder" in found.text, found.text
    for more in (["--drop", "frame==0", "--delete"], ["--check"], ["--repair"]):
        found = run(["faces", "faces", *more], tmp_path)
        assert found.is_clear, found.text
        assert secret.exists()


class _Code:
    def __reduce__(self):
        return exec, ("open('owned', 'w')",)


def test_checkpoints_run_no_code(inputs, tmp_path):
    """What is opened is JSON, YAML by `safe_load` and orbax's arrays: never pickle."""
    code = pickle.dumps(_Code())
    made = shutil.copytree(inputs / "run", tmp_path / "run")
    for path in sorted(made.rglob("*")):
        if path.is_file():
            before = path.read_bytes()
            path.write_bytes(code)
            words = ["convert", inputs / "one.png", "--run", "run", "--out", "x.png"]
            if path.name == "manifest.json" or path.name == "config.yaml":
                found = run([*words, "--person", "largest"], tmp_path)
                assert found.status == 1 and found.is_clear, found.text
            path.write_bytes(before)
    np.savez(tmp_path / "a.npz", np.array([_Code()], object))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../../owned", "no")
    for name in ("a.npz", "b.zip"):
        found = run(["extract", name, "--out", "faces"], tmp_path)
        assert found.status == 1 and found.is_clear, found.text
    assert not list(tmp_path.rglob("owned"))
