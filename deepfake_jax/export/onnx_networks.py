"""The networks of `models`, walked parameter by parameter into a graph of ONNX.

Each function here stands beside a method there: `compress` and `widen` of an encoder,
and the decoder. Which parameters there are is read from the parameters' own names, so
that widths and levels need no table.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from deepfake_jax.export.onnx_graph import Graph, Params
from deepfake_jax.models import deep, lite128
from deepfake_jax.models.deep import PLANS
from deepfake_jax.models.original import LEAK, PLACES
from deepfake_jax.models.subpixels import DRAWN, RESIDUAL_LEAK
from deepfake_jax.train_config import ModelConfig

# What the levels after the bottleneck, and the residual block of each, are called.
_WIDENING = (("upscale", "upscales_"), ("shared_",))


class DrawnNames(NamedTuple):
    """What a decoder's graph gives, by the values' names; pictures are NCHW.

    Attributes:
        crops: in [0, 1].
        mask: in [0, 1], one channel; None of a network that draws none.
    """

    crops: str
    mask: str | None


def add_compress(graph: Graph, config: ModelConfig, params: Params, crops: str) -> str:
    """Crops, NCHW, to the vectors of the bottleneck.

    Raises:
        ValueError: the network is none of those known here.
    """
    if config.name not in _ENCODERS:
        raise ValueError(
            f"no export of the network {config.name!r}; there are those of "
            f"{', '.join(_ENCODERS)}"
        )
    rows = graph.flatten(_ENCODERS[config.name](graph, config, params, crops))
    if config.name in PLANS:
        rows = _scale_to_one(graph, rows)
    return graph.dense(rows, params["bottleneck"])


def add_widen(graph: Graph, config: ModelConfig, params: Params, vectors: str) -> str:
    """The bottleneck's vectors to the code that a decoder reads."""
    places = PLACES
    if config.name in PLANS:
        places = deep.Encoder(config.width, sees=PLANS[config.name].sees)._places
    x = graph.dense(vectors, params["expand"])
    x = graph.unflatten(x, places, len(params["expand"]["bias"]) // places**2)
    if "upscale" in params:
        return _upscale(graph, x, params["upscale"])
    upscales, shared = (_numbered(params, *names) for names in _WIDENING)
    for level, upscale in enumerate(upscales):
        x = _upscale(graph, x, upscale)
        if shared:
            x = _residual(graph, x, shared[level])
    return _residual(graph, x, params["residual"]) if "residual" in params else x


def add_decoder(graph: Graph, params: Params, code: str, *, masked: bool) -> DrawnNames:
    """A code to what a person's decoder draws."""
    x = code
    residuals = _numbered(params, "residual")
    for level, upscale in enumerate(_numbered(params, "upscale")):
        x = _upscale(graph, x, upscale)
        if residuals:
            x = _residual(graph, x, residuals[level])
    x = graph.conv(x, params["output"])
    channels = DRAWN if masked else 3
    block = math.isqrt(len(params["output"]["bias"]) // channels)
    x = graph.from_blocks(x, block)
    if not masked:
        return DrawnNames(graph.apply("Sigmoid", x), None)
    both = graph.apply("Sigmoid", x)
    return DrawnNames(*graph.apply_split("Split", 2, both, axis=1, split=[3, 1]))


def _compress_original(
    graph: Graph, config: ModelConfig, params: Params, x: str
) -> str:
    for layer in _numbered(params, "conv"):
        x = graph.leaky(graph.conv(x, layer, stride=2), LEAK)
    return x


def _compress_lite(graph: Graph, config: ModelConfig, params: Params, x: str) -> str:
    return _compress_original(graph, config, params, graph.to_blocks(x, 2))


def _compress_lite128(graph: Graph, config: ModelConfig, params: Params, x: str) -> str:
    x = graph.to_blocks(x, lite128._BLOCK)
    x = graph.leaky(graph.conv(x, params["stem"]), LEAK)
    return _compress_original(graph, config, params, x)


def _compress_deep(graph: Graph, config: ModelConfig, params: Params, x: str) -> str:
    plan = PLANS[config.name]
    times = plan.crop_size // plan.sees
    if times > 1:
        window = [times, times]
        x = graph.apply("AveragePool", x, kernel_shape=window, strides=window)
    first, last = _numbered(params, "residuals_")
    for index, layer in enumerate(_numbered(params, "convs_")):
        x = graph.leaky(graph.conv(x, layer, stride=2), LEAK)
        if index == 0:
            x = _residual(graph, x, first)
    return _residual(graph, x, last)


_ENCODERS: Mapping[str, Callable[[Graph, ModelConfig, Params, str], str]] = (
    MappingProxyType(
        {
            "original": _compress_original,
            "lite": _compress_lite,
            "lite128": _compress_lite128,
            **dict.fromkeys(PLANS, _compress_deep),
        }
    )
)


def _upscale(graph: Graph, x: str, params: Params) -> str:
    return graph.from_blocks(graph.leaky(graph.conv(x, params["conv"]), LEAK), 2)


def _residual(graph: Graph, x: str, params: Params) -> str:
    y = graph.leaky(graph.conv(x, params["conv0"]), RESIDUAL_LEAK)
    y = graph.conv(y, params["conv1"])
    return graph.leaky(graph.apply("Add", x, y), RESIDUAL_LEAK)


def _scale_to_one(graph: Graph, rows: str) -> str:
    """Rows over their root mean square."""
    squares = graph.apply("Mul", rows, rows)
    mean = graph.apply("ReduceMean", squares, axes=[1], keepdims=1)
    least = graph.constant(deep._LEAST)
    root = graph.apply("Sqrt", graph.apply("Add", mean, least))
    return graph.apply("Div", rows, root)


def _numbered(params: Params, *prefixes: str) -> list[Any]:
    """Parameters named by one of the prefixes and a number, in its order."""
    found = {
        int(name.removeprefix(prefix)): part
        for prefix in prefixes
        for name, part in params.items()
        if name.removeprefix(prefix).isdigit() and name.startswith(prefix)
    }
    return [found[number] for number in sorted(found)]
