"""Networks for GPUs that draw 256 and 512 px: `mid256`, `hd256` and `hd512`.

One plan in three sizes. The encoder is DeepFaceLab's: five strided convolutions, a
residual block after the first and the last, the answer scaled to a root mean square of
one. It sees 128 px (`mid256`) or 256 px; larger crops it averages to that. The first
two levels after the bottleneck are shared by both people; a person's head is two or
three levels and draws blocks of 2 x 2 pixels, colour and mask. Crops are float32 in
[0, 1], NHWC.

    name    width  sees  levels  draws  parameters (two people)  multiplications a face
    mid256     48   128       3    256                   36.6 M                   6.1 G
    hd256      64   256       2    256                   75.6 M                  33.2 G
    hd512      64   256       3    512                   76.3 M                  43.2 G

`hd512` is `hd256` with one more level to its heads; see `grow_decoder`.

Reference:
    Naruniec et al. 2020, "High-resolution neural face swapping for visual effects", of
    levels that people share and of growing level by level.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from deepfake_jax.models.conv import Conv, Dense
from deepfake_jax.models.original import LEAK, Upscale
from deepfake_jax.models.subpixels import (
    DRAWN,
    RESIDUAL_LEAK,
    Head,
    Residual,
    shrink,
    split_drawn,
)

_CODE = 256  # numbers of the bottleneck
_FACTORS = (1, 2, 4, 8, 8)  # of the width, for the encoder's convolutions
_SHARED = 2  # levels after the bottleneck that both people share
_LEAST = 1e-6  # mean square


class Plan(NamedTuple):
    """What tells one of the networks from the others, beside the width.

    Attributes:
        sees: side of the crops that the encoder works on, pixels.
        levels: of a person's head.
    """

    sees: int
    levels: int

    @property
    def crop_size(self) -> int:
        """Side of the crops that it draws, pixels."""
        return self.sees // 4 * 2**self.levels


PLANS: Mapping[str, Plan] = MappingProxyType(
    {"mid256": Plan(128, 3), "hd256": Plan(256, 2), "hd512": Plan(256, 3)}
)
# Networks whose heads `grow_decoder` makes of another's.
GROWN_FROM: Mapping[str, str] = MappingProxyType({"hd512": "hd256"})


class Encoder(nn.Module):
    """Crops of `sees` px or a multiple to a code of `sees` / 8 places a side."""

    width: int
    sees: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Names the layers."""
        dtype, most = self.dtype, 8 * self.width
        self.convs = [
            Conv(factor * self.width, (5, 5), stride=2, leak=LEAK, dtype=dtype)
            for factor in _FACTORS
        ]
        self.residuals = [Residual(dtype=dtype) for _ in range(2)]
        self.bottleneck = Dense(_CODE, dtype=dtype)
        self.expand = Dense(self._places**2 * most, dtype=dtype)
        self.upscales = [Upscale(most, dtype=dtype) for _ in range(_SHARED)]
        self.shared = [Residual(dtype=dtype) for _ in range(_SHARED)]

    @property
    def _places(self) -> int:
        return self.sees // 2 ** len(_FACTORS)

    def compress(self, crops: Float32[Array, "n h w 3"]) -> Float[Array, "n d"]:
        """Crops to the vectors of the bottleneck, 256 numbers each."""
        x = shrink(crops, self.sees)
        for index, layer in enumerate(self.convs):
            x = layer(x)
            if index == 0:
                x = self.residuals[0](x)
        x = self.residuals[1](x)
        x = x.reshape(len(x), -1).astype(jnp.float32)
        x = x / jnp.sqrt(jnp.mean(jnp.square(x), axis=1, keepdims=True) + _LEAST)
        return self.bottleneck(x)

    def widen(self, vectors: Float[Array, "n d"]) -> Float[Array, "n p p c"]:
        """The bottleneck's vectors to the code that both people's heads read."""
        x = self.expand(vectors)
        x = x.reshape(len(x), self._places, self._places, -1)
        for upscale, residual in zip(self.upscales, self.shared, strict=True):
            x = residual(upscale(x))
        return x

    def __call__(self, crops: Float32[Array, "n h w 3"]) -> Float[Array, "n p p c"]:
        """Crops to their codes."""
        return self.widen(self.compress(crops))


class Decoder(nn.Module):
    """A person's head: a code to crops of its places' side times 2^(levels + 1).

    The levels have four, two and one times `width` channels.
    """

    width: int
    levels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, code: Float[Array, "n p p c"]
    ) -> tuple[Float32[Array, "n h w 3"], Float32[Array, "n h w"]]:
        x = code
        for level in range(self.levels):
            features = 4 * self.width // 2**level
            x = Upscale(features, dtype=self.dtype, name=f"upscale{level}")(x)
            x = Residual(dtype=self.dtype, name=f"residual{level}")(x)
        head = Head(block=2, dtype=self.dtype, name="output")
        return split_drawn(head(x))


def grow_decoder(small: Any, fresh: Any) -> Any:
    """A head's parameters with one more level that at first draws each pixel doubled.

    One that has as many levels as the larger one stays as it is.

    The new level passes the numbers that the smaller head draws, with both signs: the
    difference of two leaky ReLUs of opposite numbers is the number, scaled. The other
    channels of the level stay as drawn; the head does not read them yet.

    Args:
        small: of the head that has learned, one level fewer.
        fresh: drawn for the larger one.
    """
    if small.keys() == fresh.keys():
        return small
    level = sum(name.startswith("upscale") for name in small)
    old, (upscale, residual) = small["output"], (f"upscale{level}", f"residual{level}")
    wide = fresh[upscale]["conv"]
    features = wide["bias"].shape[0] // 4
    conv = {
        name: _with_both_signs(old[name], wide[name], features)
        for name in ("kernel", "bias")
    }
    second = {name: jnp.zeros_like(x) for name, x in fresh[residual]["conv1"].items()}
    # Down from -y: 0.1 y after the first leaky ReLU, then again by the residual's.
    passed = 1 + LEAK * RESIDUAL_LEAK
    identity = jnp.eye(DRAWN, dtype=jnp.float32)
    pairs = jnp.stack([identity, -identity], axis=1).reshape(2 * DRAWN, DRAWN) / passed
    kernel = jnp.zeros_like(fresh["output"]["kernel"])
    kernel = kernel.at[1, 1, : 2 * DRAWN].set(jnp.tile(pairs, (1, 4)))
    return {
        **small,
        upscale: {"conv": conv},
        residual: {**fresh[residual], "conv1": second},
        "output": {"kernel": kernel, "bias": jnp.zeros_like(fresh["output"]["bias"])},
    }


def _with_both_signs(old: Array, wide: Array, features: int) -> Array:
    """A level's weights whose first channels for each pixel are `old`'s."""
    before = old.shape[:-1]
    own = old.reshape(*before, 4, DRAWN)
    both = jnp.stack([own, -own], axis=-1).reshape(*before, 4, 2 * DRAWN)
    wide = wide.reshape(*before, 4, features)
    return wide.at[..., : 2 * DRAWN].set(both).reshape(*before, 4 * features)
