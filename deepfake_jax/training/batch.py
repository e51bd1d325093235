"""What a training step is given: pairs of pictures of both sides.

The loader fills it with NumPy arrays, the devices take it as it is, and the step reads
it: one pytree all the way. Pictures are uint8, or float32 in [0, 1].
"""

from typing import Any

from flax import struct

from deepfake_jax.types import Side


@struct.dataclass
class Pair:
    """The training pairs of one side in a batch.

    Stacked batches have an axis of steps in front, batches of several devices one of
    devices.

    Attributes:
        warped: [n, h, w, 3], what the network sees.
        target: [n, h, w, 3], what it is to draw.
        shape: [n, m], where the targets' landmarks lie, see `data.cut_shapes`; None
            where nobody asks.
        mask: [n, h, w, 3], where the targets' face, eyes and mouth are, uint8 or
            float32 in [0, 1], see `face_masks`; None where nobody asks.
        weight: [n], how much a face counts in the moments of codes, 1 on average, see
            `overlap_weights`; None where all count alike.
        swapped: [n, h, w, 3], the targets as a teacher swaps them; None without one.
        occluder: [n, k], what stands before the warped pictures, see `occluders`; None
            where nothing does.
    """

    warped: Any
    target: Any
    shape: Any = None
    mask: Any = None
    weight: Any = None
    swapped: Any = None
    occluder: Any = None


Batch = dict[Side, Pair]


@struct.dataclass
class Cut:
    """What the pairs of one side are to be cut from: a `Pair` before its pictures.

    Attributes:
        chosen: [n], indices of the faces.
        grids: [n, 2, 5, 5, 2], where in the faces, see `augment.draw_cuts`.
        shape: as of a pair.
        weight: likewise.
        occluder: likewise.
        moves: [n, 8, 12], how the faces' features are moved before they are cut, see
            `expressions`; None where none are.
    """

    chosen: Any
    grids: Any
    shape: Any = None
    weight: Any = None
    occluder: Any = None
    moves: Any = None


Cuts = dict[Side, Cut]
