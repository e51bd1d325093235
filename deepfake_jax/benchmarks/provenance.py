"""Marks: what copies keep, what changed files are told by, and what marking costs."""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepfake_jax.benchmarks.changed_files import (
    ChangeFigures,
    try_changes,
    write_outputs,
)
from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.benchmarks.watermark_copies import (
    PAYLOAD,
    CopyFigures,
    UnmarkedFigures,
    look_at_unmarked,
    mark_frames,
    read_clip,
    read_copies,
    time_marking,
)
from deepfake_jax.conversion.convert import convert_video
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.provenance.credentials import Seal
from deepfake_jax.provenance.facts import make_provenance
from deepfake_jax.provenance.manifest import Statement
from deepfake_jax.provenance.own_key import load_own_key
from deepfake_jax.provenance.watermark_reader import SURE

_FRAMES = 60  # of each clip


@dataclass(frozen=True)
class MarkingCost:
    """What marks cost a conversion whose search was kept; medians of rounds in turns.

    Attributes:
        frames: converted.
        seconds: that it took.
        watermark: how much more processor time than without a watermark, a share.
        signing: seconds of signing, of those of the conversion, a share.
    """

    frames: int
    seconds: float
    watermark: float
    signing: float


@dataclass(frozen=True)
class ProvenanceResult:
    """What `measure_provenance` found.

    Attributes:
        psnr: the least of all marked frames, dB.
        ms_360: of marking a frame of 640 x 360, one thread.
        ms_1080: of one of 1920 x 1080.
        copies: how the watermark is read from each kind.
        unmarked: what was seen where there is none.
        bound: of false alarms of one look, by the model that ``unmarked`` tries.
        changes: what changed files are told by.
        cost: of marks in a conversion; None where no run was given.
        clips: names of the footage.
        machine: where.
    """

    psnr: float
    ms_360: float
    ms_1080: float
    copies: tuple[CopyFigures, ...]
    unmarked: UnmarkedFigures
    bound: float
    changes: tuple[ChangeFigures, ...]
    cost: MarkingCost | None
    clips: tuple[str, ...]
    machine: Machine


def measure_provenance(
    clips: Sequence[Path],
    *,
    looks: int = 400,
    copies: int = 200,
    run: Path | None = None,
    rounds: int = 3,
) -> ProvenanceResult:
    """Measures all marks on some clips.

    Args:
        clips: real footage without a mark.
        looks: at unmarked pieces of it.
        copies: of each kind of file and change.
        run: converts the first clip, to see what marks cost.
        rounds: of such conversions.

    Raises:
        FFmpegError: a clip cannot be read.
    """
    rng = np.random.default_rng(0)
    plain = [read_clip(clip, _FRAMES) for clip in clips]
    marked = [mark_frames(frames) for frames in plain]
    kinds = []
    for figures in read_copies([frames for frames, _ in marked]):
        _say(f"{figures.copy}: read from {figures.read:.0%} of {figures.looks}")
        kinds.append(figures)
    unmarked = look_at_unmarked(rng, plain, looks)
    _say(f"{looks} looks at unmarked pieces: {unmarked.found} false alarms")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        outputs = write_outputs(place, marked[0][0], _make_seal())
        changes = []
        for change in try_changes(rng, outputs, copies, place):
            _say(f"{change.kind}, {change.change}: {change.told:.1%} of {copies}")
            changes.append(change)
    cost = None if run is None else measure_cost(clips[0], run, rounds=rounds)
    return ProvenanceResult(
        psnr=round(min(ratio for _, ratios in marked for ratio in ratios), 2),
        ms_360=round(time_marking(360, 640), 2),
        ms_1080=round(time_marking(1080, 1920), 2),
        copies=tuple(kinds),
        unmarked=unmarked,
        bound=SURE,
        changes=tuple(changes),
        cost=cost,
        clips=tuple(clip.name for clip in clips),
        machine=describe_machine(),
    )


def _make_seal() -> Seal:
    facts = make_provenance(
        tool_version="benchmark",
        model_hash="0" * 64,
        model_step=0,
        source_name="",
        source_hash="",
        direction="a_to_b",
    )
    return Seal(Statement(facts=facts, watermark=PAYLOAD), load_own_key())


def measure_cost(clip: Path, run: Path, *, rounds: int) -> MarkingCost:
    """Converts a clip with and without a watermark in turns, then signs the result.

    Raises:
        ConvertError: nobody's face is in the clip.
    """
    spread = ConvertConfig(person="largest", search="kept", overwrite=True)
    forms = spread, replace(spread, watermark="none")
    times: tuple[list[float], list[float]] = [], []
    walls, frames = [], 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        for number in range(rounds + 1):  # the first one compiles and searches
            for config, found in zip(forms, times, strict=True):
                start, wall = time.process_time(), time.perf_counter()
                frames = convert_video(clip, run, out, config).frames
                if number:
                    found.append(time.process_time() - start)
                    walls.append(time.perf_counter() - wall)
        seal, signing = _make_seal(), []
        for _ in range(rounds):
            start = time.perf_counter()
            seal(out, out)
            signing.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    seconds = statistics.median(walls)
    return MarkingCost(
        frames=frames,
        seconds=round(seconds, 3),
        watermark=round(statistics.median(ratios) - 1, 4),
        signing=round(statistics.median(signing) / seconds, 4),
    )


def describe_provenance(result: ProvenanceResult) -> str:
    """The figures as lines, a kind of copy or change each."""
    lines = [
        f"the mark: {result.psnr:.1f} dB at least; {result.ms_360:.2f} ms a frame of "
        f"640 x 360, {result.ms_1080:.2f} ms of 1920 x 1080",
        *(
            f"{each.copy}: all bits read from {each.read:.0%} of "
            f"{each.looks} copies, found in {each.found:.0%}"
            for each in result.copies
        ),
        f"unmarked: {result.unmarked.found} found in {result.unmarked.looks} looks, "
        f"least bound of chance {result.unmarked.least:.2g} (reported below "
        f"{result.bound:.0e}); below 0.1 in {result.unmarked.below_10:.1%}, below 0.01 "
        f"in {result.unmarked.below_100:.1%}",
        *(
            f"{each.kind}, {each.change}: {each.told:.1%} of {each.copies}"
            for each in result.changes
        ),
    ]
    if (cost := result.cost) is not None:
        lines.append(
            f"conversion of {cost.frames} frames in {cost.seconds:.1f} s: the "
            f"watermark takes {cost.watermark:.1%} more of the processors, signing "
            f"{cost.signing:.1%} of the time"
        )
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
