"""The face mesh's file as the network that `models.face_mesh` runs.

The file is a TensorFlow Lite model, read by the schema that LiteRT ships; LiteRT itself
does not run. Only the layers that landmarks need are kept.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.weights import get_weights
from deepfake_jax.models.face_mesh import MeshLayer, MeshNetwork

_KINDS: Mapping[str, Any] = MappingProxyType(
    {
        "CONV_2D": "conv",
        "DEPTHWISE_CONV_2D": "depthwise",
        "PRELU": "prelu",
        "MAX_POOL_2D": "max_pool",
        "ADD": "add",
        "PAD": "pad",
    }
)
_NUMBERS = 3 * 468  # of the output that has the landmarks


def load_mesh_network() -> MeshNetwork:
    """Reads the network that finds a face's 468 landmarks.

    Raises:
        AssetError: the pinned file can be neither found nor fetched.
        ValueError: the file has a kind of layer that is not known here.
    """
    # Takes a quarter of a second, and few need it.
    from ai_edge_litert import schema_py_generated as schema

    content = get_weights("face_mesh").read_bytes()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    arrays: list[Any] = []
    layers: list[MeshLayer] = []
    places = {int(graph.inputs[0]): 0}
    for operator in _list_needed(graph):
        code = model.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name not in _KINDS:
            raise ValueError(f"the face mesh has a layer {name}, which is not known")
        kind = _KINDS[name]
        count = 2 if kind == "add" else 1  # the other inputs are arrays
        read = [] if kind == "pad" else operator.inputs[count:]
        found = [_read_array(model, graph.tensors[i], kind) for i in read]
        options, end = operator.builtinOptions, int(operator.outputs[0])
        if kind == "conv" and options.padding == schema.Padding.VALID:
            # A convolution of one pixel has no padding either way.
            kind = "conv" if found[0].shape[:2] == (1, 1) else "full"
        layers.append(
            MeshLayer(
                kind=kind,
                inputs=tuple(places[int(i)] for i in operator.inputs[:count]),
                stride=getattr(options, "strideH", 1),
                channels=int(graph.tensors[end].shape[-1]),
                weights=tuple(range(len(arrays), len(arrays) + len(found))),
            )
        )
        arrays += found
        places[end] = len(layers)
    return MeshNetwork(tuple(map(jnp.asarray, arrays)), tuple(layers))


def _list_needed(graph: Any) -> list[Any]:
    """The operators that the landmarks depend on, in order."""
    sizes = {int(i): np.prod(graph.tensors[i].shape) for i in graph.outputs}
    wanted = {index for index, size in sizes.items() if size == _NUMBERS}
    needed = []
    for operator in reversed(graph.operators):
        if int(operator.outputs[0]) in wanted:
            needed.append(operator)
            wanted |= {int(index) for index in operator.inputs}
    return needed[::-1]


def _read_array(model: Any, tensor: Any, kind: str) -> Float32[np.ndarray, "..."]:
    data = bytes(model.buffers[tensor.buffer].data)
    array = np.frombuffer(data, "<f4").astype(np.float32).reshape(tuple(tensor.shape))
    if array.ndim == 4:
        return array.transpose(1, 2, 3, 0) if kind == "conv" else array[0]
    return array.reshape(-1)
