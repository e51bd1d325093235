"""Faces to the other person's faces: the encoder, then the other decoder.

Faces are float32 in [0, 1], NHWC, aligned and cropped as the training targets were.
"""

from jaxtyping import Array, Float, Float32

from deepfake_jax.models.autoencoder import Autoencoder, move_codes
from deepfake_jax.models.code_bank import RECALLED, recall_codes
from deepfake_jax.models.network import SwapParams
from deepfake_jax.types import Side, other_side


def swap_faces(
    model: Autoencoder,
    params: SwapParams,
    faces: Float32[Array, "n h w 3"],
    *,
    to: Side = "b",
    source: Side | None = None,
    recall: float | Array = RECALLED,
    landmarks: Float32[Array, "n m"] | None = None,
) -> Float32[Array, "n h w 3"]:
    """Redraws faces as person `to`, keeping pose and expression; pure.

    Args:
        model: the network's functions.
        params: its parameters, and what a swap reads beside them.
        faces: to redraw.
        to: as whom.
        source: who they show; None is the other person. Given `to`, its faces are
            reconstructed.
        recall: how far codes are drawn to those of real faces of `to`, 0 to 1: more is
            more of the person and less of the expression. See `code_bank`; it makes no
            difference without a bank.
        landmarks: of the faces, for that, as `face_shapes.flatten_landmarks` gives
            them; None reads them from the codes, which is less sure.
    """
    source = source or other_side(to)
    if source == to or not model.align_codes:
        code = model.encode(params.network, faces)
    else:
        code = encode_swap(
            model,
            params,
            faces,
            source=source,
            to=to,
            recall=recall,
            landmarks=landmarks,
        )
    return model.decode(params.network, code, to)


def encode_swap(
    model: Autoencoder,
    params: SwapParams,
    faces: Float32[Array, "n h w 3"],
    *,
    source: Side,
    to: Side,
    recall: float | Array = RECALLED,
    landmarks: Float32[Array, "n m"] | None = None,
) -> Float[Array, "n ch cw c"]:
    """Faces of `source` to the codes that the decoder of `to` draws a swap from.

    They are moved to where those of `to` lie, and where there is a bank, drawn to codes
    of its real faces. For networks that align codes; see `swap_faces`.
    """
    vectors = model.compress(params.network, faces)
    moved = move_codes(vectors, params.statistics[source], params.statistics[to])
    if to in params.bank:
        moved = recall_codes(
            vectors,
            moved,
            params.bank[source],
            params.bank[to],
            recall,
            landmarks=landmarks,
        )
    return model.widen(params.network, moved)
