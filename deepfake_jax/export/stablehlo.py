"""A swap as `jax.export` keeps programs, for CPU, CUDA and TPU, in one zip file.

``swap_N.stablehlo`` swaps N faces; ``params.npz`` has its first argument, a dict of
arrays by name, and ``card.json`` says what it is. With JAX alone, nothing of this
package:

    swap = jax.export.deserialize(zip.read("swap_8.stablehlo"))
    swapped = swap.call(dict(numpy.load(zip.open("params.npz"))), faces)

Such programs are for deployment, not for keeping: JAX promises to read them for six
months, and from 0.11.1 on refuses older ones. The run itself is what lasts.
"""

import datetime
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Float32

from deepfake_jax.export.onnx_swap import Swap
from deepfake_jax.json_files import format_json
from deepfake_jax.kernels.library import without_kernels
from deepfake_jax.models.network import Network, Params, SwapParams
from deepfake_jax.models.swap_faces import swap_faces
from deepfake_jax.types import Side

PLATFORMS = ("cpu", "cuda", "tpu")
COUNTS = (1, 8, 32)  # faces; the forms of convolutions depend on them
CARD_NAME, PARAMS_NAME = "card.json", "params.npz"
_PROMISED = datetime.timedelta(days=180)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of all members, so that equal runs give equal files


def describe_expiry(today: datetime.date) -> dict[str, str]:
    """Until when a program that is exported today can surely be read."""
    return {
        "jax_version": jax.__version__,
        "exported": today.isoformat(),
        "readable_until": (today + _PROMISED).isoformat(),
    }


def write_stablehlo(path: Path, swap: Swap, card: Mapping[str, Any]) -> None:
    """Writes the zip file; its card says until when it can be read.

    Args:
        path: the file.
        swap: what is exported.
        card: what it is.
    """
    leaves, tree = jax.tree.flatten(_take_parts(swap))
    params = {f"param_{i:03d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}

    def run(
        params: dict[str, Array], faces: Float32[Array, "n h w 3"]
    ) -> Float32[Array, "n h w 3"]:
        own = jax.tree.unflatten(tree, [params[name] for name in sorted(params)])
        with without_kernels():
            return swap_faces(swap.model, own, faces, to=swap.to)

    size = swap.model.crop_size
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **params)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        _add(file, CARD_NAME, format_json(dict(card), indent=2).encode())
        _add(file, PARAMS_NAME, packed.getvalue())
        for count in COUNTS:
            faces = jax.ShapeDtypeStruct((count, size, size, 3), np.float32)
            program = export.export(jax.jit(run), platforms=PLATFORMS)(params, faces)
            _add(file, f"swap_{count}.stablehlo", bytes(program.serialize()))


def read_stablehlo(path: Path, count: int) -> tuple[Any, dict[str, np.ndarray]]:
    """The program for `count` faces, and its first argument."""
    with zipfile.ZipFile(path) as file:
        program = export.deserialize(bytearray(file.read(f"swap_{count}.stablehlo")))
        return program, dict(np.load(io.BytesIO(file.read(PARAMS_NAME))))


def _take_parts(swap: Swap) -> SwapParams:
    """What one direction needs, without pictures."""
    params = swap.params
    decoders: dict[Side, Params] = {swap.to: params.network.decoders[swap.to]}
    own = params.network
    network = Network(decoders, own.encoder, own.readout)
    return SwapParams(network, params.statistics)


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name, _EPOCH), data)
