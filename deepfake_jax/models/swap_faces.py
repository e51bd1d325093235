"""Faces to the other person's faces: the encoder, then the other decoder.

Faces are float32 in [0, 1], NHWC, aligned and cropped as the training targets were.
"""

from jaxtyping import Array, Float32

from deepfake_jax.models.autoencoder import Autoencoder, Params
from deepfake_jax.models.code_bank import RECALLED
from deepfake_jax.types import Side, other_side


def swap_faces(
    model: Autoencoder,
    params: Params,
    faces: Float32[Array, "n h w 3"],
    *,
    to: Side = "b",
    source: Side | None = None,
    recall: float | Array = RECALLED,
    landmarks: Float32[Array, "n m"] | None = None,
) -> Float32[Array, "n h w 3"]:
    """Redraws faces as person `to`, keeping pose and expression; pure.

    Args:
        model: the network.
        params: its parameters.
        faces: to redraw.
        to: as whom.
        source: who they show; None is the other person. Given `to`, its faces are
            reconstructed.
        recall: how far codes are drawn to those of real faces of `to`, 0 to 1: more is
            more of the person and less of the expression. See `recall`; it makes no
            difference without a bank.
        landmarks: of the faces, for that, as `faceshape.flatten_landmarks` gives them;
            None reads them from the codes, which is less sure.
    """
    code = model.encode(
        params,
        faces,
        source=source or other_side(to),
        to=to,
        recall=recall,
        landmarks=landmarks,
    )
    return model.decode(params, code, to)
