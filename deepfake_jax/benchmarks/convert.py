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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from deepfake_jax.align import COVERAGE, FACE_SIZE, compose_affine, warp_face
from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.blend import face_box
from deepfake_jax.compose import compose_frame, finish_face
from deepfake_jax.convert import convert_video
from deepfake_jax.flicker import FlickerMeter
from deepfake_jax.frames import FrameSwapper, SwappedFace, SwappedFrame
from deepfake_jax.frames import make_frame_swapper as make_swapper
from deepfake_jax.options import ConvertConfig, classic_options
from deepfake_jax.pipeline import in_chunks
from deepfake_jax.place import Placement, place_faces
from deepfake_jax.run import TrainedRun, load_run
from deepfake_jax.scan import parse_time
from deepfake_jax.seam import seam_error
from deepfake_jax.source import Source, picture_frame
from deepfake_jax.steady import steady_looks
from deepfake_jax.track import RADIUS
from deepfake_jax.types import Affine, Frame, Mask
from deepfake_jax.video import probe_video, read_frames

_SEAM_EVERY = 3  # frames; a seam changes slowly
_SIDE = 300  # pixels of the face whose cost is measured
_CHUNK = 8


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
    flicker: float
    flicker_classic: float
    flicker_ratio: float
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
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        config = replace(config, overwrite=True)
        timed = [convert_video(source, run, out, config) for _ in range(rounds)]
    rates = [result.frames_per_second for result in timed]
    _say(f"convert: {statistics.median(rates):.1f} frames/s")
    trained = load_run(run)
    clip = _Clip(source, config, trained)
    seam, flicker = clip.judge(config)
    _say(f"default: seam {seam:.2f}, flicker {flicker:.2f}")
    plain = replace(config, mask="rectangle", feather=0.0, color="none", blend="alpha")
    seam_plain, _ = clip.judge(plain)
    _say(f"plain paste: seam {seam_plain:.2f}")
    classic = replace(
        classic_options(), start=config.start, end=config.end, person=config.person
    )
    seam_classic, flicker_classic = clip.judge(classic)
    _say(f"classic: seam {seam_classic:.2f}, flicker {flicker_classic:.2f}")
    psnr, touched = clip.judge_identity(replace(config, blend="alpha"))
    last = timed[-1]
    return ConvertFigures(
        clip=source.name,
        frames=last.frames,
        swapped_frames=last.swapped_frames,
        face_pixels=last.face_pixels,
        frames_per_second=statistics.median(rates),
        stages=last.stages,
        seam=seam,
        seam_plain=seam_plain,
        seam_classic=seam_classic,
        seam_ratio=seam / max(seam_plain, 1e-9),
        flicker=flicker,
        flicker_classic=flicker_classic,
        flicker_ratio=flicker / max(flicker_classic, 1e-9),
        identity_psnr=psnr,
        identity_psnr_touched=touched,
        face_ms=clip.time_face(config),
        machine=describe_machine(),
    )


class _Clip:
    """A clip with its faces placed, to be converted in several ways in memory."""

    def __init__(self, source: Path, config: ConvertConfig, trained: TrainedRun):
        self._source, self._trained = source, trained
        self._part = {
            "start": parse_time(config.start, option="--start"),
            "end": parse_time(config.end, option="--end"),
        }
        self._placed: dict[bool, Placement] = {}
        swapper = make_swapper(trained, config)
        self._identity = swapper.identity
        self._steadied = self._place(swapper)

    def judge(self, config: ConvertConfig) -> tuple[float, float]:
        """Seam and flicker of the run's swaps with some choices."""
        swapper, meter = make_swapper(self._trained, config), FlickerMeter()
        seams = []
        for frame, source, result in self._convert(swapper):
            # One placement for all choices, or each would be judged by its own.
            steadied = {
                placed.track: placed.frame_to_face
                for placed in self._steadied.find(0, frame.timed.index)
            }
            for face in frame.faces:
                matrix = steadied.get(face.placed.track, face.placed.frame_to_face)
                mask = _mask_in_frame(face, config, source.shape)
                meter.add(
                    face.placed.track,
                    frame.timed.index,
                    warp_face(source, matrix),
                    warp_face(result, matrix),
                    _warp_mask(mask, matrix),
                )
                box = _padded_box(source, face)
                if frame.timed.index % _SEAM_EVERY == 0 and box is not None:
                    seams.append(seam_error(source[box], result[box], mask[box]))
        return float(np.mean(seams)), meter.measure().total

    def judge_identity(self, config: ConvertConfig) -> tuple[float, float]:
        """PSNR of frames that went through a network that returns its input."""
        sides = self._steadied.sides() * COVERAGE
        swapper = FrameSwapper(
            lambda faces: faces,
            max(16, round(float(np.median(sides)))),
            config,
            identity=self._identity,
        )
        boxes, touched = [], []
        for frame, source, result in self._convert(swapper):
            for face in frame.faces:
                box = face_box(source, face.frame_to_crop, len(face.old))
                if box is None:
                    continue
                error = (source[box].astype(np.float64) - result[box]) ** 2
                boxes.append(_psnr(error))
                changed = (error > 0).any(axis=2)
                touched.append(_psnr(error[changed]) if changed.any() else 99.0)
        return float(np.mean(boxes)), float(np.mean(touched))

    def time_face(self, config: ConvertConfig, *, repeats: int = 40) -> float:
        """Milliseconds for a face of `_SIDE` pixels but for the network."""
        size = self._trained.model.face_size
        answers: dict[int, np.ndarray] = {}

        def answer(faces: np.ndarray) -> np.ndarray:
            return answers.setdefault(len(faces), faces[:, ::-1].copy())

        swapper = FrameSwapper(answer, size, config)
        timed, placed = next(
            (timed, found[-1])
            for timed in read_frames(self._source, **self._part)
            if (found := self._steadied.find(0, timed.index))
        )
        frame, matrix = timed.frame, placed.frame_to_face
        scale = np.sqrt(abs(np.linalg.det(matrix[:, :2]))) * _SIDE / COVERAGE
        scale /= FACE_SIZE
        size_now = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        frame = cv2.resize(frame, size_now, interpolation=cv2.INTER_CUBIC)
        shrink = np.array([[1 / scale, 0, 0], [0, 1 / scale, 0]])
        larger = replace(placed, frame_to_face=compose_affine(matrix, shrink))
        threads, times = cv2.getNumThreads(), []
        cv2.setNumThreads(1)
        try:
            for _ in range(repeats):
                found = [(picture_frame(frame), [larger])]
                start = time.perf_counter()
                (swapped,) = swapper.swap(found)
                compose_frame(swapped, config)
                times.append(1e3 * (time.perf_counter() - start))
        finally:
            cv2.setNumThreads(threads)
        return statistics.median(times)

    def _place(self, swapper: FrameSwapper) -> Placement:
        steady = swapper.config.steady
        if steady not in self._placed:
            frames = probe_video(self._source).frames
            sources = [Source(self._source, "video", frames)]
            self._placed[steady] = place_faces(
                sources, swapper.config, swapper.identity
            )
        return self._placed[steady]

    def _convert(
        self, swapper: FrameSwapper
    ) -> Iterator[tuple[SwappedFrame, Frame, Frame]]:
        """Frames with swapped faces: what was swapped, the source and the result."""
        steady = swapper.config.steady
        identity = self._trained.identities.get(
            "a" if swapper.config.to == "b" else "b"
        )
        if identity is not None:
            swapper.identity = np.asarray(identity, np.float32)
        placement = self._place(swapper)

        def swapped() -> Iterator[SwappedFrame]:
            for chunk in in_chunks(read_frames(self._source, **self._part), _CHUNK):
                yield from swapper.swap(
                    [(t, placement.find(0, t.index)) for t in chunk]
                )

        for frame in steady_looks(swapped(), radius=RADIUS if steady else 0):
            source = frame.timed.frame
            rgb = replace(frame, timed=picture_frame(source))
            result = compose_frame(rgb, swapper.config)
            if result is not None:
                assert isinstance(result, np.ndarray)
                yield frame, source, result


def _mask_in_frame(
    face: SwappedFace, config: ConvertConfig, shape: tuple[int, ...]
) -> Mask:
    _, mask = finish_face(face, config)
    ratio = len(mask) / len(face.old)
    to_mask = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]])
    matrix = compose_affine(to_mask, face.frame_to_crop)
    size, flags = (shape[1], shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.clip(cv2.warpAffine(mask, matrix, size, flags=flags), 0, 1)


def _warp_mask(mask: Mask, matrix: Affine) -> Mask:
    return np.clip(cv2.warpAffine(mask, matrix, (FACE_SIZE, FACE_SIZE)), 0, 1)


def _padded_box(frame: Frame, face: SwappedFace) -> tuple[slice, slice] | None:
    """The crop's box and a quarter more around it, for what lies outside the mask."""
    box = face_box(frame, face.frame_to_crop, len(face.old))
    if box is None:
        return None
    more = [(s.stop - s.start) // 4 for s in box]
    rows, columns = (
        slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, more, strict=True)
    )
    return rows, columns


def _psnr(squares: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(float(squares.mean()), 1e-9)))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
