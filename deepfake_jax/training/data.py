"""Face sets to batches of training pairs, prepared ahead in threads.

Faces lie decoded in one uint8 array a side. Step i's batch depends on the seed and i
alone, neither on the number of workers nor on a restart.
"""

from collections.abc import Generator, Mapping
from dataclasses import asdict
from itertools import count
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from deepfake_jax.face_sets.face_shapes import JAW
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, MIRRORED
from deepfake_jax.pipeline import map_ahead
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.augment import apply_cuts, cut_landmarks, draw_cuts
from deepfake_jax.training.batch import Batch, Pair
from deepfake_jax.training.face_masks import cut_masks
from deepfake_jax.types import SIDES, Side


def make_batch(
    faces: Mapping[Side, UInt8[Any, "_ h w 3"]],
    *,
    seed: int,
    step: int,
    batch_size: int,
    augment: AugmentConfig,
    crop_size: int = 64,
    half_steps: int = 0,
    rows: slice | None = None,
    among: Mapping[Side, Int64[np.ndarray, "_"]] | None = None,
    chances: Mapping[Side, Float64[np.ndarray, "_"]] | None = None,
    landmarks: Mapping[Side, Float64[np.ndarray, "_ p 2"]] | None = None,
    masks: Mapping[Side, UInt8[np.ndarray, "_ m m 3"]] | None = None,
    middles: Mapping[Side, Float64[np.ndarray, "p 2"]] | None = None,
    weights: Mapping[Side, Float64[np.ndarray, "_"]] | None = None,
) -> Batch:
    """The batch of a step: `batch_size` random pairs of each side.

    Every side is drawn from its own generator, seeded by (seed, step, side).

    Args:
        faces: of both sides.
        seed: the run's.
        step: whose batch.
        batch_size: pairs a side of the whole batch.
        augment: amounts of the random changes.
        crop_size: side of the pairs' pictures.
        half_steps: before this step they have half of it.
        rows: only these pairs of each side; they are the same as in the whole batch.
        among: which faces to draw from; all if None.
        chances: of each of these, to be drawn; all alike if None.
        landmarks: of all faces; pairs then have shapes, see `cut_shapes`.
        masks: of all faces; targets then have theirs, see `face_masks`.
        middles: the mean landmarks that shapes are seen from; those of all faces if
            None, taken anew for each batch.
        weights: of all faces, with the sum 1; pairs then have theirs, whatever chance
            they were drawn by.
    """
    batch: Batch = {}
    crop_size = crop_size // 2 if step < half_steps else crop_size
    share = slice(None) if rows is None else rows
    for number, side in enumerate(SIDES):
        own = faces[side]
        rng = np.random.default_rng((seed, step, number))
        usable = np.arange(len(own)) if among is None else among[side]
        if chances is None:
            drawn = rng.integers(len(usable), size=batch_size)
        else:
            drawn = rng.choice(len(usable), size=batch_size, p=chances[side])
        chosen = usable[drawn]
        grids = draw_cuts(
            rng,
            batch_size,
            face_size=own.shape[1],
            crop_size=crop_size,
            **_amounts_at(augment, step),
        )
        warped, target = apply_cuts(own, chosen[share], grids[share], crop_size)
        shape, mask, weight = None, None, None
        if landmarks is not None:
            middle = None if middles is None else middles[side]
            shape = cut_shapes(
                landmarks[side], chosen[share], grids[share, 1], middle=middle
            )
        if masks is not None:
            mask = cut_masks(masks[side], chosen[share], grids[share, 1], crop_size)
        if weights is not None:
            chance = 1 / len(usable) if chances is None else chances[side][drawn]
            weight = (weights[side][chosen] / chance)[share].astype(np.float32)
        batch[side] = Pair(warped, target, shape, mask, weight)
    return batch


def _amounts_at(augment: AugmentConfig, step: int) -> dict[str, float]:
    """What `draw_cuts` is given at a step: the warp fades, the rest stays."""
    amounts = asdict(augment)
    steps = amounts.pop("warp_steps")
    if steps:
        amounts["warp_scale"] *= max(0.0, 1 - step / steps)
    return amounts


def load_batches(
    faces: Mapping[Side, UInt8[Any, "_ h w 3"]],
    *,
    first_step: int,
    workers: int = 2,
    **options: Any,
) -> Generator[Batch]:
    """The batches of first_step, first_step + 1, ... without end, prepared in threads.

    OpenCV and NumPy release the interpreter's lock in their loops, so threads share the
    faces without copies: two reach 0.87 of twice one core's rate (`benchmark loader` on
    two cores), and processes would still have to send 25 kB a pair. Closing the
    iterator ends the threads.

    Args:
        faces: of both sides.
        first_step: whose batch comes first.
        workers: threads; as many batches again are ready ahead.
        options: all others of `make_batch`.
    """

    def make(step: int) -> Batch:
        return make_batch(faces, step=step, **options)

    return map_ahead(make, count(first_step), workers=workers, ahead=2 * workers)


def cut_shapes(
    landmarks: Float64[np.ndarray, "n p 2"],
    chosen: Int64[np.ndarray, "k"],
    grids: Float64[np.ndarray, "k 5 5 2"],
    *,
    middle: Float64[np.ndarray, "p 2"] | None = None,
) -> Float32[np.ndarray, "k m"]:
    """Shapes of the faces in some targets, with how each target was turned and moved.

    Args:
        landmarks: of all of a person's faces.
        chosen: which faces the targets are cut from.
        grids: of the targets, see `augment.draw_cuts`.
        middle: the person's mean landmarks; those of all faces if None.

    Returns:
        x and y of each landmark, as shares of the targets' side; of 68 the 51
        inside of the face's outline.
    """
    moved, mirrored = cut_landmarks(landmarks[chosen], grids)
    partners = list(MIRRORED[landmarks.shape[1]])
    moved[mirrored] = moved[mirrored][:, partners]
    away = landmarks.mean(axis=0) if middle is None else middle
    away = away - (FACE_SIZE - 1) / 2
    # Of the person and of the mirror image alike, or codes would have to tell them.
    away = (away + away[partners] * [-1, 1]) / 2
    shapes = moved - 0.5 - away / (COVERAGE * FACE_SIZE)
    inner = JAW if landmarks.shape[1] == 68 else 0
    return shapes[:, inner:].reshape(len(chosen), -1).astype(np.float32)
