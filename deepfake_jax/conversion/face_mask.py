"""The mask that a conversion's options describe, for one face of one frame.

Two steps, so that a caller may smooth what was drawn over time in between: `draw_mask`
draws the region, `finish_mask` softens its border. Masks lie over the crop that the
network redraws, float32 in [0, 1]. The table of masks is `convert_config.MASKS`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.convert_config import (
    COMPLETE,
    MASKS,
    Combine,
    ConvertConfig,
    SkinSpace,
    find_choice,
    split_masks,
)
from deepfake_jax.imaging.drawn_border import carry_on
from deepfake_jax.imaging.landmark_masks import features_mask, hull_mask, mean_landmarks
from deepfake_jax.imaging.mask import (
    combine_masks,
    erode_mask,
    feather_mask,
    resize_mask,
)
from deepfake_jax.imaging.mask_shapes import rectangle_mask
from deepfake_jax.imaging.skin_mask import MIN_SKIN, skin_mask
from deepfake_jax.types import DrawnFace, DrawnMask, Face, Landmarks, Mask

# Around covered features: how wide they fade, and how far beyond the mask they reach.
# Leak of eyes, brows and lips, and seam, of the man in the car and of the singer:
# without cover 0.46, 5.2 and 0.67, 5.5; 0.08 and 0: 0.04, 5.5 and 0.07, 6.7; these:
# 0.01, 5.7 and 0.02, 7.0; 0.12 and 0.06: 0.01, 6.8 and 0.02, 6.9.
_FADE, _BEYOND = 0.08, 0.03
# How much smaller masks are where a network does not say what of its answer is the
# face: a face that is narrower than the source's has a rim of its background. With 0
# it is seen by eye, `lite`; pasted transfer 0.38, 0.53 with this, 0.40, 0.56 with 0.
_UNSEEN = 0.03


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """Which mask to draw, and how soft.

    Attributes:
        names: one or more regions.
        combine: how several become one, see `combine_masks`.
        skin_space: the rule of "skin", see `find_skin`.
        erode: how far the border moves inwards, as a share of the side; negative is
            outwards.
        feather: width of the soft border as a share of the side. The classic mask
            brings its own: for it both are 0.
        cover: whether eyes, brows and mouth are covered wholly where the mask shows
            them, whatever erosion and feather would take of them.
        drawn: whether a network's own mask bounds them, see `draw_mask`.
    """

    names: tuple[str, ...] = ("oval",)
    combine: Combine = "product"
    skin_space: SkinSpace = "ycrcb"
    erode: float = 0.0
    feather: float = 0.15
    cover: bool = False
    drawn: bool = False

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names must hold at least one mask")
        split_masks("+".join(self.names))
        if not -0.5 < self.erode < 0.5:
            raise ValueError(f"erode must be in (-0.5, 0.5), got {self.erode}")
        if not 0 <= self.feather < 0.5:
            raise ValueError(f"feather must be in [0, 0.5), got {self.feather}")
        if self.names == (COMPLETE,):
            object.__setattr__(self, "erode", 0.0)
            object.__setattr__(self, "feather", 0.0)
            object.__setattr__(self, "cover", False)
            object.__setattr__(self, "drawn", False)


def mask_options(config: ConvertConfig) -> MaskOptions:
    """The masks that a config asks for."""
    return MaskOptions(
        names=split_masks(config.mask),
        combine=config.combine,
        skin_space=config.skin_space,
        erode=config.erode,
        feather=config.feather,
        cover=config.cover,
        drawn=config.drawn_mask,
    )


@dataclass(frozen=True, eq=False)
class BuiltMask:
    """A mask, and what could not be drawn as asked.

    Attributes:
        mask: the mask.
        cover: what is shown of the features at least; None without `cover`.
        fell_back: a short text for each fallback, always in the same words, so that a
            caller can say each once.
    """

    mask: Mask
    fell_back: tuple[str, ...] = ()
    cover: Mask | None = None


def split_answer(
    answer: Float32[np.ndarray, "size size c"] | Face, options: MaskOptions
) -> tuple[DrawnFace, DrawnMask | None]:
    """A drawn face and, where it is a fourth channel, the network's mask of it.

    With `options.drawn` there is nothing but face: what was drawn beside it is gone.
    """
    if answer.shape[-1] == 3:
        return answer, None
    face, seen = np.ascontiguousarray(answer[..., :3]), answer[..., 3] / np.float32(255)
    return (carry_on(face, seen) if options.drawn else face), seen


def build_mask(
    options: MaskOptions,
    *,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
    seen: DrawnMask | None = None,
) -> BuiltMask:
    """Draws and softens a mask; arguments as in `draw_mask`."""
    drawn = draw_mask(
        options, face=face, landmarks=landmarks, mask_size=mask_size, seen=seen
    )
    mask = finish_mask(drawn.mask, options, cover=drawn.cover)
    return BuiltMask(mask, drawn.fell_back, drawn.cover)


def draw_mask(
    options: MaskOptions,
    *,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
    seen: DrawnMask | None = None,
) -> BuiltMask:
    """Draws the regions, joins them and moves the border; it is about a pixel wide.

    Args:
        options: which.
        face: the frame's own face, uint8 RGB; only skin needs it.
        landmarks: 68, in pixels of the mask; None takes the mean face for the
            masks that need them.
        mask_size: side of the mask.
        seen: where the network takes what it drew for the face, at its own size. With
            `options.drawn` nothing else is shown: where the source's face is wider
            there would be walls and hair of the other person's pictures. None of a
            network that does not say it; what is shown is then a little smaller.

    Raises:
        ValueError: skin without a face; landmarks not 68.
    """
    drawn = [
        _draw_one(name, options, face, landmarks, mask_size) for name in options.names
    ]
    mask = combine_masks([built.mask for built in drawn], options.combine)
    cover = _draw_cover(mask, landmarks) if options.cover else None
    if options.drawn and seen is not None:
        mask = np.minimum(mask, resize_mask(seen, mask_size))
    elif options.drawn:
        mask = erode_mask(mask, _UNSEEN)
    said = dict.fromkeys(text for built in drawn for text in built.fell_back)
    return BuiltMask(erode_mask(mask, options.erode), tuple(said), cover)


def finish_mask(mask: Mask, options: MaskOptions, *, cover: Mask | None = None) -> Mask:
    """Softens the border of a mask that was drawn, but for what is to be covered."""
    soft = feather_mask(mask, options.feather)
    return soft if cover is None else np.maximum(soft, cover)


def _draw_cover(mask: Mask, landmarks: Landmarks | None) -> Mask:
    """The features, fading out around them, where a mask is about to show them.

    Half of the source's eyes, brows and mouth showed through a border of the default
    width: brows of two people, and two mouths where the source's was open.
    """
    size = len(mask)
    if landmarks is None:
        landmarks = mean_landmarks(size)
    features = features_mask(landmarks, size, margin=_FADE * size)
    # The outline of a hull runs through the ends of the brows.
    allowed = feather_mask(erode_mask(mask, -_BEYOND), _FADE)
    return np.minimum(feather_mask(features, _FADE), allowed)


def _draw_one(
    name: str,
    options: MaskOptions,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
) -> BuiltMask:
    choice = find_choice(MASKS, name)
    draw = choice.load()
    if choice.source == "size":
        return BuiltMask(draw(mask_size))
    if choice.source == "face":
        if face is None:
            raise ValueError(f"the mask {name} needs the frame's own face, got None")
        size = (mask_size, mask_size)
        face = cv2.resize(face, size, interpolation=cv2.INTER_LINEAR)
        return draw(face, landmarks, options)
    if landmarks is not None:
        return BuiltMask(draw(landmarks, mask_size))
    text = f"{name} mask: no landmarks, so it has the shape of the mean face"
    return BuiltMask(draw(mean_landmarks(mask_size), mask_size), (text,))


def draw_skin(
    face: Face, landmarks: Landmarks | None, options: MaskOptions
) -> BuiltMask:
    """The mask of a face's skin, or, where too little is found, of what it covers."""
    skin = skin_mask(face, space=options.skin_space)
    if skin.share >= MIN_SKIN:
        return BuiltMask(skin.mask)
    text = "skin mask: too little skin found, the {} is used instead"
    if landmarks is None:
        return BuiltMask(rectangle_mask(len(face)), (text.format("rectangle"),))
    return BuiltMask(hull_mask(landmarks, len(face)), (text.format("hull"),))
