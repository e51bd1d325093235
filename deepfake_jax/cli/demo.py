"""The whole way on sample footage: extract, train, convert both ways, judge, report.

Person A is the man of the carphone clip, a standard test sequence of 176 x 144 pixels;
person B a woman who looks up and laughs, 640 x 360 pixels.
"""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from deepfake_jax.cli.samples import get_sample
from deepfake_jax.conversion.convert import ConvertResult, convert_video
from deepfake_jax.conversion.marking import make_marks, write_marked
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.evaluation.evaluate import Evaluation, evaluate
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets import set_files
from deepfake_jax.face_sets.extraction import ExtractResult, extract_faces
from deepfake_jax.files import check_known, hidden_path, remove_known
from deepfake_jax.imaging.picture_grid import put_text
from deepfake_jax.json_files import write_json
from deepfake_jax.media.sources import parse_part
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.output_lock import lock_output
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.provenance.facts import NOTICE
from deepfake_jax.runs import run_folder
from deepfake_jax.runs.run_folder import LOSSES_NAME, PREVIEW_NAME
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.train_config import load_preset
from deepfake_jax.training.loop import TrainResult, train
from deepfake_jax.types import DIRECTIONS, SIDES, Frame, Side, spread
from deepfake_jax.version import own_version

_PRESET = "lite128"
_PEOPLE: dict[Side, str] = {"a": "carphone", "b": "crying_woman"}
# Of each clip. Before these seconds she wipes her face, and her hand would be learned
# with it; then and after them her eyes are shut, and what is open in his face, whose
# eyes hardly ever close, would come out shut in hers.
_PARTS: dict[Side, tuple[str, str]] = {"a": ("", ""), "b": ("9.4", "18")}
_REPORT = "report.json"
_MARKER = ".deepfake-jax-demo"
_VIDEOS = tuple(f"{side}_to_{to}.mp4" for side, to in DIRECTIONS)
_KNOWN = (
    *(_MARKER, _REPORT, "preview.png", "loss.png", "comparison.png"),
    *_VIDEOS,
    *(f"{video}.json" for video in _VIDEOS),
    *("swapped.mp4", "swapped.mp4.json"),  # of demos of earlier versions
    *(f"run/{name}" for name in run_folder.KNOWN),
    *(f"faces_?/{name}" for name in set_files.KNOWN),
    # Of a search that was interrupted, and of a process that was killed.
    *(".faces_?.*/*", ".faces_?.*/*/*", ".faces_?.lock", ".?_to_?.mp4.lock"),
)
_COLUMNS = 6
_COLUMN_WIDTH = 320  # pixels


class DemoError(RuntimeError):
    """The demo could not be run; the text says why and the fix."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and how long each part took.

    Attributes:
        out: folder of the results.
        minutes: training time asked for.
        seconds: of each part.
        extract: result of extracting each side.
        train: result of training.
        convert: result of each direction's conversion, by its file.
        figures: of faces that the run was trained on, which the videos show; see
            `judge.FaceFigures`.
        figures_held_out: of those that it never saw, or None where it has none. They
            are few, so of following they say little.
        what_helps: what more footage or time would give, in words.
        machine: what it ran on.
        notice: what the pictures are.
    """

    out: str
    minutes: float
    seconds: dict[str, float]
    extract: dict[str, Any]
    train: dict[str, Any]
    convert: dict[str, Any]
    figures: dict[str, Any]
    figures_held_out: dict[str, Any] | None
    what_helps: list[str]
    machine: dict[str, Any]
    notice: str


def run_demo(out: str | Path, *, minutes: float = 10.0) -> DemoResult:
    """Runs the demo into a folder: both swapped videos, pictures and report.json.

    Args:
        out: folder of the results; an earlier demo there is replaced.
        minutes: training time; compilation counts.

    Raises:
        DemoError: `out` exists and is no demo.
        ForeignFilesError: it is one, and holds other files, too.
        OutputBusyError: another process writes it.
        AssetError: the samples or weights cannot be had.
    """
    if minutes <= 0:
        raise DemoError(f"minutes must be above 0, got {minutes}")
    out = Path(out).resolve()  # a link stays one
    with _hold(out):
        return _make(out, minutes)


def _make(out: Path, minutes: float) -> DemoResult:
    watch, run = Stopwatch(), out / "run"
    clips: dict[Side, Path] = watch.wrap("fetch", _fetch)()
    extracted = watch.wrap("extract", _extract)(clips, out)
    trained = watch.wrap("train", _train)(out, run, minutes)
    converted = watch.wrap("convert", _convert)(clips, run, out)
    judged, held_out = watch.wrap("evaluate", _judge)(run)
    title = f"source (above) and swapped, {_PRESET}, {minutes:g} min. Synthetic media"
    _draw(clips, run, out, title)
    result = DemoResult(
        out=str(out),
        minutes=minutes,
        seconds={part: round(spent, 1) for part, spent in watch.seconds.items()},
        extract={side: asdict(result) for side, result in extracted.items()},
        train=asdict(trained),
        convert={video: asdict(result) for video, result in converted.items()},
        figures=asdict(judged),
        figures_held_out=asdict(held_out) if held_out else None,
        what_helps=_say_what_helps(
            {side: result.faces for side, result in extracted.items()}, trained.step
        ),
        machine=_describe_machine(),
        notice=NOTICE,
    )
    write_json(out / _REPORT, asdict(result), indent=2)
    return result


def _fetch() -> dict[Side, Path]:
    return {side: get_sample(name) for side, name in _PEOPLE.items()}


def _faces_of(out: Path, side: Side) -> Path:
    return out / f"faces_{side}"


def _extract(clips: Mapping[Side, Path], out: Path) -> dict[Side, ExtractResult]:
    extracted: dict[Side, ExtractResult] = {}
    for side, clip in clips.items():
        start, end = _PARTS[side]
        # One person each, whatever the clustering may think of a blurred frame.
        search = ExtractConfig(overwrite=True, person="main", start=start, end=end)
        extracted[side] = extract_faces(clip, _faces_of(out, side), search)
    return extracted


def _train(out: Path, run: Path, minutes: float) -> TrainResult:
    config = replace(load_preset(_PRESET), steps=None, minutes=minutes)
    a, b = (_faces_of(out, side) for side in SIDES)
    # One device: a batch of 16 does not split over every number of GPUs.
    trained = train(a, b, run, config, devices=1)
    if trained.interrupted:
        raise DemoError(f"stopped by {trained.interrupted} while training")
    return trained


def _convert(
    clips: Mapping[Side, Path], run: Path, out: Path
) -> dict[str, ConvertResult]:
    """Both directions, by the names of their videos."""
    converted: dict[str, ConvertResult] = {}
    for (side, to), video in zip(DIRECTIONS, _VIDEOS, strict=True):
        start, end = _PARTS[side]
        options = ConvertConfig(overwrite=True, to=to, start=start, end=end)
        converted[video] = convert_video(clips[side], run, out / video, options)
    return converted


def _judge(run: Path) -> tuple[Evaluation, Evaluation | None]:
    """Of the faces that the run was trained on, and of those that it never saw.

    Of footage of a second or two it has none of these.
    """
    seen, unseen = evaluate(run, faces="trained"), evaluate(run)
    held_out = unseen.a.held_out and unseen.b.held_out
    return seen, unseen if held_out else None


def _draw(clips: Mapping[Side, Path], run: Path, out: Path, title: str) -> None:
    """The run's own pictures, and both swaps below their sources, marked."""
    shutil.copyfile(run / PREVIEW_NAME, out / "preview.png")
    shutil.copyfile(run / LOSSES_NAME, out / "loss.png")
    rows = []
    for (side, _), video in zip(DIRECTIONS, _VIDEOS, strict=True):
        rows += [(clips[side], *_PARTS[side]), (out / video, "", "")]
    made = load_run(run)
    marks = make_marks(
        ConvertConfig(),
        clips["a"],
        model_hash=made.model_hash,
        model_step=made.step,
        run=run,
    )
    write_marked(out / "comparison.png", draw_comparison(rows, title=title), marks)


def _say_what_helps(faces: Mapping[Side, int], steps: int) -> list[str]:
    """What these swaps lack, and what gives it."""
    found = " and ".join(str(faces[side]) for side in SIDES)
    return [
        f"footage: {found} faces were found. A pose or expression that one of the two "
        "never has is guessed from the nearest one; some hundred varied faces a side "
        f"do better than {min(faces.values())}",
        f"time: {steps} updates. More are sharper: `deepfake-jax train --run` goes on "
        "with the same run",
        "size: the man's face is 55 pixels wide here, so what is learned of him is "
        "soft; faces of 200 pixels and more show what the network can draw",
    ]


@contextmanager
def _hold(out: Path) -> Iterator[None]:
    """Lends the folder, empty, to this process; an earlier demo waits beside it.

    That goes when the new one is whole, and comes back when the block raises, or, after
    a kill, at the next try. Anything else is left alone.
    """
    if out.exists() and not out.is_dir():
        raise DemoError(f"--out {out} is a file; name a folder")
    earlier = hidden_path(out, ".earlier")
    with lock_output(out):
        if earlier.is_dir():
            _go_back(out, earlier)
        if out.is_dir() and any(out.iterdir()):
            if not (out / _MARKER).exists():
                raise DemoError(
                    f"--out {out} is not empty and no earlier demo; name a new folder"
                )
            if (out / _REPORT).exists():
                check_known(out, _KNOWN)
                out.rename(earlier)
            else:  # it did not come to its end
                remove_known(out, _KNOWN)
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARKER).touch()
        try:
            yield
        finally:
            if earlier.is_dir():
                _go_back(out, earlier)


def _go_back(out: Path, earlier: Path) -> None:
    """Puts an earlier demo in the place of one that did not come to its end.

    It goes where that one is whole.
    """
    if (out / _REPORT).exists():
        shutil.rmtree(earlier)
        return
    remove_known(out, _KNOWN)
    earlier.rename(out)


def draw_comparison(rows: Sequence[tuple[Path, str, str]], *, title: str) -> Frame:
    """Frames of videos, a row each: a source's above those of its swap, all as wide.

    Args:
        rows: a video, and where the part of it starts and ends, as `convert` takes it.
        title: a line above; ASCII.
    """
    header = np.full((32, _COLUMNS * _COLUMN_WIDTH, 3), 24, np.uint8)
    put_text(header, title, (8, 21), scale=0.55)
    return np.concatenate([header, *(_draw_row(path, *part) for path, *part in rows)])


def _draw_row(path: Path, start: str, end: str) -> Frame:
    frames = []
    for frame in _choose_frames(path, _COLUMNS, *parse_part(start, end)):
        scale = _COLUMN_WIDTH / frame.shape[1]
        size = _COLUMN_WIDTH, round(frame.shape[0] * scale)
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        frames.append(cv2.resize(frame, size, interpolation=how))
    return np.concatenate(frames, axis=1)


def _choose_frames(
    path: Path, count: int, start: float | None, end: float | None
) -> Iterator[Frame]:
    """Frames spread evenly over a part, which is read twice to spare memory."""
    total = sum(1 for _ in read_frames(path, start=start, end=end))
    wanted = set(spread(total, count))
    for number, timed in enumerate(read_frames(path, start=start, end=end)):
        if number in wanted:
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
