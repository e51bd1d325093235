"""The whole way on sample footage: extract, train `lite`, convert, report.

Person A is the man of the carphone clip, a standard test sequence of 176 x 144 pixels;
person B is the astronaut Eileen Collins, of whom the samples hold one portrait.
"""

import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.conversion.convert import convert_video
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets import set_files
from deepfake_jax.face_sets.extraction import extract_faces, own_version
from deepfake_jax.files import remove_known, write_json
from deepfake_jax.imaging.picture_grid import put_text
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.provenance.facts import NOTICE
from deepfake_jax.runs import run_folder
from deepfake_jax.runs.run_folder import (
    LOSSES_NAME,
    PREVIEW_NAME,
)
from deepfake_jax.train_config import AugmentConfig, load_preset
from deepfake_jax.training.loop import train
from deepfake_jax.types import Frame, spread

_REPORT = "report.json"
_MARKER = ".deepfake-jax-demo"
_KNOWN = (
    *(_MARKER, _REPORT, "preview.png", "loss.png", "comparison.png"),
    *("swapped.mp4", "swapped.mp4.json"),
    *(f"run/{name}" for name in run_folder.KNOWN),
    *(f"faces_?/{name}" for name in set_files.KNOWN),
    *(".faces_?.*/*", ".faces_?.*/*/*"),  # of a search that was interrupted
)
_COLUMNS = 5


class DemoError(RuntimeError):
    """The demo could not be run; the text says why and the fix."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and how long each part took.

    Attributes:
        out: folder of the results.
        minutes: training time asked for.
        seconds: of each part.
        extract_a: result of extracting A.
        extract_b: result of extracting B.
        train: result of training.
        convert: result of conversion.
        machine: what it ran on.
        notice: what the pictures are.
    """

    out: str
    minutes: float
    seconds: dict[str, float]
    extract_a: dict[str, Any]
    extract_b: dict[str, Any]
    train: dict[str, Any]
    convert: dict[str, Any]
    machine: dict[str, Any]
    notice: str


def run_demo(out: str | Path, *, minutes: float = 7.0) -> DemoResult:
    """Runs the demo into a folder: swapped.mp4, pictures and report.json.

    Args:
        out: folder of the results; an earlier demo there is replaced.
        minutes: training time; compilation counts.

    Raises:
        DemoError: `out` exists and is no demo.
        AssetError: the samples or weights cannot be had.
    """
    if minutes <= 0:
        raise DemoError(f"minutes must be above 0, got {minutes}")
    out = Path(out)
    _clear(out)
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(part: str) -> None:
        nonlocal clock
        now = time.monotonic()
        seconds[part], clock = round(now - clock, 1), now

    source, portrait = get_sample("carphone"), get_sample("astronaut")
    lap("fetch")
    # One person each, whatever the clustering may think of a blurred frame.
    overwrite = ExtractConfig(overwrite=True, person="main")
    extracted_a = extract_faces(source, out / "faces_a", overwrite)
    extracted_b = extract_faces(portrait, out / "faces_b", overwrite)
    lap("extract")
    run = out / "run"
    # What B's one portrait does not show of other poses, transforms of it must.
    augment = AugmentConfig()
    config = replace(load_preset("lite"), steps=None, minutes=minutes, augment=augment)
    faces = out / "faces_a", out / "faces_b"
    # One device: lite's batch of 16 does not split over every number of GPUs.
    trained = train(*faces, run, config, devices=1)
    if trained.interrupted:
        raise DemoError(f"stopped by {trained.interrupted} while training")
    lap("train")
    swapped = out / "swapped.mp4"
    converted = convert_video(source, run, swapped, ConvertConfig(overwrite=True))
    lap("convert")
    shutil.copyfile(run / PREVIEW_NAME, out / "preview.png")
    shutil.copyfile(run / LOSSES_NAME, out / "loss.png")
    title = f"source (above) and swapped, lite, {minutes:g} min. Synthetic media"
    write_picture(out / "comparison.png", draw_comparison(source, swapped, title=title))
    result = DemoResult(
        out=str(out.resolve()),
        minutes=minutes,
        seconds=seconds,
        extract_a=asdict(extracted_a),
        extract_b=asdict(extracted_b),
        train=asdict(trained),
        convert=asdict(converted),
        machine=_describe_machine(),
        notice=NOTICE,
    )
    write_json(out / _REPORT, asdict(result), indent=2)
    return result


def _clear(out: Path) -> None:
    """Empties the folder of an earlier demo; leaves anything else alone."""
    marker = out / _MARKER
    if out.exists() and not out.is_dir():
        raise DemoError(f"--out {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not marker.exists():
            raise DemoError(
                f"--out {out} is not empty and no earlier demo; name a new folder"
            )
        remove_known(out, _KNOWN)
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()


def draw_comparison(source: Path, swapped: Path, *, title: str) -> Frame:
    """Frames of a video above the same frames of its swap, enlarged if small.

    Args:
        source: the video.
        swapped: its conversion, of the same frames and size.
        title: a line above; ASCII.
    """
    rows = [list(_pick_frames(path, _COLUMNS)) for path in (source, swapped)]
    scale = max(1, round(320 / rows[0][0].shape[1]))
    enlarged = [
        np.concatenate(
            [
                cv2.resize(
                    frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
                )
                for frame in row
            ],
            axis=1,
        )
        for row in rows
    ]
    header = np.full((32, enlarged[0].shape[1], 3), 24, np.uint8)
    put_text(header, title, (8, 21), scale=0.55)
    return np.concatenate([header, *enlarged])


def _pick_frames(path: Path, count: int) -> Iterator[Frame]:
    """Frames spread evenly over a video, which is read twice to spare memory."""
    total = sum(1 for _ in read_frames(path))
    wanted = set(spread(total, count))
    for timed in read_frames(path):
        if timed.index in wanted:
            yield timed.frame


def _describe_machine() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "device": f"{device.platform} {device.device_kind}",
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "deepfake_jax": own_version(),
    }
