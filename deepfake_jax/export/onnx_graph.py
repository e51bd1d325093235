"""A graph of ONNX, written node by node: our layers in ONNX's words.

Pictures are NCHW inside a graph. Everything is of opset 12 and IR version 7, which
programs of 2021 read. Names follow the order of the calls, so that the same calls give
the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 12
_IR_VERSION = 7
_MOST_BYTES = 2_000_000_000  # of a file: what protobuf can hold is 2^31
_FEW = 1024  # numbers; what has fewer is not worth a cast

Params = Mapping[str, Any]


class Graph:
    """Nodes and constants as they are added.

    Args:
        half: keep large weights as float16; they are computed with as float32.
    """

    def __init__(self, *, half: bool = False):
        self._half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def apply(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node of one output; gives that output's name."""
        return self.apply_split(kind, 1, *inputs, **attributes)[0]

    def apply_split(
        self, kind: str, count: int, *inputs: str, **attributes: Any
    ) -> list[str]:
        """Adds a node of several outputs; gives their names."""
        number = len(self._nodes)
        outputs = [f"{kind.lower()}_{number}_{i}" for i in range(count)]
        node = helper.make_node(kind, list(inputs), outputs, **attributes)
        self._nodes.append(node)
        return outputs

    def constant(self, value: Any) -> str:
        """Adds an array as it is; Python's floats become float32."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"constant_{len(self._constants)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        if array.ndim == 0:  # `ascontiguousarray` makes it a row
            del tensor.dims[:]
        self._constants.append(tensor)
        return name

    def weights(self, value: Any) -> str:
        """Adds float32 weights, as float16 where the graph keeps them so."""
        array = np.asarray(value, np.float32)
        if not self._half or array.size < _FEW:
            return self.constant(array)
        kept = self.constant(array.astype(np.float16))
        return self.apply("Cast", kept, to=onnx.TensorProto.FLOAT)

    def give(self, value: str, name: str) -> None:
        """Names a value as an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    # Layers

    def conv(self, x: str, params: Params, *, stride: int = 1) -> str:
        """A convolution with "SAME" padding of pictures that its stride divides."""
        kernel = np.asarray(params["kernel"])  # HWIO
        size = kernel.shape[0]
        total = size - stride
        before = total // 2  # XLA pads the smaller half first
        return self.apply(
            "Conv",
            x,
            self.weights(kernel.transpose(3, 2, 0, 1)),
            self.weights(params["bias"]),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[before, before, total - before, total - before],
        )

    def dense(self, x: str, params: Params) -> str:
        """A dense layer on rows."""
        kernel, bias = (self.weights(params[name]) for name in ("kernel", "bias"))
        return self.apply("Gemm", x, kernel, bias)

    def leaky(self, x: str, slope: float) -> str:
        """A leaky ReLU."""
        return self.apply("LeakyRelu", x, alpha=slope)

    def to_blocks(self, x: str, block: int) -> str:
        """Blocks of pixels to one place's channels, in the order of `conv_blocks`."""
        return self.apply("SpaceToDepth", x, blocksize=block)

    def from_blocks(self, x: str, block: int) -> str:
        """Channels to blocks of pixels, as `conv_blocks.pixel_shuffle`."""
        if block == 1:
            return x
        return self.apply("DepthToSpace", x, blocksize=block, mode="DCR")

    def flatten(self, x: str) -> str:
        """Pictures to rows in the order of NHWC."""
        x = self.apply("Transpose", x, perm=[0, 2, 3, 1])
        return self.apply("Flatten", x, axis=1)

    def unflatten(self, x: str, places: int, channels: int) -> str:
        """Rows in the order of NHWC to pictures of `places` a side."""
        shape = self.constant(np.array([-1, places, places, channels], np.int64))
        x = self.apply("Reshape", x, shape)
        return self.apply("Transpose", x, perm=[0, 3, 1, 2])

    def finish(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        *,
        metadata: Mapping[str, str],
        version: str,
    ) -> onnx.ModelProto:
        """The model, checked by ONNX's own checker.

        Args:
            inputs: their shapes by name; a word is a size that is not fixed. One that
                bears a constant's name need not be given.
            outputs: likewise.
            metadata: texts to keep in it.
            version: of this program.

        Raises:
            ValueError: it is larger than a file of ONNX can be.
        """
        size = sum(len(tensor.raw_data) for tensor in self._constants)
        if size > _MOST_BYTES:
            raise ValueError(
                f"the network has {size / 1e9:.1f} GB of weights, and a file of ONNX "
                f"holds {_MOST_BYTES / 1e9:.0f}; --precision float16 halves them"
            )
        graph = helper.make_graph(
            self._nodes,
            "deepfake_jax",
            _describe(inputs),
            _describe(outputs),
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="deepfake-jax",
            producer_version=version,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _describe(
    values: Mapping[str, Sequence[int | str]],
) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
        for name, shape in values.items()
    ]
