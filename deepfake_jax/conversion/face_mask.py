"""The mask that a conversion's options describe, for one face of one frame.

Two steps, so that a caller may smooth what was drawn over time in between: `draw_mask`
draws the region, `finish_mask` softens its border. Masks lie over the crop that the
network redraws, float32 in [0, 1].
"""

from dataclasses import dataclass
from typing import Literal

from deepfake_jax.convert_config import MaskName
from deepfake_jax.imaging.landmark_masks import (
    extended_mask,
    eyes_mask,
    eyes_mouth_mask,
    hull_mask,
    mean_landmarks,
)
from deepfake_jax.imaging.mask import (
    classic_mask,
    combine_masks,
    erode_mask,
    feather_mask,
)
from deepfake_jax.imaging.mask_shapes import oval_mask, rectangle_mask
from deepfake_jax.imaging.skin_mask import MIN_SKIN, SkinSpace, skin_mask
from deepfake_jax.types import Face, Landmarks, Mask

CLASSIC_SIZE = 160  # pixels; the classic's border is 15 of these, whatever the face
_BY_LANDMARKS = {
    "hull": hull_mask,
    "extended": extended_mask,
    "eyes-mouth": eyes_mouth_mask,
    "eyes": eyes_mask,
}


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """Which mask to draw, and how soft.

    Attributes:
        names: one or more regions.
        combine: how several become one, see `combine_masks`.
        skin_space: the rule of "skin", see `find_skin`.
        erode: how far the border moves inwards, as a share of the side; negative is
            outwards.
        feather: width of the soft border as a share of the side.
    """

    names: tuple[MaskName, ...] = ("oval",)
    combine: Literal["product", "union", "minimum"] = "product"
    skin_space: SkinSpace = "ycrcb"
    erode: float = 0.0
    feather: float = 0.15

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names must hold at least one mask")
        if "classic" in self.names and len(self.names) > 1:
            raise ValueError(
                "the classic mask brings its own soft border and cannot be combined, "
                f"got {self.names}; use rectangle instead"
            )
        if not -0.5 < self.erode < 0.5:
            raise ValueError(f"erode must be in (-0.5, 0.5), got {self.erode}")
        if not 0 <= self.feather < 0.5:
            raise ValueError(f"feather must be in [0, 0.5), got {self.feather}")


@dataclass(frozen=True, eq=False)
class BuiltMask:
    """A mask, and what could not be drawn as asked.

    Attributes:
        mask: the mask.
        fell_back: a short text for each fallback, always in the same words, so that a
            caller can say each once.
    """

    mask: Mask
    fell_back: tuple[str, ...] = ()


def build_mask(
    options: MaskOptions,
    *,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
) -> BuiltMask:
    """Draws and softens a mask; arguments as in `draw_mask`."""
    drawn = draw_mask(options, face=face, landmarks=landmarks, mask_size=mask_size)
    return BuiltMask(finish_mask(drawn.mask, options), drawn.fell_back)


def draw_mask(
    options: MaskOptions,
    *,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
) -> BuiltMask:
    """Draws the regions, joins them and moves the border; it is about a pixel wide.

    Args:
        options: which.
        face: the frame's own face, uint8 RGB, `mask_size` pixels; only skin needs it.
        landmarks: 68 points in pixels of the mask; None takes the mean face for the
            masks that need them.
        mask_size: side of the mask; the classic mask has `CLASSIC_SIZE` instead.

    Raises:
        ValueError: skin without a face, or one of another size; landmarks not 68.
    """
    if options.names == ("classic",):
        return BuiltMask(classic_mask(CLASSIC_SIZE, CLASSIC_SIZE))
    masks, fell_back = [], []
    for name in options.names:
        if name == "skin":
            built = _draw_skin(options, face, landmarks, mask_size)
        else:
            built = _draw_shape(name, landmarks, mask_size)
        masks.append(built.mask)
        fell_back += built.fell_back
    mask = combine_masks(masks, options.combine)
    return BuiltMask(erode_mask(mask, options.erode), tuple(dict.fromkeys(fell_back)))


def finish_mask(mask: Mask, options: MaskOptions) -> Mask:
    """Softens the border of a mask that was drawn; the classic one is soft already."""
    if options.names == ("classic",):
        return mask
    return feather_mask(mask, options.feather)


def _draw_shape(
    name: MaskName, landmarks: Landmarks | None, mask_size: int
) -> BuiltMask:
    if name == "oval":
        return BuiltMask(oval_mask(mask_size))
    if name == "rectangle":
        return BuiltMask(rectangle_mask(mask_size))
    draw = _BY_LANDMARKS[name]
    if landmarks is None:
        text = f"{name} mask: no landmarks, so it has the shape of the mean face"
        return BuiltMask(draw(mean_landmarks(mask_size), mask_size), (text,))
    return BuiltMask(draw(landmarks, mask_size))


def _draw_skin(
    options: MaskOptions,
    face: Face | None,
    landmarks: Landmarks | None,
    mask_size: int,
) -> BuiltMask:
    if face is None or len(face) != mask_size:
        came = "None" if face is None else f"{len(face)} pixels"
        raise ValueError(
            f"face must be the frame's own face at {mask_size} pixels for a skin mask, "
            f"got {came}"
        )
    skin = skin_mask(face, space=options.skin_space)
    if skin.share >= MIN_SKIN:
        return BuiltMask(skin.mask)
    if landmarks is None:
        text = "skin mask: too little skin found, the rectangle is used instead"
        return BuiltMask(rectangle_mask(mask_size), (text,))
    text = "skin mask: too little skin found, the hull is used instead"
    return BuiltMask(hull_mask(landmarks, mask_size), (text,))
