"""Faces to the other person's faces: the encoder, then the other decoder.

Faces are float32 in [0, 1], NHWC, aligned and cropped as the training targets were.
"""

from jaxtyping import Array, Float, Float32

from deepfake_jax.models.autoencoder import Autoencoder, Drawing
from deepfake_jax.models.network import SwapParams
from deepfake_jax.types import Side, other_side


def swap_faces(
    model: Autoencoder,
    params: SwapParams,
    faces: Float32[Array, "n h w 3"],
    *,
    to: Side = "b",
    source: Side | None = None,
) -> Float32[Array, "n h w 3"]:
    """Redraws faces as person `to`, keeping pose and expression; pure.

    Args:
        model: the network's functions.
        params: its parameters, and what is known of the codes.
        faces: to redraw.
        to: as whom.
        source: who they show; None is the other person. Given `to`, its faces are
            reconstructed.
    """
    return draw_swap(model, params, faces, to=to, source=source).crops


def draw_swap(
    model: Autoencoder,
    params: SwapParams,
    faces: Float32[Array, "n h w 3"],
    *,
    to: Side = "b",
    source: Side | None = None,
) -> Drawing:
    """As `swap_faces`, with the mask where the network draws one."""
    source = source or other_side(to)
    if source == to or not model.align_codes:
        code = model.encode(params.network, faces)
    else:
        code = encode_swap(model, params, faces, source=source, to=to)
    return model.draw(params.network, code, to)


def encode_swap(
    model: Autoencoder,
    params: SwapParams,
    faces: Float32[Array, "n h w 3"],
    *,
    source: Side,
    to: Side,
) -> Float[Array, "n ch cw c"]:
    """Faces of `source` to the codes that the decoder of `to` draws a swap from.

    They are moved to where those of `to` lie. For networks that align codes.
    """
    vectors = model.compress(params.network, faces)
    moved = model.move(params, vectors, source=source, to=to)
    return model.widen(params.network, moved)
