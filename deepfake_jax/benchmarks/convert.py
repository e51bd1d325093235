"""Conversion: how fast, how visible at the border, how restless, how faithful.

Seam and flicker are `seam.seam_error` and `flicker.FlickerMeter`, of the default
choices beside a plain paste (the rectangle, hard, its colors as they come) and the
choices of 2018. The identity network returns its input, at the size that the crop has
in the frame: what is lost then is lost by cutting and pasting.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from av import VideoFrame

from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.convert import ConvertResult, convert_video
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.convert_config import ConvertConfig, classic_options
from deepfake_jax.evaluation.clip_figures import Clip
from deepfake_jax.imaging.affine import affine_scale, compose_affine, resize_affine
from deepfake_jax.imaging.blend import face_box
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.runs.trained_run import load_run

_SIDE = 300  # pixels of the face whose cost is measured
_REPEATS = 40  # of that


@dataclass(frozen=True)
class ConvertFigures:
    """What `measure_convert` found of one clip.

    Attributes:
        clip: name of the source.
        frames: frames converted.
        swapped_frames: those with a swapped face.
        face_pixels: median side of the crops in their frames.
        frames_per_second: of `convert`, start-up left out, looking included.
        stages: each stage's share of the work.
        seam: mean over faces, Delta E, with the default choices.
        seam_plain: likewise of a plain paste.
        seam_classic: likewise of the choices of 2018.
        seam_ratio: of the default's to the plain paste's.
        flicker: grey levels, with the default choices.
        flicker_classic: likewise of the choices of 2018.
        flicker_ratio: of the first to the second.
        identity_psnr: of the identity network through the default conversion with
            alpha blending, in the crop's box, dB; mean over frames.
        identity_psnr_touched: the same over changed pixels alone.
        face_ms: everything but the network for a face of 300 pixels, one thread,
            milliseconds; median.
        machine: where.
    """

    clip: str
    frames: int
    swapped_frames: int
    face_pixels: float
    frames_per_second: float
    stages: dict[str, float]
    seam: float
    seam_plain: float
    seam_classic: float
    seam_ratio: float
    flicker: float | None
    flicker_classic: float | None
    flicker_ratio: float | None
    identity_psnr: float
    identity_psnr_touched: float
    face_ms: float
    machine: Machine


def measure_convert(
    source: Path, run: Path, config: ConvertConfig, *, rounds: int = 1
) -> ConvertFigures:
    """Converts a clip in several ways and measures each.

    Args:
        source: a video; the run's A (or whom `config.person` names) must be in it.
        run: folder of a training run.
        config: choices measured as "default"; `start` and `end` count for all.
        rounds: conversions timed; the median counts.

    Raises:
        ConvertError: the person is not in the clip.
    """
    timed = _time_conversions(source, run, config, rounds, search="again")
    known = _time_conversions(source, run, config, rounds, search="kept")
    _say(f"convert: {_median_rate(timed):.1f} frames/s")
    _say(f"convert, its search kept: {_median_rate(known):.1f} frames/s")
    trained = load_run(run, checkpoint=config.checkpoint)
    swapper = make_frame_swapper(trained, config)
    clip = Clip(source, config, swapper)
    ours = clip.judge(swapper)
    _say(f"default: {ours}")
    hard = replace(config, mask="rectangle", erode=0.0, feather=0.0, drawn_mask=False)
    hard = replace(hard, color="none", blend="alpha")
    plain = clip.judge(swapper.with_config(hard))
    _say(f"plain paste: {plain}")
    classic = clip.judge(swapper.with_config(replace(classic_options(), to=config.to)))
    _say(f"classic: {classic}")
    psnr, touched = judge_identity(clip, replace(config, blend="alpha"))
    last = timed[-1]
    return ConvertFigures(
        clip=source.name,
        frames=last.frames,
        swapped_frames=last.swapped_frames,
        face_pixels=last.face_pixels,
        frames_per_second=_median_rate(timed),
        stages=last.stages,
        seam=ours.seam,
        seam_plain=plain.seam,
        seam_classic=classic.seam,
        seam_ratio=ours.seam / max(plain.seam, 1e-9),
        flicker=ours.flicker,
        flicker_classic=classic.flicker,
        flicker_ratio=_ratio(ours.flicker, classic.flicker),
        identity_psnr=psnr,
        identity_psnr_touched=touched,
        face_ms=time_face(clip, trained.model.crop_size, config),
        machine=describe_machine(),
    )


def _time_conversions(
    source: Path,
    run: Path,
    config: ConvertConfig,
    rounds: int,
    *,
    search: Literal["again", "kept"],
) -> list[ConvertResult]:
    config = replace(config, overwrite=True, search=search)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        return [convert_video(source, run, out, config) for _ in range(rounds)]


def _median_rate(results: list[ConvertResult]) -> float:
    return statistics.median(result.frames_per_second for result in results)


def judge_identity(clip: Clip, config: ConvertConfig) -> tuple[float, float]:
    """PSNR (dB) of a clip through a network that returns its input at native size.

    Returns:
        In the crop's box, and of changed pixels alone; means over faces.
    """
    sides = clip.place(config).sides() * COVERAGE
    size = max(16, round(float(np.median(sides))))
    swapper = FrameSwapper(lambda faces, _=None: faces, size, config)
    boxes, touched = [], []
    for frame, source, result in clip.swap(swapper):
        for face in frame.faces:
            box = face_box(source, face.frame_to_crop, len(face.old))
            if box is None:
                continue
            error = (source[box].astype(np.float64) - result[box]) ** 2
            boxes.append(_psnr(error))
            changed = (error > 0).any(axis=2)
            if changed.any():
                touched.append(_psnr(error[changed]))
    return float(np.mean(boxes)), float(np.mean(touched))


def time_face(clip: Clip, crop_size: int, config: ConvertConfig) -> float:
    """Milliseconds for a face of `_SIDE` pixels, one thread, but for the network."""

    def answer(faces: np.ndarray, _: object = None, /) -> np.ndarray:
        return faces[:, :, ::-1]

    placement = clip.place(config)
    swapper = FrameSwapper(answer, crop_size, config)
    timed, placed = next(
        (timed, found[-1])
        for timed in clip.read()
        if (found := placement.find(0, timed.index))
    )
    frame, matrix = timed.frame, placed.frame_to_face
    scale = affine_scale(matrix) * _SIDE / COVERAGE / FACE_SIZE
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    shrink = resize_affine(1 / scale)
    native = VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
    larger = replace(placed, frame_to_face=compose_affine(matrix, shrink))
    threads, times = cv2.getNumThreads(), []
    cv2.setNumThreads(1)
    try:
        for _ in range(_REPEATS):
            fresh = TimedFrame(0, 0.0, 0, 1, native=native)
            start = time.perf_counter()
            (swapped,) = swapper.swap([(fresh, [larger])])
            compose_frame(swapped, config)
            times.append(1e3 * (time.perf_counter() - start))
    finally:
        cv2.setNumThreads(threads)
    return statistics.median(times)


def _ratio(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other


def _psnr(squares: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(float(squares.mean()), 1e-9)))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
