"""What the network makes of a batch: codes, and how far drawn faces are off."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from deepfake_jax.models import losses
from deepfake_jax.models.network import Network, SwapParams
from deepfake_jax.models.picture_loss import PictureLoss, picture_loss
from deepfake_jax.train_config import LossConfig
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.state import TrainState
from deepfake_jax.types import SIDES, Side, other_side


@dataclass(frozen=True)
class Forward:
    """What the network makes of a batch.

    Attributes:
        network: its parameters, by which the sum is differentiated.
        code: of each side's warped faces.
        vectors: the bottleneck's, before they are widened to `code`; empty where codes
            are not aligned.
        drawn: each side's faces as its own decoder draws them.
        error: of these.
        compare: the error of a side's code, as a side draws it, against a target and
            its mask.
    """

    network: Network
    code: dict[Side, Array]
    vectors: dict[Side, Array]
    drawn: dict[Side, Array]
    error: dict[Side, Array]
    compare: Callable[[Array, Array, Array | None, Side], Array]


def run_forward(network: Network, state: TrainState, batch: Batch) -> Forward:
    """Encodes both sides' warped faces, and draws each with its own decoder."""
    model = state.model

    def encode(network: Network, faces: Array) -> tuple[Array, Array | None]:
        if not model.align_codes:
            return model.encode(network, faces), None
        vectors = model.compress(network, faces)
        return model.widen(network, vectors), vectors

    def redraw(
        network: Network, code: Array, target: Array, mask: Array | None, side: Side
    ) -> tuple[Array, Array]:
        output, logits = model.draw(network, code, side)
        error = reconstruction_loss(state.loss, output, target, mask=mask)
        if logits is not None and mask is not None:
            wrong = losses.mask_cross_entropy(logits, mask[..., 0])
            error = error + state.loss.mask_weight * wrong
        return output, error

    if state.remat:
        # Encoder and decoders apart: only one of the three has its activations alive
        # at a time. One checkpoint around all would save nothing at its peak.
        encode = jax.checkpoint(encode)
        redraw = jax.checkpoint(redraw, static_argnums=4)
    # A and B go through the encoder in one go: one large product, not two.
    warped = jnp.concatenate([batch[side].warped for side in SIDES])
    code, vectors = encode(network, warped)
    codes = _split(code)
    drawn: dict[Side, Array] = {}
    error: dict[Side, Array] = {}
    for side, pair in batch.items():
        drawn[side], error[side] = redraw(
            network, codes[side], pair.target, pair.mask, side
        )
    return Forward(
        network=network,
        code=codes,
        vectors={} if vectors is None else _split(vectors),
        drawn=drawn,
        error=error,
        compare=lambda *given: redraw(network, *given)[1],
    )


def _split(both: Array) -> dict[Side, Array]:
    """A's half of an array, and B's."""
    count = len(both) // 2
    return {"a": both[:count], "b": both[count:]}


def draw_swaps(state: TrainState, forward: Forward, *, every: int) -> dict[Side, Array]:
    """Every so many faces of each side as the other person's decoder draws them.

    By the side whose faces are swapped. A loss of swaps teaches what both people share,
    the encoder and its levels after the bottleneck. No gradient reaches the decoders:
    asked for what their person never did, they would draw what is none, such as colored
    pixels around eyes that look far aside. Nor does one reach the moments of codes,
    which are those of the state, and the readout, which has a loss of its own.
    """
    fixed = jax.lax.stop_gradient(forward.network)
    parts: dict[Side, Array] = {side: forward.code[side][::every] for side in SIDES}
    if forward.vectors:
        params = SwapParams(fixed, state.statistics)
        moved = [
            state.model.move(
                params,
                forward.vectors[side][::every],
                source=side,
                to=other_side(side),
            )
            for side in SIDES
        ]
        # In one go, as in `run_forward`: a few faces alone do not pay for the kernels.
        parts = _split(state.model.widen(forward.network, jnp.concatenate(moved)))
    return {
        side: state.model.decode(fixed, parts[side], other_side(side)) for side in SIDES
    }


def reconstruction_loss(
    config: LossConfig, output: Array, target: Array, *, mask: Array | None = None
) -> Array:
    """The loss that a config describes, a scalar.

    Args:
        config: which losses, and what they weigh.
        output: the network's crops.
        target: the true ones.
        mask: of the targets' face, eyes and mouth, see `face_masks`; None weighs all
            pixels alike.
    """
    weights, feature_weights = None, None
    if mask is not None:
        face, eyes, mouth = (mask[..., channel] for channel in range(3))
        weights = config.background + (1 - config.background) * losses.soften(face)
        extra = config.eyes_weight * eyes + config.mouth_weight * mouth
        feature_weights = weights + extra
    loss = PictureLoss(
        squares=config.pixel == "mse",
        dssim=config.dssim_weight,
        scales=config.dssim_scales,
        step=config.dssim_step,
        laplacian=config.laplacian_weight,
    )
    return picture_loss(
        output, target, loss, weights=weights, pixel_weights=feature_weights
    )
