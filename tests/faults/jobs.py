"""Commands on the smallest inputs; `results` says what is compared of what they leave.

A new command is one more `Job`: its words, what stands there before, and the names of
its results.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from faults.tries import Limits, run
from footage import write_face_set, write_pan

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.media.pictures import read_picture, write_picture

_SMALL = (
    *("--preset", "original", "--model.width", "8", "--batch-size", "2"),
    *("--log-every", "1", "--checkpoint-every", "2", "--devices", "1"),
    *("--holdout", "0", "--judge-every", "0"),
)


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
        rare: whether only its own name draws it: it takes a minute each time.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    prepare: Callable[[Path], None] | None = None
    slow: bool = False
    keeps: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    rare: bool = False


def _train(steps: int, run: str = "run") -> tuple[str, ...]:
    sides = ("--a", "in/a", "--b", "in/b")
    return ("train", *sides, "--run", run, "--steps", str(steps), *_SMALL)


def _convert(source: str, out: str, *more: str) -> tuple[str, ...]:
    words = ("--run", "in/run", "--person", "largest", "--out", out)
    return ("convert", source, *words, *more)


_OWN_CONFIG = (("DEEPFAKE_JAX_CONFIG", "config"),)
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
        environment=_OWN_CONFIG,
    ),
    Job(
        "verify",
        ("verify", "x.png"),
        ("x.png", "x.png.json"),
        before=(_convert("in/one.png", "x.png"),),
        keeps=("x.png", "x.png.json"),
        environment=_OWN_CONFIG,
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
        # An open fault: beside other work its film was another one twice, perhaps three
        # times, in some thousand tries; see BENCHMARKS.md, "Things before the face".
        rare=True,
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
    Job(
        "evaluate",
        ("evaluate", "--run", "run"),
        ("run",),
        before=(_train(3),),
        slow=True,
        keeps=("run",),
    ),
    Job(
        "demo",
        ("demo", "--out", "demo", "--minutes", "0.05"),
        ("demo",),
        slow=True,
        rare=True,
    ),
)
# They read what others write at that time; see `pairs`.
READERS = (
    Job("evaluating", ("evaluate", "--run", "run"), ()),
    Job(
        "converting by it",
        ("convert", "in/one.png", "--run", "run", "--person", "largest", "--out")
        + ("by it.png",),
        (),
    ),
    Job("previewing it", ("preview", "in/one.png", "--run", "run"), ()),
    Job(
        "teaching by it",
        ("distill", "--teacher", "run", "--run", "small", "--steps", "2")
        + ("--set", "model.width=8", "--set", "batch_size=2", "--devices", "1"),
        (),
    ),
    Job(
        "training on it",
        ("train", "--a", "faces", "--b", "in/b", "--run", "other", "--steps", "2")
        + _SMALL,
        (),
    ),
    Job("checking it", ("faces", "faces", "--check", "--no-sheets"), ()),
)


def find_jobs(*names: str) -> list[Job]:
    """The jobs of some names; without, all that are not rare."""
    found = [job for job in JOBS if job.name in names or not (names or job.rare)]
    assert not names or len(found) == len(names), names
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
        done = run(words, folder, Limits(environment=dict(job.environment)))
        assert done.status == 0, (job.name, words, done.text)
    if job.prepare is not None:
        job.prepare(folder)
    return folder


def copy_folder(folder: Path, place: Path) -> Path:
    """Another folder of the same content, for one try."""
    return Path(shutil.copytree(folder, place, symlinks=True))


def _spoil_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:40] + b"\n"
    path.write_bytes(b"".join(lines))
