"""Seamless cloning: our solver against OpenCV's, alternating in one run on one core.

The two do not ask for the same picture. Ours ends at the mask (Perez et al. 2003,
equation 7). `cv2.seamlessClone` solves over the mask's bounding box, with the old
picture's gradients outside of the mask less three pixels, and changes the whole box. To
compare the solvers and not the questions, `seamless_clone` asks ours OpenCV's.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from deepfake_jax.benchmarks.machine import Machine, describe_machine
from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.imaging.poisson import poisson_blend, seamless_clone
from deepfake_jax.types import Frame, Mask


@dataclass(frozen=True)
class PoissonResult:
    """What `measure_poisson` found; medians over its rounds, of one core.

    Attributes:
        blend_ms: our `poisson_blend` of the oval in the region.
        same_problem_ms: our solver on what OpenCV solves.
        opencv_ms: `cv2.seamlessClone`.
        ratio: OpenCV's time to `poisson_blend`'s, each round's, the median.
        ratio_min: of the rounds.
        ratio_max: of the rounds.
        ratio_same_problem: OpenCV's time to ours on its problem, the median.
        rms_same_problem: root mean square difference to OpenCV on its problem, grey
            levels.
        rms_blend: the same of `poisson_blend` inside the mask: the questions differ.
        size: of the region, pixels.
        rounds: alternations.
        machine: where.
    """

    blend_ms: float
    same_problem_ms: float
    opencv_ms: float
    ratio: float
    ratio_min: float
    ratio_max: float
    ratio_same_problem: float
    rms_same_problem: float
    rms_blend: float
    size: int
    rounds: int
    machine: Machine


def measure_poisson(*, size: int = 300, rounds: int = 15) -> PoissonResult:
    """Times one clone a round of each solver, on an oval in a square region.

    Args:
        size: side of the region, pixels.
        rounds: alternations.
    """
    old, new, mask = draw_pair(size)
    forms: dict[str, Callable[[], Frame]] = {
        "blend": lambda: poisson_blend(old, new, mask),
        "same": lambda: seamless_clone(old, new, mask),
        "opencv": lambda: clone_by_opencv(old, new, mask),
    }
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        pictures = {name: form() for name, form in forms.items()}
        times: dict[str, list[float]] = {name: [] for name in forms}
        for index in range(rounds):
            for name, form in forms.items():
                start = time.perf_counter()
                form()
                times[name].append(1e3 * (time.perf_counter() - start))
            ratio = times["opencv"][-1] / times["blend"][-1]
            print(f"round {index + 1} of {rounds}: {ratio:.1f} times", file=sys.stderr)
    finally:
        cv2.setNumThreads(threads)
    ratios = [a / b for a, b in zip(times["opencv"], times["blend"], strict=True)]
    same = [a / b for a, b in zip(times["opencv"], times["same"], strict=True)]
    return PoissonResult(
        blend_ms=statistics.median(times["blend"]),
        same_problem_ms=statistics.median(times["same"]),
        opencv_ms=statistics.median(times["opencv"]),
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        ratio_same_problem=statistics.median(same),
        rms_same_problem=_rms(pictures["same"], pictures["opencv"]),
        rms_blend=_rms(pictures["blend"][mask > 0], pictures["opencv"][mask > 0]),
        size=size,
        rounds=rounds,
        machine=describe_machine(),
    )


def draw_pair(size: int) -> tuple[Frame, Frame, Mask]:
    """Two pictures with detail of all sizes, a margin around, and an oval mask."""
    rng = np.random.default_rng(0)
    whole = size + 20
    pictures = []
    for level in (90, 130):
        picture = np.full((whole, whole, 3), level, np.float32)
        for cells in (4, 16, 64, whole):
            # Amplitude falls with size, as natural pictures' does.
            noise = rng.normal(0, 60 / np.sqrt(cells), (cells, cells, 3))
            picture += cv2.resize(noise.astype(np.float32), (whole, whole))
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    mask = np.zeros((whole, whole), np.float32)
    # Full width and height, so that the region's box has the size asked for.
    mask[10:-10, 10:-10] = oval_mask(size, width=1.0, height=1.0)
    return pictures[0], pictures[1], mask


def clone_by_opencv(old: Frame, new: Frame, mask: Mask) -> Frame:
    """`cv2.seamlessClone` in place; the mask must not touch the pictures' edge."""
    inside = (mask > 0.5).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(inside)
    # It centres the mask's bounding box on this point.
    centre = (x + width // 2, y + height // 2)
    return cv2.seamlessClone(new, old, inside, centre, cv2.NORMAL_CLONE)


def _rms(one: Any, other: Any) -> float:
    return float(np.sqrt(np.mean((one.astype(np.float32) - other) ** 2)))
