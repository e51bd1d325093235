"""Whether an exported file draws what JAX draws, measured before it is written.

Real faces are taken where there are some, of the face set that the run was trained on;
else smooth pictures are drawn.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, UInt8

from deepfake_jax.export.dfm import CROPS, INPUT, Program, draw_edge, make_resampling
from deepfake_jax.export.onnx_swap import Swap
from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import read_record
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.models.network import SwapParams
from deepfake_jax.models.swap_faces import encode_swap, swap_faces
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.types import spread

_FACES = 4

Crops = Float32[np.ndarray, "n s s 3"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Faces of the source to compare by.

    Attributes:
        faces: pictures of 256 pixels, in the colors that the source has in footage.
        origin: where they are from, in words.
    """

    faces: UInt8[np.ndarray, "n 256 256 3"]
    origin: str


def gather_examples(run: Path, swap: Swap) -> Examples:
    """A few faces of the source."""
    try:
        folder = find_set(run, swap.source)
        records = read_record(folder)[1]
        records = [records[i] for i in spread(len(records), _FACES)]
        faces = [read_picture(folder / record.file) for record in records]
        if faces:
            return Examples(np.stack(faces), "faces of the run's face set")
    except (FaceSetError, PictureError, ValueError, OSError):
        pass
    return Examples(_draw_faces(), "drawn faces")


def _draw_faces() -> UInt8[np.ndarray, "n 256 256 3"]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (_FACES, 8, 8, 3)).astype(np.uint8)
    size = (FACE_SIZE, FACE_SIZE)
    return np.stack(
        [cv2.resize(c, size, interpolation=cv2.INTER_CUBIC) for c in coarse]
    )


def run_jax(
    swap: Swap, crops: Crops
) -> tuple[Crops, Float32[np.ndarray, "n s s"] | None]:
    """What `swap_faces` draws, and the mask of a network that has one."""
    drawn, logits = _draw(swap.params, jnp.asarray(crops), swap=swap)
    mask = None if logits is None else np.asarray(jax.nn.sigmoid(logits))
    return np.asarray(drawn), mask


@partial(jax.jit, static_argnames="swap")
def _draw(
    params: SwapParams,
    crops: Float32[Array, "n s s 3"],
    *,
    swap: Swap,
) -> tuple[Array, Array | None]:
    model = swap.model
    if model.align_codes:
        code = encode_swap(model, params, crops, source=swap.source, to=swap.to)
    else:
        code = model.encode(params.network, crops)
    drawn = model.draw(params.network, code, swap.to)
    return drawn.crops, drawn.mask_logits


def compare_onnx(session: Any, swap: Swap, examples: Examples, shift: Any) -> float:
    """The largest difference of a file of our own crops to JAX.

    Args:
        session: onnxruntime's.
        swap: what was exported.
        examples: faces to compare by.
        shift: grey levels that the network wants to be added, RGB.
    """
    pictures = shift_color(examples.faces, np.asarray(shift, np.float64))
    crops = crop_faces(pictures, swap.model.crop_size).astype(np.float32) / 255
    drawn, mask = run_jax(swap, crops)
    own = _redraw(swap.params, jnp.asarray(crops), swap=swap)
    wanted = {"swapped": drawn, "redrawn": np.asarray(own)}
    if mask is not None:
        wanted["mask"] = mask[..., None]
    found = session.run(list(wanted), {"faces": crops})
    parts = zip(found, wanted.values(), strict=True)
    return max(_measure(part, right) for part, right in parts)


@partial(jax.jit, static_argnames="swap")
def _redraw(
    params: SwapParams, crops: Float32[Array, "n s s 3"], *, swap: Swap
) -> Float32[Array, "n s s 3"]:
    return swap_faces(swap.model, params, crops, to=swap.source, source=swap.source)


def compare_dfm(
    session: Any,
    swap: Swap,
    examples: Examples,
    shift: Float64[Any, "3"],
    program: Program,
) -> float:
    """The largest difference of a .dfm to JAX between the same resamplings."""
    place, size = CROPS[program], session.get_inputs()[0].shape[1]
    scale = size / place.side
    matrix = np.array(
        [
            [scale, 0, (0.5 - place.left) * scale - 0.5],
            [0, scale, (0.5 - place.top) * scale - 0.5],
        ]
    )
    cut = partial(
        cv2.warpAffine, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    seen = np.stack([cut(f, matrix, (size, size)) for f in examples.faces])
    seen = seen.astype(np.float32) / 255
    rows, columns = (
        make_resampling(start, place.side, size, swap.model.crop_size)
        for start in (place.top, place.left)
    )
    crops = _resample(rows.down, seen, columns.down)
    crops = np.clip(crops + shift / 255, 0, 1)
    drawn, mask = run_jax(swap, crops.astype(np.float32))
    inside = (rows.inside[:, None] * columns.inside)[..., None]
    face = _resample(rows.up, drawn, columns.up) * inside
    face = face + seen * (1 - inside)
    found = session.run(None, {INPUT: seen[..., ::-1]})
    apart = _measure(found[1][..., ::-1], face)
    if mask is not None:
        wanted = _resample(rows.up, mask[..., None], columns.up)[..., 0]
        wanted = wanted * draw_edge(rows, columns, swap.model.crop_size)
        apart = max(apart, *(_measure(found[i][..., 0], wanted) for i in (0, 2)))
    return apart


def compare_program(program: Any, params: Any, swap: Swap, examples: Examples) -> float:
    """The largest difference of an exported program of one face to JAX."""
    crops = crop_faces(examples.faces, swap.model.crop_size).astype(np.float32) / 255
    found = [np.asarray(program.call(params, crop[None])) for crop in crops]
    return _measure(np.concatenate(found), run_jax(swap, crops)[0])


def _resample(
    rows: Float32[np.ndarray, "y h"],
    pictures: Float32[np.ndarray, "n h w c"],
    columns: Float32[np.ndarray, "x w"],
) -> Float32[np.ndarray, "n y x c"]:
    """Pictures with other rows and columns; both at once would take minutes."""
    pictures = np.einsum("yh,nhwc->nywc", rows, pictures, optimize=True)
    return np.einsum("xw,nywc->nyxc", columns, pictures, optimize=True)


def _measure(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.max(np.abs(found - wanted)))
