"""Face sets to batches of training pairs, prepared ahead in threads.

Faces lie decoded in one uint8 array a side. Step i's batch depends on the seed and i
alone, neither on the number of workers nor on a restart.
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from deepfake_jax.face_sets.face_arrays import Among
from deepfake_jax.face_sets.face_shapes import _JAW, FaceLandmarks
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, MIRRORED
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.augment import apply_cuts, cut_points, draw_cuts

Batch = dict[
    str,
    UInt8[np.ndarray, "batch crop_size crop_size 3"] | Float32[np.ndarray, "batch m"],
]


def make_batch(
    faces_a: UInt8[Any, "n h w 3"],
    faces_b: UInt8[Any, "m h w 3"],
    *,
    seed: int,
    step: int,
    batch_size: int,
    augment: AugmentConfig,
    crop_size: int = 64,
    rows: slice | None = None,
    among: Among | None = None,
    landmarks: FaceLandmarks | None = None,
) -> Batch:
    """The batch of a step: `batch_size` random pairs of each side.

    Every side is drawn from its own generator, seeded by (seed, step, side).

    Args:
        faces_a: A's faces.
        faces_b: B's.
        seed: the run's.
        step: whose batch.
        batch_size: pairs a side of the whole batch.
        augment: amounts of the random changes.
        crop_size: side of the pairs' pictures.
        rows: only these pairs of each side; they are the same as in the whole batch.
        among: which faces to draw from; all if None.
        landmarks: of all faces.

    Returns:
        ``warped_a``, ``target_a``, ``warped_b``, ``target_b``; with landmarks also
        ``shape_a`` and ``shape_b``, see `faceshape.cut_shapes`.
    """
    batch: Batch = {}
    for side, faces in enumerate((faces_a, faces_b)):
        rng = np.random.default_rng((seed, step, side))
        usable = np.arange(len(faces)) if among is None else among[side]
        chosen = usable[rng.integers(len(usable), size=batch_size)]
        grids = draw_cuts(
            rng,
            batch_size,
            face_size=faces.shape[1],
            crop_size=crop_size,
            **_amounts_at(augment, step),
        )
        share = slice(None) if rows is None else rows
        warped, target = apply_cuts(faces, chosen[share], grids[share], crop_size)
        name = "ab"[side]
        batch[f"warped_{name}"], batch[f"target_{name}"] = warped, target
        if landmarks is not None:
            points = landmarks[side]
            shapes = cut_shapes(points, chosen[share], grids[share, 1])
            batch[f"shape_{name}"] = shapes
    return batch


def _amounts_at(augment: AugmentConfig, step: int) -> dict[str, float]:
    """What `draw_cuts` is given at a step: the warp fades, the rest stays."""
    amounts = asdict(augment)
    steps = amounts.pop("warp_steps")
    if steps:
        amounts["warp_scale"] *= max(0.0, 1 - step / steps)
    return amounts


class BatchLoader:
    """Prepares the batches of coming steps in threads, and gives them in order.

    OpenCV and NumPy release the interpreter's lock in their loops, so threads share the
    faces without copies: two reach 0.87 of twice one core's rate (`benchmark loader` on
    two cores), and processes would still have to send 25 kB a pair. Use as a context
    manager; it ends the threads.
    """

    def __init__(
        self,
        faces_a: UInt8[Any, "n h w 3"],
        faces_b: UInt8[Any, "m h w 3"],
        *,
        seed: int,
        batch_size: int,
        augment: AugmentConfig,
        crop_size: int = 64,
        workers: int = 2,
        rows: slice | None = None,
        among: Among | None = None,
        landmarks: FaceLandmarks | None = None,
    ):
        self._faces = faces_a, faces_b
        self._options: dict[str, Any] = {
            "seed": seed,
            "batch_size": batch_size,
            "augment": augment,
            "crop_size": crop_size,
            "rows": rows,
            "among": among,
            "landmarks": landmarks,
        }
        self._ahead = 2 * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        self._closed = threading.Event()

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batches of first_step, first_step + 1, ... without end."""
        pending: deque[Future[Batch]] = deque()
        step = first_step
        while not self._closed.is_set():
            while len(pending) < self._ahead:
                pending.append(
                    self._pool.submit(
                        make_batch, *self._faces, step=step, **self._options
                    )
                )
                step += 1
            yield pending.popleft().result()


def cut_shapes(
    landmarks: Float64[np.ndarray, "n p 2"],
    chosen: Int64[np.ndarray, "k"],
    grids: Float64[np.ndarray, "k 5 5 2"],
) -> Float32[np.ndarray, "k m"]:
    """Shapes of the faces in some targets, with how each target was turned and moved.

    Args:
        landmarks: of all of a person's faces.
        chosen: which faces the targets are cut from.
        grids: of the targets, see `augment.draw_cuts`.

    Returns:
        x and y of each point, as shares of the targets' side; of 68 points the 51
        inside of the face's outline.
    """
    points, mirrored = cut_points(landmarks[chosen], grids)
    partners = list(MIRRORED[landmarks.shape[1]])
    points[mirrored] = points[mirrored][:, partners]
    middle = landmarks.mean(axis=0) - (FACE_SIZE - 1) / 2
    # Of the person and of the mirror image alike, or codes would have to tell them.
    middle = (middle + middle[partners] * [-1, 1]) / 2
    shapes = points - 0.5 - middle / (COVERAGE * FACE_SIZE)
    inner = _JAW if landmarks.shape[1] == 68 else 0
    return shapes[:, inner:].reshape(len(chosen), -1).astype(np.float32)
