"""Options of conversion, and the masks, colors and blends that there are.

The field comments are the help texts of the command line. They stand apart from the
code that uses them, so that ``--help`` needs neither JAX nor OpenCV. A new mask, color
or blend is a function or class in its own file and an entry here: config, help, grids
and errors take the names from these tables.
"""

import pkgutil
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from typing_extensions import Doc

from deepfake_jax.extract_config import SearchConfig

Combine = Literal["product", "union", "minimum"]
SkinSpace = Literal["rgb", "hsv", "ycrcb"]
LabelCorner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
LabelTime = Literal["all", "start"]


class Choice(NamedTuple):
    """One way to do something.

    Attributes:
        path: module and name, below the package, of what does it.
        about: a few words for the help.
        source: what a mask is drawn from beside its size.
    """

    path: str
    about: str
    source: Literal["size", "landmarks", "face"] = "size"

    def load(self) -> Any:
        """What does it; imported when it is first used."""
        return pkgutil.resolve_name(f"deepfake_jax.{self.path}")


Table = Mapping[str, Choice]
MASKS: Table = {
    "oval": Choice("imaging.mask_shapes:oval_mask", "of the mean face"),
    "rectangle": Choice("imaging.mask_shapes:rectangle_mask", "nearly all"),
    "hull": Choice(
        "imaging.landmark_masks:hull_mask", "brows to chin", source="landmarks"
    ),
    "extended": Choice(
        "imaging.landmark_masks:extended_mask",
        "hull raised over brows and forehead",
        source="landmarks",
    ),
    "eyes-mouth": Choice(
        "imaging.landmark_masks:eyes_mouth_mask", "nose, too", source="landmarks"
    ),
    "eyes": Choice(
        "imaging.landmark_masks:eyes_mask", "with the brows", source="landmarks"
    ),
    "skin": Choice("conversion.face_mask:draw_skin", "by its color", source="face"),
    "classic": Choice("imaging.mask:classic_mask", "`smooth_mask` of 2018"),
}
# A mask that is complete in itself: it brings its own soft border.
COMPLETE = "classic"
COLORS: Table = {
    "none": Choice("imaging.color:KeptColor", "as drawn"),
    "avg": Choice("imaging.color:MeanColor", "mean"),
    "border": Choice(
        "imaging.border_color:BorderColor",
        "along the mask's border, carried inwards",
    ),
    "reinhard": Choice("imaging.color:LabColor", "mean and spread in LAB"),
    "linear": Choice("imaging.color:LinearColor", "mean and covariance"),
    "histogram": Choice("imaging.histogram_color:HistogramColor", "of each channel"),
}
BLENDS: Table = {
    "alpha": Choice("imaging.blend:alpha_blend", "mixed by the mask"),
    "poisson": Choice("imaging.blend:clone_blend", "cloned seamlessly"),
}
_REMOVED = {
    "multiband": "it was slower than alpha and flickered no less",
    "poisson-mixed": "it was slower than poisson and showed the features of both faces",
}


def find_choice(table: Table, name: str) -> Choice:
    """The choice of that name.

    Raises:
        ValueError: there is none, or it was removed.
    """
    if name not in table:
        why = f" (removed: {_REMOVED[name]})" if name in _REMOVED else ""
        raise ValueError(f"no {name!r}{why}; there are {', '.join(table)}")
    return table[name]


def split_masks(mask: str) -> tuple[str, ...]:
    """The names of masks joined by +.

    Raises:
        ValueError: no such mask, or classic together with others.
    """
    names = tuple(mask.split("+"))
    for name in names:
        find_choice(MASKS, name)
    if COMPLETE in names and len(names) > 1:
        raise ValueError(
            f"the mask {COMPLETE} brings its own soft border; give it alone"
        )
    return names


def _check_masks(mask: str) -> str:
    split_masks(mask)
    return mask


def _check(table: Table, name: str) -> str:
    find_choice(table, name)
    return name


def _list(table: Table) -> str:
    return ", ".join(f"{name} ({choice.about})" for name, choice in table.items())


_MASK = f"Part of the face that is replaced: {_list(MASKS)}; or several, as hull+skin."
_COLOR = f"Match the colors of the face that is replaced: {_list(COLORS)}."
_BLEND = f"Lay the face into the frame: {_list(BLENDS)}."


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ConvertConfig(SearchConfig):
    """How a face is found, blended and written."""

    to: Literal["a", "b"] = "b"
    """Whose face shall appear."""
    checkpoint: Literal["last", "best"] = "last"
    """Of the run: the last, or the best by its held-out faces."""
    backend: Literal["jax", "onnx"] = "jax"
    """What runs the network: jax, or onnx, without JAX, for a run that `export --format
    onnx` made a file of; give that file as --run."""
    person: str = "auto"
    """Whom to swap: auto (the person that the run's faces show), the number of a person
    as `extract` counts them in all of the source, largest (the largest face of each
    frame), all, or the path of a picture of the person."""
    faces: str = ""
    """Reuse an extraction of this video: the folder of its face set."""
    mask: Annotated[str, AfterValidator(_check_masks), Doc(_MASK)] = "extended"
    combine: Combine = "product"
    """How several masks become one."""
    skin_space: SkinSpace = "ycrcb"
    """Color space of the mask skin."""
    erode: Annotated[float, Field(gt=-0.5, lt=0.5)] = 0.0
    """Make the mask smaller by this share of the face's side; negative: larger."""
    feather: Annotated[float, Field(ge=0, lt=0.5)] = 0.10
    """Width of the mask's soft border, as a share of the face."""
    cover: bool = True
    """Cover the eyes, brows and mouth of the source wholly where the mask shows them,
    whatever --erode and --feather would take of them."""
    drawn_mask: bool = True
    """Show nothing that the network does not take for the face, by the mask that it
    draws (lite128, mid256, hd256): no wall of the other person's pictures beside a face
    that is wider than theirs. What --cover covers is shown all the same. Of other
    networks the mask is made 0.03 smaller."""
    guard: bool = True
    """Keep hands, microphones and whatever else is before the face: where the run, when
    it draws the person's own face, does not draw what the frame shows. It does nothing
    where the run does not know the face well. Dark hair that hangs over the forehead
    and the frames of glasses, where the other person wears none, stay, too."""
    color: Annotated[str, AfterValidator(partial(_check, COLORS)), Doc(_COLOR)] = (
        "border"
    )
    blend: Annotated[str, AfterValidator(partial(_check, BLENDS)), Doc(_BLEND)] = (
        "alpha"
    )
    sharpen: Annotated[float, Field(ge=0, le=5)] = 0.75
    """Sharpen the swapped face until it has as much fine detail as the frame's own, by
    this amount at most, and narrow its edges where it is enlarged: networks draw
    softly. 0 is as drawn; 1.5 may look harsh."""
    texture: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Lay the fine texture of the frame's own skin over the swapped face, by this
    amount: pores, fine lines and grain, which no network draws. Eyes, brows and mouth
    are left alone. 0 is as drawn."""
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
    pixel_format: str = ""
    """Pixel format of the video, such as yuv444p; empty for the source's where the
    encoder has it."""
    sound: Literal["copy", "encode", "none"] = "copy"
    """Sound of a video: copy (as it is where the output takes it, else coded anew),
    encode (always coded anew) or none."""
    watermark: Literal["spread", "none"] = "spread"
    """An invisible watermark in swapped frames, which says in copies without metadata
    that they are synthetic; none leaves their pixels alone, and is recorded."""
    label: str = ""
    """A label that people see, in a corner of every frame: your text, auto for
    "AI-generated" in your language, or icon for a sign. None by default."""
    label_corner: LabelCorner = "bottom-right"
    """Where it stands."""
    label_time: LabelTime = "all"
    """Show it all the time, or fade it in and out in the first seconds (start)."""
    certificate: str = ""
    """PEM file of the certificates that credentials are signed with, the signer's own
    first; by default those of your own key, which readers find valid and unknown."""
    key: str = ""
    """PEM file of the key that --certificate is for."""
    timestamp: str = ""
    """Address of a time-stamping authority (RFC 3161): credentials then stay valid
    when the certificate has expired. It is told a hash, and nothing else."""
    overwrite: bool = False
    """Replace an output that exists."""


def classic_options() -> ConvertConfig:
    """The post-processing of 2018: `smooth_mask`, `adjust_avg_color`, frame by frame.

    The mask is a box inset by a fifteenth, blurred 15 px wide with sigma 10 at 160 px;
    the mean color of the whole square is shifted. Faces lie where the detector finds
    them in each frame by itself, without the mesh and without steadying; by its five
    landmarks instead of its box, because runs are trained on aligned faces.
    """
    return ConvertConfig(
        mask="classic",
        color="avg",
        blend="alpha",
        steady=False,
        landmarks="none",
        sharpen=0.0,
        texture=0.0,
        hands=False,
    )
