"""Crops to finished swaps of any number, as all who show or judge swaps want them.

The network draws in compiled batches of a few sizes; then, where it is asked for,
exemplars lend detail on the CPU, and the detail of both is matched. Faces are uint8.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.face_sets.face_shapes import flatten_landmarks
from deepfake_jax.models.autoencoder import Autoencoder, to_float
from deepfake_jax.models.code_bank import RECALLED
from deepfake_jax.models.fine_detail import MOST_GAIN, Energies, match_detail
from deepfake_jax.models.network import Bank, Network, SwapParams
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.runs.exemplars import Exemplars
from deepfake_jax.types import Landmarks, Side, other_side

# Batches are padded to one of these, so that nothing recompiles in the middle.
BATCH_SIZES = (1, 8, 32)
_SOURCE: Side = "a"  # what a swapper calls them, whoever they are
_TARGET: Side = "b"
_BANK_ROWS = 128  # a bank's codes are filled up to a multiple of this
_FAR = 1e6  # in what they are filled up with


@partial(jax.jit, static_argnames=("model", "to", "source"))
def _draw(
    params: SwapParams,
    faces: UInt8[Array, "n h w 3"],
    landmarks: Float32[Array, "n m"] | None,
    *,
    model: Autoencoder,
    to: Side,
    source: Side | None,
    energies: Float32[Array, "2"] | None,
    most: float | Array,
    recall: float | Array,
) -> UInt8[Array, "n h w 3"]:
    scaled = to_float(faces)
    swapped = swap_faces(
        model,
        params,
        scaled,
        to=to,
        source=source,
        recall=recall,
        landmarks=landmarks,
    )
    return _finish(swapped, energies=energies, most=most)


def _finish(
    faces: Float32[Array, "n h w 3"],
    trust: Float32[Array, "n h w"] | None = None,
    *,
    energies: Float32[Array, "2"] | None,
    most: float | Array,
) -> UInt8[Array, "n h w 3"]:
    """Matches the detail of faces in [0, 1], if asked, and rounds to uint8."""
    if energies is not None:
        faces = match_detail(faces, energies, most, trust=trust)
    return jnp.round(jnp.clip(faces, 0, 1) * 255).astype(jnp.uint8)


_finish_lent = jax.jit(_finish)


@dataclass(frozen=True, eq=False)
class Swapper:
    """From any number of uint8 faces to their swaps; each is what it is alone.

    Faces go to the device as uint8 in batches of a few fixed sizes; the answer is
    rounded to uint8 there. Made by `make_swapper`.

    Attributes:
        model: the network.
        params: its parameters, as `_take_parts` gives them.
        redraws: whether faces show who they are drawn as.
        shape_numbers: how many numbers are a face's shape in the bank; 0 without one.
        energies: to match the fine detail with, see `match_detail`; None leaves it.
        most_detail: the largest factor of that.
        recall: see `swap_faces`.
        exemplars: what lends the drawn faces detail first, on the CPU, or None.
    """

    model: Autoencoder
    params: SwapParams
    redraws: bool
    shape_numbers: int
    energies: Energies | None
    most_detail: float
    recall: float
    exemplars: Exemplars | None = None

    def __call__(
        self,
        faces: UInt8[np.ndarray, "k h w 3"],
        landmarks: Sequence[Landmarks | None] | None = None,
    ) -> UInt8[np.ndarray, "k h w 3"]:
        """Swaps faces.

        Args:
            faces: crops, as the network learned from.
            landmarks: of each, 68 or 5, in the pixels of the face picture that it was
                cut from; swaps of those that have some follow pose and expression more
                surely.
        """
        if self.exemplars is None:
            return self._draw(faces, landmarks, self.energies)
        drawn = self._draw(faces, landmarks, None)
        lent, trust = self.exemplars.lend(drawn.astype(np.float32))
        finish = partial(_finish_lent, energies=self.energies, most=self.most_detail)
        return _in_batches(finish, lent / 255, trust)

    def _draw(
        self,
        faces: UInt8[np.ndarray, "k h w 3"],
        landmarks: Sequence[Landmarks | None] | None,
        energies: Energies | None,
    ) -> UInt8[np.ndarray, "k h w 3"]:
        """The network's answers, their detail matched if there are energies."""
        shown = _TARGET if self.redraws else _SOURCE
        draw = partial(
            _draw,
            self.params,
            model=self.model,
            to=_TARGET,
            source=shown if self.model.align_codes else None,
            energies=energies,
            most=self.most_detail,
            recall=self.recall,
        )
        shapes = {
            index: shape
            for index, own in enumerate(() if self.redraws else landmarks or ())
            if (shape := flatten_landmarks(own, self.shape_numbers)) is not None
        }
        if not shapes:
            return _in_batches(partial(draw, landmarks=None), faces)
        swapped, known = np.empty_like(faces), list(shapes)
        stacked = np.stack(list(shapes.values())).astype(np.float32)
        swapped[known] = _in_batches(draw, faces[known], stacked)
        others = np.setdiff1d(np.arange(len(faces)), known)
        swapped[others] = _in_batches(partial(draw, landmarks=None), faces[others])
        return swapped


def make_swapper(
    model: Autoencoder,
    params: SwapParams,
    *,
    to: Side = "b",
    source: Side | None = None,
    energies: Energies | None = None,
    most_detail: float = MOST_GAIN,
    recall: float = RECALLED,
    exemplars: bool = False,
) -> Swapper:
    """The swapper of one direction; for `to` and `source` see `swap_faces`.

    Args:
        model: the network.
        params: its parameters.
        to: as whom.
        source: who the faces show.
        energies: of the target's real faces, to match the swaps' fine detail with, see
            `fine_detail.match_detail`; None leaves them as the network draws them.
        most_detail: the largest factor of that.
        recall: see `swap_faces`.
        exemplars: lend swaps the detail of real faces first, on the CPU, if the
            parameters have some; see `exemplars`.
    """
    source = source or other_side(to)
    plain = partial(
        Swapper,
        model,
        _take_parts(params, source, to),
        most_detail=most_detail,
        recall=recall,
        shape_numbers=0,
    )
    real, lender = params.faces.get(to, ()), None
    if exemplars and len(real):
        real = np.concatenate([real, real[:, :, ::-1]])
        lender = Exemplars(real, plain(redraws=True, energies=None)(real))
    return plain(
        redraws=source == to,
        shape_numbers=len(params.bank[source].middle) if params.bank else 0,
        energies=None if most_detail == 1 else energies,
        exemplars=lender,
    )


def _take_parts(params: SwapParams, source: Side, to: Side) -> SwapParams:
    """What a swap needs of a network's parameters, as if it were always from A to B.

    So both directions share their compiled programs. The banks are filled up to some
    multiple for that, with codes of faces that no face is like.
    """
    names: dict[Side, Side] = {_SOURCE: source, _TARGET: to}
    network, bank, known = params.network, params.bank, params.statistics
    parts = SwapParams(
        network=Network({_TARGET: network.decoders[to]}, network.encoder),
        statistics={name: known[side] for name, side in names.items() if known},
        bank={name: _fill_up(bank[side]) for name, side in names.items() if bank},
    )
    return jax.tree.map(jnp.asarray, parts)


def _fill_up(bank: Bank) -> Bank:
    rows = [(0, -len(bank.codes) % _BANK_ROWS), (0, 0)]
    codes, shapes = (
        np.pad(each, rows, constant_values=_FAR) for each in (bank.codes, bank.shapes)
    )
    return replace(bank, codes=codes, shapes=shapes)


def _in_batches(draw: Callable[..., Any], *arrays: Any) -> UInt8[np.ndarray, "n h w 3"]:
    """Gives faces, and what belongs to each, to a function in batches.

    They have one of `BATCH_SIZES` and are filled up with zeros.
    """
    faces, pieces = arrays[0], []
    for start in range(0, len(faces), BATCH_SIZES[-1]):
        here = [each[start : start + BATCH_SIZES[-1]] for each in arrays]
        count = len(here[0])
        size = next(size for size in BATCH_SIZES if size >= count)
        padded = [
            np.pad(each, [(0, size - count)] + [(0, 0)] * (each.ndim - 1))
            for each in here
        ]
        pieces.append(np.asarray(draw(*padded))[:count])
    return np.concatenate(pieces) if pieces else np.empty(faces.shape, np.uint8)
