"""Options of extraction and conversion: frozen, validated dataclasses.

The field comments are the help texts of the command line. They stand apart from the
code that uses them, so that ``--help`` needs neither JAX nor OpenCV.
"""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

MaskName = Literal[
    "oval", "rectangle", "hull", "extended", "eyes-mouth", "eyes", "skin", "classic"
]
ColorMethod = Literal["none", "avg", "border", "reinhard", "linear", "histogram"]
BlendMethod = Literal["alpha", "poisson", "poisson-mixed", "multiband"]


def split_masks(mask: str) -> tuple[MaskName, ...]:
    """The names of masks joined by +.

    Raises:
        ValueError: no such mask, or classic together with others.
    """
    names, known = tuple(mask.split("+")), get_args(MaskName)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"no mask {unknown[0]!r}; there are {', '.join(known)}; join several by +"
        )
    if "classic" in names and len(names) > 1:
        raise ValueError("the mask classic is complete in itself; give it alone")
    return names  # type: ignore[return-value]


def _check_masks(mask: str) -> str:
    split_masks(mask)
    return mask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ConvertConfig:
    """How a face is found, blended and written."""

    to: Literal["a", "b"] = "b"
    """Whose face shall appear."""
    checkpoint: Literal["last", "best"] = "last"
    """Of the run: the last, or the best by its held-out faces."""
    person: str = "auto"
    """Whom to swap: auto (the person that the run's faces show), the number of a person
    as `extract` counts them, largest (the largest face of each frame), all, or the path
    of a picture of the person."""
    faces: str = ""
    """Reuse an extraction of this video: the folder of its face set."""
    landmarks: Literal["mesh", "dlib", "none"] = "mesh"
    """Landmarks that the faces are aligned by; as for extract."""
    mask: Annotated[str, AfterValidator(_check_masks)] = "extended"
    """Part of the face that is replaced: oval, rectangle, hull (of the landmarks),
    extended (hull raised over brows and forehead), eyes-mouth, eyes, skin (by its
    color), several joined by +, as hull+skin, or classic (`smooth_mask` of 2018)."""
    combine: Literal["product", "union", "minimum"] = "product"
    """How several masks become one."""
    skin_space: Literal["rgb", "hsv", "ycrcb"] = "ycrcb"
    """Color space of the mask skin."""
    erode: Annotated[float, Field(gt=-0.5, lt=0.5)] = 0.06
    """Make the mask smaller by this share of the face's side; negative: larger."""
    feather: Annotated[float, Field(ge=0, lt=0.5)] = 0.18
    """Width of the mask's soft border, as a share of the face."""
    guard: bool = False
    """Keep the original where the swap disagrees wildly with it, as where a hand or
    microphone is before the mouth."""
    color: ColorMethod = "border"
    """Match the colors of the face that is replaced: none, avg (mean), border (along
    the mask's border, evenly carried inwards), reinhard (mean and spread in LAB),
    linear (mean and covariance) or histogram."""
    blend: BlendMethod = "alpha"
    """Mix by the mask; clone seamlessly (Poisson; mixed keeps the stronger of both
    gradients); or mix coarse detail widely and fine detail narrowly (multiband)."""
    recall: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Draw swaps near to real faces of the person that the network learned from, those
    likest in pose, expression and looks: more is more of the person, less of the
    expression; 0 draws what the network makes of the source alone."""
    exemplars: bool = True
    """Lend swaps the fine detail of real faces of the person that look much alike."""
    detail: Annotated[float, Field(ge=1, le=4)] = 1.5
    """Raise the swapped face's fine detail to as much as the person's real faces have,
    at most by this factor; 1 leaves it as the network draws it."""
    sharpen: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Sharpen the swapped face by this amount; 0.5 is mild."""
    steady: bool = True
    """Steady places, masks and colors over neighbouring frames of a video and fill
    short gaps."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least confidence of the detector."""
    start: str = ""
    """Begin here in a video: seconds, or h:mm:ss."""
    end: str = ""
    """End here in a video."""
    side_by_side: bool = False
    """Write the source and the result next to each other."""
    save_faces: str = ""
    """Also save each swapped face, its mask and its matrix into this folder, for
    compositing elsewhere."""
    encoder: str = "h264"
    """Video encoder: h264, h265, av1, vp9, or one of FFmpeg's by name, such as
    h264_nvenc."""
    crf: Annotated[int, Field(ge=0, le=63)] = 18
    """Video quality: lower is better and larger."""
    overwrite: bool = False
    """Replace an output that exists."""


def classic_options() -> ConvertConfig:
    """The post-processing of 2018: `smooth_mask`, `adjust_avg_color`, frame by frame.

    The mask is a box inset by a fifteenth, blurred 15 px wide with sigma 10 at 160 px;
    the mean color of the whole square is shifted. Faces lie where the detector finds
    them in each frame by itself, without the mesh and without steadying; by its five
    points instead of its box, because runs are trained on aligned faces.
    """
    return ConvertConfig(
        mask="classic",
        color="avg",
        blend="alpha",
        steady=False,
        landmarks="none",
        recall=0.0,
        exemplars=False,
        detail=1.0,
    )
