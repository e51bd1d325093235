"""Training pairs cut out of faces that lie on the devices.

Threads of a host cut at most 11,000 faces a second for an H100 that takes 30,000 of
them in `original` and 119,000 in `lite`: they wait for the interpreter's lock, and so
does the loop. Here the host draws the numbers alone, as `data.make_batch` does from the
same seed, and the device cuts.

Pictures are those of `augment.apply_cuts`: the arithmetic is OpenCV's, places in 32nds
of a pixel and whole weights. Single pixels differ by a 32nd's worth, where a place
rounds the other way.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8

from deepfake_jax.training.batch import Batch, Cut, Cuts, Pair
from deepfake_jax.training.expressions import MOVES, displace
from deepfake_jax.training.expressions import NUMBERS as MOVE_NUMBERS
from deepfake_jax.training.occluders import NUMBERS
from deepfake_jax.training.warp_grid import GRID, interpolate_grid
from deepfake_jax.types import Side

_PARTS = 32  # of a pixel: OpenCV's INTER_TAB_SIZE
_PACKED_AXES = 3


def cut_pairs(
    faces: Mapping[Side, UInt8[Array, "_ h w 3"]],
    masks: Mapping[Side, UInt8[Array, "_ m m 3"]] | None,
    packed: Float[Array, "*steps n 2 k"],
    *,
    crop_size: int,
    weighted: bool = False,
    occluded: bool = False,
    moved: bool = False,
) -> Batch:
    """The batch of one step, or of several; pure, to be compiled.

    Args:
        faces: of both sides.
        masks: likewise, see `face_masks`; None where nobody asks.
        packed: what `data.make_cuts` drew, from `pack_cuts`; with an axis of steps in
            front the batch has one, too.
        crop_size: side of the pictures in pixels.
        weighted: whether the cuts have weights.
        occluded: whether they have occluders.
        moved: whether features are moved.
    """
    if packed.ndim > _PACKED_AXES:
        options = {"weighted": weighted, "occluded": occluded, "moved": moved}
        one = partial(cut_pairs, faces, masks, crop_size=crop_size, **options)
        return jax.vmap(one)(packed)
    batch: Batch = {}
    for number, side in enumerate(faces):
        own = None if masks is None else masks[side]
        rows = packed[:, number]
        cut = _unpack(rows, weighted=weighted, occluded=occluded, moved=moved)
        batch[side] = _cut_side(faces[side], own, cut, crop_size=crop_size)
    return batch


def pack_cuts(cuts: Cuts) -> Float32[np.ndarray, "n 2 k"]:
    """All that is drawn for a step in one array: a transfer takes 0.15 ms, each."""
    return np.stack([_pack(cut) for cut in cuts.values()], axis=1)


def _pack(cut: Cut) -> Float32[np.ndarray, "n k"]:
    n = len(cut.chosen)
    parts = [cut.chosen, cut.grids, cut.weight, cut.occluder, cut.moves, cut.shape]
    rows = [np.reshape(part, (n, -1)) for part in parts if part is not None]
    return np.concatenate(rows, axis=1, dtype=np.float32, casting="same_kind")


def _unpack(
    rows: Float[Array, "n k"], *, weighted: bool, occluded: bool, moved: bool
) -> Cut:
    chosen, grids, rest = jnp.split(rows, [1, 1 + 2 * GRID**2 * 2], axis=1)
    weight, rest = jnp.split(rest, [int(weighted)], axis=1)
    occluder, rest = jnp.split(rest, [NUMBERS * int(occluded)], axis=1)
    moves, shape = jnp.split(rest, [MOVES * MOVE_NUMBERS * int(moved)], axis=1)
    return Cut(
        chosen[:, 0].astype(jnp.int32),
        grids.reshape(-1, 2, GRID, GRID, 2),
        shape if shape.shape[1] else None,
        weight[:, 0] if weighted else None,
        occluder if occluded else None,
        moves.reshape(-1, MOVES, MOVE_NUMBERS) if moved else None,
    )


def _cut_side(
    faces: UInt8[Array, "_ h w 3"],
    masks: UInt8[Array, "_ m m 3"] | None,
    cut: Cut,
    *,
    crop_size: int,
) -> Pair:
    places = _find_places(cut.grids, crop_size)
    if cut.moves is not None:
        places = jax.vmap(_move)(places, cut.moves)
    pictures = _sample(faces, cut.chosen, places, replicate=True)
    mask = None
    if masks is not None:
        places = (places[:, 1] + 0.5) * (masks.shape[1] / faces.shape[1]) - 0.5
        mask = _sample(masks, cut.chosen, places[:, None], replicate=False)[:, 0]
    warped, target = pictures[:, 0], pictures[:, 1]
    return Pair(*(warped, target, cut.shape, mask, cut.weight), occluder=cut.occluder)


def _find_places(
    grids: Float[Array, "n k 5 5 2"], crop_size: int
) -> Float[Array, "n k crop_size crop_size 2"]:
    """Where the crops' pixels come from: the grids, interpolated."""
    rise = jnp.asarray(interpolate_grid(crop_size), jnp.float32)
    # In full precision: a GPU's shorter products would be off by tenths of a pixel.
    return jnp.einsum(
        *("yi,nkijd,xj->nkyxd", rise, grids, rise), precision=jax.lax.Precision.HIGHEST
    )


def _move(
    places: Float[Array, "k y x 2"], moves: Float[Array, "8 12"]
) -> Float[Array, "k y x 2"]:
    """The places when a face's features are moved."""
    x, y = places[..., 0], places[..., 1]
    found = [jnp.stack(displace(x, y, move), axis=-1) for move in moves]
    return places + sum(found)


def _sample(
    pictures: UInt8[Array, "_ h w 3"],
    chosen: Int[Array, " n"],
    places: Float[Array, "n k y x 2"],
    *,
    replicate: bool,
) -> UInt8[Array, "n k y x 3"]:
    """Bilinear samples; outside are the edge's pixels, or nothing."""
    height, width = pictures.shape[1:3]
    parts = jnp.rint(places * _PARTS).astype(jnp.int32)
    first, share = parts // _PARTS, parts % _PARTS
    total = jnp.zeros((), jnp.int32)
    which = chosen[:, None, None, None]
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = first[..., 0] + dx, first[..., 1] + dy
            weight = _weigh(share[..., 0], dx) * _weigh(share[..., 1], dy)
            if not replicate:
                inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                weight = jnp.where(inside, weight, 0)
            x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
            taken = pictures[which, y, x].astype(jnp.int32)
            total = total + taken * weight[..., None]
    return ((total + _PARTS**2 // 2) // _PARTS**2).astype(jnp.uint8)


def _weigh(share: Int[Array, "..."], offset: int) -> Int[Array, "..."]:
    """The weight of a pixel's neighbour, of 32, at so many 32nds from the pixel."""
    return share if offset else _PARTS - share
