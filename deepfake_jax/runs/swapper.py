"""Crops to finished swaps of any number, as all who show or judge swaps want them.

The network draws in compiled batches of a few sizes; then, where it is asked for,
exemplars lend detail on the CPU, and the detail of both is matched. Faces are uint8.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from deepfake_jax.face_sets.face_shapes import flatten_landmarks
from deepfake_jax.models.autoencoder import Autoencoder, Params, to_float
from deepfake_jax.models.code_bank import RECALLED, Bank
from deepfake_jax.models.fine_detail import MOST_GAIN, Energies, match_detail
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
    params: Params,
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


@runtime_checkable
class Swapper(Protocol):
    """From any number of uint8 faces to their swaps; see `make_swapper`."""

    def __call__(
        self,
        faces: UInt8[np.ndarray, "n h w 3"],
        landmarks: Sequence[Landmarks | None] | None = None,
        /,
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Swaps faces.

        Args:
            faces: crops, as the network learned from.
            landmarks: of each, 68 or 5, in the pixels of the face picture that it was
                cut from. If all are known, swaps follow poses and expressions more
                surely.
        """
        ...


def make_swapper(
    model: Autoencoder,
    params: Params,
    *,
    to: Side = "b",
    source: Side | None = None,
    energies: Energies | None = None,
    most_detail: float = MOST_GAIN,
    recall: float = RECALLED,
    exemplars: bool = False,
) -> Swapper:
    """A compiled function from any number of uint8 faces to their swaps.

    Faces go to the device as uint8 in batches of a few fixed sizes; the answer is
    rounded to uint8 there. For `to` and `source` see `swap_faces`.

    Args:
        model: the network.
        params: its parameters.
        to: as whom.
        source: who the faces show.
        energies: of the target's real faces, to match the swaps' fine detail with, see
            `detail.match_detail`; None leaves them as the network draws them.
        most_detail: the largest factor of that.
        recall: see `swap_faces`.
        exemplars: lend swaps the detail of real faces first, on the CPU, if the
            parameters have a bank of them; see `exemplars`.
    """
    if most_detail == 1:
        energies = None
    bank = params.get("bank", {})
    source = source or other_side(to)
    count = len(bank.get(source, {}).get("middle", ()))
    core = _take_parts(params, source, to)

    def draw(shown: Side, energies: Energies | None, faces: Any, flat: Any) -> Any:
        return _draw(
            core,
            faces,
            flat,
            model=model,
            to=_TARGET,
            source=shown if model.align_codes else None,
            energies=energies,
            most=most_detail,
            recall=recall,
        )

    def with_landmarks(faces: Any, landmarks: Any, energies: Energies | None) -> Any:
        flat = [flatten_landmarks(points, count) for points in landmarks or ()]
        known = [each for each in flat if each is not None]
        if source == to:
            return _in_batches(partial(draw, _TARGET, energies, flat=None), faces)
        if not known or len(known) < len(faces):
            return _in_batches(partial(draw, _SOURCE, energies, flat=None), faces)
        shapes = np.stack(known).astype(np.float32)
        return _in_batches(partial(draw, _SOURCE, energies), faces, shapes)

    def draw_plain(faces: Any, landmarks: Any = None, /) -> Any:
        return with_landmarks(faces, landmarks, energies)

    real = bank.get(to, {}).get("faces", ())
    if not exemplars or not len(real):
        return draw_plain
    real = np.concatenate([real, real[:, :, ::-1]])
    own = partial(draw, _TARGET, None, flat=None)
    lender = Exemplars(real, _in_batches(own, real))

    def draw_lent(faces: Any, landmarks: Any = None, /) -> Any:
        drawn = with_landmarks(faces, landmarks, None)
        lent, trust = lender.lend(drawn.astype(np.float32))
        finish = partial(_finish_lent, energies=energies, most=most_detail)
        return _in_batches(finish, lent / 255, trust)

    return draw_lent


def _take_parts(params: Params, source: Side, to: Side) -> Params:
    """What a swap needs of a network's parameters, as if it were always from A to B.

    So both directions share their compiled programs. The banks are filled up to some
    multiple for that, with codes of faces that no face is like.
    """
    names: dict[str, Side] = {_SOURCE: source, _TARGET: to}
    parts = {"encoder": params["encoder"], "decoder_b": params[f"decoder_{to}"]}
    for group in ("codes", "bank"):
        known = params.get(group, {})
        parts[group] = {name: known[side] for name, side in names.items() if known}
    for name, own in parts["bank"].items():
        parts["bank"][name] = _fill_up(own)
    return jax.tree.map(jnp.asarray, parts)


def _fill_up(bank: Bank) -> Bank:
    filled = {name: part for name, part in bank.items() if name != "faces"}
    if "codes" in bank:
        rows = [(0, -len(bank["codes"]) % _BANK_ROWS), (0, 0)]
        for name in ("codes", "shapes"):
            filled[name] = np.pad(bank[name], rows, constant_values=_FAR)
    return filled


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
