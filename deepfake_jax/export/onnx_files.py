"""Files of ONNX of a swap: of our own crops, and the .dfm of other programs.

Our own file, format "onnx", takes what `swap_faces` takes: ``faces`` (n, size, size,
3), RGB in [0, 1]. It gives ``swapped`` (n, size, size, 3), of a network that draws one
``mask`` (n, size, size, 1), and ``redrawn``, the same faces as their own decoder draws
them: what is not there stands before the face. Only what is asked for is computed. What
`runs.exported_run` needs beside that is in the card, under `CARD`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from deepfake_jax.export.dfm import INPUT, OUTPUTS, Program, add_dfm
from deepfake_jax.export.onnx_graph import Graph
from deepfake_jax.export.onnx_swap import Swap, add_both
from deepfake_jax.json_files import format_json
from deepfake_jax.runs.exported_run import CARD
from deepfake_jax.version import own_version


def make_onnx(swap: Swap, card: Mapping[str, Any], *, half: bool) -> onnx.ModelProto:
    """A swap of our own crops.

    Args:
        swap: what is exported.
        card: what it is, kept inside.
        half: keep weights as float16.

    Raises:
        ValueError: the network is not known here, or too large for a file.
    """
    graph, size = Graph(half=half), swap.model.crop_size
    inputs: dict[str, list[int | str]] = {"faces": ["n", size, size, 3]}
    crops = graph.apply("Transpose", "faces", perm=[0, 3, 1, 2])
    drawn, own = add_both(graph, swap, crops)
    outputs: dict[str, list[int | str]] = {}
    for name, value, channels in (
        ("swapped", drawn.crops, 3),
        ("mask", drawn.mask, 1),
        ("redrawn", own.crops, 3),
    ):
        if value is not None:
            graph.give(graph.apply("Transpose", value, perm=[0, 2, 3, 1]), name)
            outputs[name] = ["n", size, size, channels]
    return graph.finish(inputs, outputs, metadata=_keep(card), version=own_version())


def make_dfm(
    swap: Swap,
    card: Mapping[str, Any],
    *,
    half: bool,
    program: Program,
    shift: np.ndarray,
) -> onnx.ModelProto:
    """A swap of another program's crops; `half` and errors as `make_onnx`.

    Args:
        swap: what is exported.
        card: what it is, kept inside.
        half: keep weights as float16.
        program: whose crops.
        shift: grey levels that the network wants to be added, RGB.
    """
    graph = Graph(half=half)
    size = add_dfm(graph, swap, program, shift)
    return graph.finish(
        {INPUT: ["n", size, size, 3]},
        {
            name: ["n", size, size, channels]
            for name, channels in zip(OUTPUTS, (1, 3, 1), strict=True)
        },
        metadata=_keep(card),
        version=own_version(),
    )


def _keep(card: Mapping[str, Any]) -> dict[str, str]:
    """A card as ONNX keeps texts: as one for programs, the rest to read."""
    shown = ("notice", "tool", "tool_version", "run", "model_step", "direction")
    return {CARD: format_json(dict(card)), **{k: str(card[k]) for k in shown}}
