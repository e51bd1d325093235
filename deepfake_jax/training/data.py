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
from deepfake_jax.training.batch import Batch, Cut, Cuts, Pair
from deepfake_jax.training.device_cuts import pack_cuts
from deepfake_jax.training.expressions import draw_expressions, move_landmarks
from deepfake_jax.training.face_masks import cut_masks
from deepfake_jax.training.occluders import draw_occluders
from deepfake_jax.types import SIDES, Side


def make_batch(
    faces: Mapping[Side, UInt8[Any, "_ h w 3"]],
    *,
    step: int,
    crop_size: int = 64,
    masks: Mapping[Side, UInt8[np.ndarray, "_ m m 3"]] | None = None,
    **options: Any,
) -> Batch:
    """The batch of a step: random pairs of each side.

    Args:
        faces: of both sides.
        step: whose batch.
        crop_size: side of the pairs' pictures.
        masks: of all faces; targets then have theirs, see `face_masks`.
        options: all others of `make_cuts`.
    """
    counts: dict[Side, tuple[int, int]] = {s: f.shape[:2] for s, f in faces.items()}
    batch: Batch = {}
    cuts = make_cuts(counts, step=step, crop_size=crop_size, **options)
    for side, cut in cuts.items():
        which = (cut.chosen, cut.grids, crop_size, cut.moves)
        warped, target = apply_cuts(faces[side], *which)
        mask = None
        if masks is not None:
            which = (cut.chosen, cut.grids[:, 1], crop_size, cut.moves)
            mask = cut_masks(masks[side], *which)
        batch[side] = Pair(
            *(warped, target, cut.shape, mask, cut.weight), occluder=cut.occluder
        )
    return batch


def make_cuts(
    sizes: Mapping[Side, tuple[int, int]],
    *,
    seed: int,
    step: int,
    batch_size: int,
    augment: AugmentConfig,
    crop_size: int,
    rows: slice | None = None,
    among: Mapping[Side, Int64[np.ndarray, "_"]] | None = None,
    chances: Mapping[Side, Float64[np.ndarray, "_"]] | None = None,
    landmarks: Mapping[Side, Float64[np.ndarray, "_ p 2"]] | None = None,
    middles: Mapping[Side, Float64[np.ndarray, "p 2"]] | None = None,
    weights: Mapping[Side, Float64[np.ndarray, "_"]] | None = None,
) -> Cuts:
    """What the pairs of a step are cut from: `batch_size` of each side.

    Every side is drawn from its own generator, seeded by (seed, step, side).

    Args:
        sizes: of both sides, how many faces there are and their side in pixels.
        seed: the run's.
        step: whose pairs.
        batch_size: pairs a side of the whole batch.
        augment: amounts of the random changes.
        crop_size: side of the pairs' pictures.
        rows: only these pairs of each side; they are the same as in the whole batch.
        among: which faces to draw from; all if None.
        chances: of each of these, to be drawn; all alike if None.
        landmarks: of all faces; pairs then have shapes, see `cut_shapes`, and features
            may be moved.
        middles: the mean landmarks that shapes are seen from; those of all faces if
            None, taken anew for each batch.
        weights: of all faces, with the sum 1; pairs then have theirs, whatever chance
            they were drawn by.
    """
    cuts: Cuts = {}
    share = slice(None) if rows is None else rows
    amounts = _amounts_at(augment, step)
    for number, side in enumerate(SIDES):
        count, face_size = sizes[side]
        rng = np.random.default_rng((seed, step, number))
        usable = np.arange(count) if among is None else among[side]
        if chances is None:
            drawn = rng.integers(len(usable), size=batch_size)
        else:
            drawn = rng.choice(len(usable), size=batch_size, p=chances[side])
        chosen = usable[drawn]
        grids = draw_cuts(
            rng, batch_size, face_size=face_size, crop_size=crop_size, **amounts
        )[share]
        shape, weight, moves = None, None, None
        if landmarks is not None:
            own = landmarks[side]
            middle = own.mean(axis=0) if middles is None else middles[side]
            shown = own[chosen[share]]
            if augment.expressions:
                moves = draw_expressions(rng, own[chosen], share=augment.expressions)
                moves = moves[share]
                shown = move_landmarks(shown, moves)
            shape = cut_shapes(shown, grids[:, 1], middle=middle)
        if weights is not None:
            chance = 1 / len(usable) if chances is None else chances[side][drawn]
            weight = (weights[side][chosen] / chance)[share].astype(np.float32)
        occluder = None
        if augment.occluders:
            drawn = draw_occluders(rng, batch_size, share=augment.occluders)
            occluder = drawn[share]
        cuts[side] = Cut(chosen[share], grids, shape, weight, occluder, moves)
    return cuts


def _amounts_at(augment: AugmentConfig, step: int) -> dict[str, float]:
    """What `draw_cuts` is given at a step: the warp fades, the rest stays."""
    amounts = asdict(augment)
    steps = amounts.pop("warp_steps")
    del amounts["occluders"], amounts["expressions"]
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
    two cores), and processes would still have to send 25 kB a pair. More than four or
    eight gain nothing: they wait for the lock. Closing the iterator ends the threads.

    Args:
        faces: of both sides.
        first_step: whose batch comes first.
        workers: threads; as many batches again are ready ahead.
        options: all others of `make_batch`.
    """

    def make(step: int) -> Batch:
        return make_batch(faces, step=step, **options)

    return map_ahead(make, count(first_step), workers=workers, ahead=2 * workers)


def load_cuts(
    sizes: Mapping[Side, tuple[int, int]],
    *,
    first_step: int,
    **options: Any,
) -> Generator[Float32[np.ndarray, "n 2 k"]]:
    """What the pairs of first_step, ... are cut from, packed for devices, in a thread.

    Args:
        sizes: as for `make_cuts`.
        first_step: whose comes first.
        options: all others of `make_cuts`.
    """

    def make(step: int) -> Float32[np.ndarray, "n 2 k"]:
        return pack_cuts(make_cuts(sizes, step=step, **options))

    return map_ahead(make, count(first_step), workers=1, ahead=16)


def cut_shapes(
    landmarks: Float64[np.ndarray, "k p 2"],
    grids: Float64[np.ndarray, "k 5 5 2"],
    *,
    middle: Float64[np.ndarray, "p 2"],
) -> Float32[np.ndarray, "k m"]:
    """Shapes of the faces in some targets, with how each target was turned and moved.

    Args:
        landmarks: of the faces that the targets are cut from.
        grids: of the targets, see `augment.draw_cuts`.
        middle: the person's mean landmarks.

    Returns:
        x and y of each landmark, as shares of the targets' side; of 68 the 51
        inside of the face's outline.
    """
    moved, mirrored = cut_landmarks(landmarks, grids)
    partners = list(MIRRORED[landmarks.shape[1]])
    moved[mirrored] = moved[mirrored][:, partners]
    away = middle - (FACE_SIZE - 1) / 2
    # Of the person and of the mirror image alike, or codes would have to tell them.
    away = (away + away[partners] * [-1, 1]) / 2
    shapes = moved - 0.5 - away / (COVERAGE * FACE_SIZE)
    inner = JAW if landmarks.shape[1] == 68 else 0
    return shapes[:, inner:].reshape(len(shapes), -1).astype(np.float32)
