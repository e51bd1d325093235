"""The loader alone: how many training pairs a second, and how much faster than before.

Rates per core are by processor time of the whole process, so that neither waiting nor
other programs count, and OpenCV's and BLAS's own threads do.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from deepfake_jax.benchmarks.machine import (
    Machine,
    count_cores,
    describe_machine,
    peak_memory_mb,
)
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.augment import Crop
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.data import load_batches
from deepfake_jax.types import Face

FACES = 400  # 79 MB: more than the caches hold, as with a real set
TARGET_STEP_MS = 3.0  # what the classic network's step should take on an H100


@dataclass(frozen=True)
class LoaderResult:
    """What `measure_loader` found; medians over its rounds.

    Attributes:
        faces_per_second: pairs of one face that the loader gave, by the clock.
        faces_per_second_per_core: the same by processor time.
        classic_faces_per_second_per_core: the two-step form's, one face at a time.
        ratio: ours to the classic form's, per core, the median of each round's.
        ratio_min: of the rounds.
        ratio_max: of the rounds.
        cores_for_a_3_ms_step: processor cores that batches every 3 ms would take.
        peak_memory_mb: of the process, 10^6 bytes.
        batch_size: faces a step of each side.
        workers: threads.
        rounds: alternations of ours and the classic form.
        machine: where.
    """

    faces_per_second: float
    faces_per_second_per_core: float
    classic_faces_per_second_per_core: float
    ratio: float
    ratio_min: float
    ratio_max: float
    cores_for_a_3_ms_step: float
    peak_memory_mb: float
    batch_size: int
    workers: int
    rounds: int
    machine: Machine


def _count_faces(batches: Iterator[Batch]) -> int:
    return sum(len(pair.warped) for pair in next(batches).values())


def measure_loader(
    *,
    batch_size: int = 64,
    workers: int | None = None,
    rounds: int = 7,
    seconds: float = 1.0,
) -> LoaderResult:
    """Times the loader on random faces, alternating with the classic form.

    Args:
        batch_size: faces a step of each side.
        workers: threads; by default one a core.
        rounds: alternations.
        seconds: of each, a round.
    """
    workers = workers or count_cores()
    faces = draw_faces(FACES)
    rngs = np.random.default_rng(1).spawn(workers)
    ours, classic, ratios = [], [], []
    for index in range(rounds):
        # Anew each round, so that no batch is prepared while the other is timed.
        loader = load_batches(
            {"a": faces[: FACES // 2], "b": faces[FACES // 2 :]},
            first_step=0,
            seed=index,
            batch_size=batch_size,
            augment=AugmentConfig(),
            workers=workers,
        )
        with closing(loader) as batches:
            count = partial(_count_faces, batches)
            ours.append(_measure(count, seconds))
        # In as many threads, since cores that share a cache slow each other.
        with ThreadPoolExecutor(workers) as pool:
            count = partial(_cut_classic, pool, rngs, faces, batch_size)
            classic.append(_measure(count, seconds))
        ratios.append(ours[-1][1] / classic[-1][1])
        print(f"round {index + 1} of {rounds}: {ratios[-1]:.1f} times", file=sys.stderr)
    per_core = statistics.median(rate for _, rate in ours)
    return LoaderResult(
        faces_per_second=statistics.median(rate for rate, _ in ours),
        faces_per_second_per_core=per_core,
        classic_faces_per_second_per_core=statistics.median(c for _, c in classic),
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        cores_for_a_3_ms_step=2 * batch_size / (TARGET_STEP_MS / 1e3) / per_core,
        peak_memory_mb=peak_memory_mb(),
        batch_size=batch_size,
        workers=workers,
        rounds=rounds,
        machine=describe_machine(),
    )


def _cut_classic(
    pool: ThreadPoolExecutor,
    rngs: Sequence[np.random.Generator],
    faces: UInt8[np.ndarray, "n 256 256 3"],
    count: int,
) -> int:
    """Cuts `count` classic pairs for each generator, and says how many in all."""

    def cut_some(rng: np.random.Generator) -> int:
        for index in rng.integers(len(faces), size=count):
            classic_pair(rng, faces[index])
        return count

    return sum(pool.map(cut_some, rngs))


def draw_faces(n: int, *, seed: int = 0) -> UInt8[np.ndarray, "n 256 256 3"]:
    """Random smooth pictures of 256 pixels, seeded."""
    rng = np.random.default_rng(seed)
    coarse = np.clip(rng.normal(110, 50, (n, 8, 8, 3)), 0, 255).astype(np.uint8)
    return np.stack([cv2.resize(face, (256, 256)) for face in coarse])


def _measure(work: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Faces a second, by the clock and by processor time, after one call's warm-up."""
    work()
    count, start, start_cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        count += work()
    rate = count / (time.perf_counter() - start)
    return rate, count / (time.process_time() - start_cpu)


def classic_pair(rng: np.random.Generator, face: Face) -> tuple[Crop, Crop]:
    """A training pair of 64 pixels from a face of 256: transform, then warp."""
    angle, zoom, shift_x, shift_y = rng.uniform(-1, 1, 4).tolist()
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), 10 * angle, 1 + 0.05 * zoom)
    matrix[:, 2] += 0.05 * 256 * shift_x, 0.05 * 256 * shift_y
    face = cv2.warpAffine(face, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.4:
        face = cv2.flip(face, 1)
    grid = np.mgrid[48:208:5j, 48:208:5j][::-1] + rng.normal(0, 5, (2, 5, 5))
    map_x, map_y = (
        cv2.resize(plane.astype(np.float32), (80, 80))[8:72, 8:72] for plane in grid
    )
    warped = cv2.remap(face, map_x, map_y, cv2.INTER_LINEAR)
    line = np.linspace(0, 64, 5)
    corners = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    similarity = _umeyama(grid.reshape(2, -1).T, corners)
    return warped, cv2.warpAffine(face, similarity, (64, 64))


# Umeyama 1991 for one pair of point sets in the plane, without the general form's cost.
def _umeyama(
    source: Float64[np.ndarray, "n 2"], target: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "2 3"]:
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    rotation = u @ vt
    scale = singular.sum() / (centred**2).sum() * len(source)
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = target_mean - matrix[:, :2] @ source_mean
    return matrix
