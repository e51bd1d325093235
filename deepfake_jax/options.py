"""Options of extraction and conversion: frozen, validated dataclasses.

The field comments are the help texts of the command line. They stand apart from the
code that uses them, so that ``--help`` needs neither JAX nor OpenCV.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ExtractConfig:
    """Which faces go into a set."""

    person: str = "main"
    """Whose faces to keep: main (the person seen most often), all, or the path of a
    picture of the person."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Least confidence of the detector."""
    min_size: Annotated[float, Field(ge=0)] = 20.0
    """Smallest width of a face in its frame, pixels."""
    every: Annotated[int, Field(ge=1)] = 1
    """Use every n-th frame only."""
    overwrite: bool = False
    """Replace a face set that exists."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ConvertConfig:
    """How a face is found, blended and written."""

    to: Literal["a", "b"] = "b"
    """Whose face shall appear."""
    faces: Literal["person", "largest", "all"] = "person"
    """Swap the person the run was trained on, the largest face, or every face."""
    mask: Literal["oval", "rectangle", "classic"] = "oval"
    """Part of the face that is replaced; classic is `smooth_mask` of 2018."""
    feather: Annotated[float, Field(ge=0, lt=0.5)] = 0.15
    """Width of the mask's soft border, as a share of the face."""
    color: Literal["avg", "none"] = "avg"
    """Match the mean colour of the face that is replaced, or leave it."""
    blend: Literal["alpha", "poisson"] = "alpha"
    """Mix by the mask, or clone seamlessly (Poisson)."""
    steady: bool = True
    """Smooth the landmarks over neighbouring frames of a video."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least confidence of the detector."""
    codec: str = "libx264"
    """Video encoder."""
    crf: Annotated[int, Field(ge=0, le=63)] = 18
    """Video quality: lower is better and larger."""
    overwrite: bool = False
    """Replace an output that exists."""
