"""The file of open_nsfw as the network that `models.perceptual` runs.

The file is an ONNX model, which OpenCV reads; batch norms are folded in it.
"""

import cv2
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.weights import get_weights
from deepfake_jax.models.perceptual import (
    STAGES,
    FeatureNetwork,
    Filter,
    to_block_filter,
)

# The first convolution; three to a residual block, and one beside each stage's first.
_COUNT = 1 + sum(3 * blocks + 1 for blocks in STAGES)


def load_feature_network() -> FeatureNetwork:
    """Reads the network whose features say how alike pictures look.

    Raises:
        AssetError: the pinned file can be neither found nor fetched.
        ValueError: OpenCV reads it in another way than this was made for.
    """
    model = cv2.dnn.readNetFromONNX(str(get_weights("open_nsfw")))
    layers = [model.getLayer(model.getLayerId(name)) for name in model.getLayerNames()]
    found = [_read(layer) for layer in layers if layer.type == "Convolution"][:_COUNT]
    if len(found) < _COUNT or found[0][0].shape != (7, 7, 3, 64):
        raise ValueError(
            f"OpenCV {cv2.__version__} finds other layers in open_nsfw's file than the "
            "version that this was made for: pip install 'opencv-python<5'"
        )
    others = [
        Filter(jnp.asarray(kernel), jnp.asarray(bias)) for kernel, bias in found[1:]
    ]
    return FeatureNetwork(to_block_filter(*found[0]), tuple(others))


def _read(
    layer: cv2.dnn.Layer,
) -> tuple[Float32[np.ndarray, "k k cin cout"], Float32[np.ndarray, "cout"]]:
    """A convolution's kernel, HWIO, and bias."""
    kernel, bias = (np.array(blob, np.float32) for blob in layer.blobs)
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)), bias.reshape(-1)
