"""Commands on the smallest inputs, and what is compared of what they leave.

A new command is one more `Job`: its words, what stands there before, and the names of
its results.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import jax
import numpy as np
from faults.tries import run
from footage import write_face_set, write_pan

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.media.sources import list_sources, read_source
from deepfake_jax.runs.checkpoint import restore_checkpoint

_SMALL = (
    *("--preset", "original", "--model.width", "8", "--batch-size", "2"),
    *("--log-every", "1", "--checkpoint-every", "2", "--devices", "1"),
    *("--holdout", "0", "--judge-every", "0"),
)
_TIMES = {"seconds", "images_per_second", "data_wait", "step_ms", "check"}
_SETS = ("faces", "person_1", "person_2")
_PICTURES = {"preview.png", "loss.png"}  # which show times, too


@dataclass(frozen=True)
class Job:
    """A command, and how to tell what it did.

    Attributes:
        name: of it.
        words: the command line; paths count from a folder that has the inputs.
        results: names of the files and folders that it is to leave.
        before: command lines whose results stand there already.
        prepare: what else to do before, in the folder.
        slow: whether it compiles or trains, and takes seconds.
        keeps: results that must be there, old or new, whenever it is interrupted.
        environment: variables.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    prepare: Callable[[Path], None] | None = None
    slow: bool = False
    keeps: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def _train(steps: int, run: str = "run") -> tuple[str, ...]:
    sides = ("--a", "in/a", "--b", "in/b")
    return ("train", *sides, "--run", run, "--steps", str(steps), *_SMALL)


def _convert(source: str, out: str, *more: str) -> tuple[str, ...]:
    words = ("--run", "in/run", "--person", "largest", "--out", out)
    return ("convert", source, *words, *more)


_EXTRACT = ("extract", "in/pan.mp4", "--out", "faces")
_TWO = ("extract", "in/two.png", "--out", "faces")
_DROP = ("faces", "faces", "--drop", "frame>=2")
_PHOTOS = _convert("in/photos", "swapped")
_FRAMES = _convert("in/pan.mp4", "frames/%03d.png", "--overwrite")
JOBS = (
    Job("extract", _EXTRACT, ("faces",)),
    Job("extract people", _TWO, ("faces",)),
    Job(
        "extract again",
        (*_TWO, "--overwrite"),
        ("faces",),
        before=(_EXTRACT,),
        keeps=("faces",),
    ),
    Job("faces", ("faces", "faces"), ("faces",), before=(_EXTRACT,), keeps=("faces",)),
    Job("faces drop", _DROP, ("faces",), before=(_EXTRACT,), keeps=("faces",)),
    Job(
        "faces restore",
        ("faces", "faces", "--restore"),
        ("faces",),
        before=(_EXTRACT, _DROP),
        keeps=("faces",),
    ),
    Job(
        "faces sort",
        ("faces", "faces", "--sort=-frame"),
        ("faces",),
        before=(_EXTRACT,),
        keeps=("faces",),
    ),
    Job(
        "faces delete",
        ("faces", "faces", "--drop", "frame>=2", "--delete"),
        ("faces",),
        before=(_EXTRACT,),
        keeps=("faces",),
    ),
    Job(
        "faces repair",
        ("faces", "faces", "--repair"),
        ("faces",),
        before=(_EXTRACT,),
        prepare=lambda folder: _spoil_line(folder / "faces" / "faces.jsonl"),
        keeps=("faces",),
    ),
    Job("convert picture", _convert("in/one.png", "x.png"), ("x.png", "x.png.json")),
    Job(
        "key file",
        _convert("in/one.png", "x.png"),
        ("x.png", "x.png.json", "config/signing.pem"),
        environment=(("DEEPFAKE_JAX_CONFIG", "config"),),
    ),
    Job(
        "verify",
        ("verify", "x.png"),
        ("x.png", "x.png.json"),
        before=(_convert("in/one.png", "x.png"),),
        keeps=("x.png", "x.png.json"),
    ),
    Job("convert video", _convert("in/pan.mp4", "x.mp4"), ("x.mp4", "x.mp4.json")),
    Job(
        "convert again",
        _convert("in/pan.mp4", "x.mp4", "--overwrite", "--crf", "30"),
        ("x.mp4", "x.mp4.json"),
        before=(_convert("in/pan.mp4", "x.mp4"),),
        keeps=("x.mp4",),
    ),
    Job("convert folder", _PHOTOS, ("swapped", "swapped.json")),
    Job(
        "convert folder again",
        (*_PHOTOS, "--overwrite", "--color", "none"),
        ("swapped", "swapped.json"),
        before=(_PHOTOS,),
        keeps=("swapped",),
    ),
    Job(
        "convert frames again",
        (*_FRAMES, "--end", "0.1"),
        ("frames",),
        before=(_FRAMES,),
        keeps=("frames",),
    ),
    Job(
        "convert save faces",
        _convert("in/pan.mp4", "x.mp4", "--save-faces", "cut"),
        ("x.mp4", "x.mp4.json", "cut"),
    ),
    Job(
        "preview",
        ("preview", "in/one.png", "--run", "in/run", "--person", "largest"),
        ("preview.png",),
    ),
    Job("train", _train(4), ("run",), slow=True),
    Job(
        "train on",
        _train(6),
        ("run",),
        before=(_train(3),),
        slow=True,
        keeps=("run/checkpoints", "run/config.yaml"),
    ),
    Job(
        "distill",
        (
            *("distill", "--teacher", "in/run", "--run", "small", "--steps", "2"),
            *("--set", "model.width=8", "--set", "batch_size=2"),
            *("--set", "checkpoint_every=1", "--devices", "1"),
        ),
        ("small",),
        slow=True,
    ),
)


def find_jobs(*names: str) -> list[Job]:
    """The jobs of some names; all without."""
    found = [job for job in JOBS if not names or job.name in names]
    assert len(found) == (len(names) or len(JOBS)), names
    return found


def make_inputs(folder: Path) -> Path:
    """The inputs of all jobs: footage, face sets and a run of two steps."""
    folder.mkdir(parents=True)
    astronaut = read_picture(get_sample("astronaut"))
    portrait = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    other = read_picture(get_sample("grace_hopper"))[:600]
    height, width = other.shape[:2]
    other = cv2.resize(
        other, (256 * width // height, 256), interpolation=cv2.INTER_AREA
    )
    write_picture(folder / "one.png", portrait)
    write_picture(folder / "two.png", np.concatenate([portrait, other], axis=1))
    write_pan(
        folder / "pan.mp4", portrait, frames=5, width=160, height=160, start=(30, 0)
    )
    (folder / "photos").mkdir()
    for name in ("p1.jpg", "p2.png"):
        write_picture(folder / "photos" / name, portrait)
    for side, tint in (("a", (200, 150, 120)), ("b", (120, 160, 210))):
        write_face_set(folder / side, 4, tint=tint)
    work = folder.parent / f"{folder.name} work"
    work.mkdir()
    link_inputs(folder, work)
    done = run(_train(2), work)
    assert done.status == 0, done.text
    shutil.move(work / "run", folder / "run")
    shutil.rmtree(work)
    return folder


def link_inputs(inputs: Path, folder: Path) -> None:
    """Lends the inputs to a folder."""
    (folder / "in").symlink_to(inputs, target_is_directory=True)


def begin(job: Job, inputs: Path, folder: Path) -> Path:
    """Makes a folder for a job, with what stands there before."""
    folder.mkdir(parents=True)
    link_inputs(inputs, folder)
    for words in job.before:
        done = run(words, folder)
        assert done.status == 0, (job.name, words, done.text)
    if job.prepare is not None:
        job.prepare(folder)
    return folder


def copy_folder(folder: Path, place: Path) -> Path:
    """Another folder of the same content, for one try."""
    return Path(shutil.copytree(folder, place, symlinks=True))


def read_results(folder: Path, results: Sequence[str]) -> dict[str, str]:
    """What results hold, hidden files included, without times of the clock.

    A picture that shows such is only there or not.
    """
    found: dict[str, str] = {}
    for name in results:
        root = folder / name
        paths = sorted(root.rglob("*")) if root.is_dir() else [root]
        for path in paths:
            # A repair keeps the record that it found: one more each time.
            spare = "state" in path.parts or ".before" in path.name
            if path.is_file() and not spare:
                found[os.path.relpath(path, folder)] = _read(path)
    return found


def _read(path: Path) -> str:
    if path.name in _PICTURES:
        return "a picture"
    if path.name == ".lock":
        return "a lock"
    data = path.read_bytes()
    if path.name == "metrics.jsonl":
        lines = [json.loads(line) for line in data.splitlines()]
        return str(
            [{k: v for k, v in line.items() if k not in _TIMES} for line in lines]
        )
    if path.name == "manifest.json":
        values = json.loads(data)
        extra = {k: v for k, v in values["extra"].items() if k not in _TIMES}
        return str((values["step"], extra, _hash_state(path.parent)))
    if path.parent.name not in _SETS and path.suffix in (".mp4", ".jpg", ".png"):
        # Each output is signed with its own time and number.
        total = hashlib.sha256()
        for source in list_sources([path]):
            for timed in read_source(source):
                total.update(timed.frame.tobytes() + str(timed.time).encode())
        return total.hexdigest()
    if path.suffix == ".json":
        values = json.loads(data)
        for session in values.get("trained", ()):  # a run's card
            del session["time"]
        return str({k: v for k, v in values.items() if k != "credential"})
    if path.name == "signing.pem":
        return "a key" if data.count(b"-----END") == 3 else data.decode()
    return hashlib.sha256(data).hexdigest()


def _hash_state(path: Path) -> str:
    """Of a checkpoint's arrays: its files differ each time."""
    restored = restore_checkpoint(path.parent, step=int(path.name))
    assert restored is not None
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(restored.tree):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()


def list_hidden(folder: Path) -> list[str]:
    """Hidden files that a job left, beside and inside of its results."""
    return [
        os.path.relpath(path, folder)
        for path in folder.rglob(".*")
        if path.name != ".lock" or path.parent.name not in ("run", "small")
    ]


def _spoil_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:40] + b"\n"
    path.write_bytes(b"".join(lines))
