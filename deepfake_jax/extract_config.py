"""The settings of a search for faces, and of an extraction."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class SearchConfig:
    """How faces are looked for: alike in extraction, preview and conversion.

    People are numbered by how many frames this search finds them in, so that a number
    means the same person wherever the footage and these settings are the same.
    """

    landmarks: Literal["mesh", "dlib", "none"] = "mesh"
    """mesh (468 of them), dlib (the classic 68; needs the extra dlib, and its model is
    not for commercial use), or none (the detector's five)."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least confidence of the detector for a face to be followed."""
    steady: bool = True
    """Steady the faces over neighbouring frames of a video and fill gaps of a few
    frames; in conversion also masks and colors."""
    hands: bool = True
    """Look for hands near faces, which conversions keep before them; it takes about an
    eighth of an extraction's time."""
    start: str = ""
    """Begin here in each video: seconds, or h:mm:ss."""
    end: str = ""
    """End here in each video."""
    search: Literal["kept", "again"] = "kept"
    """Of a video that was searched before take what was found then (kept), or look for
    its faces again."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class ExtractConfig(SearchConfig):
    """Which faces go into a set."""

    person: str = "each"
    """Whose faces to keep: each (a folder for every person), main (the person seen
    most often), a number from the contact sheet, all (everybody in one set), or the
    path of a picture of the person."""
    reference: tuple[str, ...] = ()
    """Pictures of the person to keep."""
    not_reference: tuple[str, ...] = ()
    """Pictures of people to leave out."""
    every: Annotated[int, Field(ge=1)] = 1
    """Use every n-th frame only."""
    min_size: Annotated[float, Field(ge=0)] = 20.0
    """Smallest width of a face in its frame, pixels; below 16 none is looked for."""
    min_alignment: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least confidence of the landmarks."""
    min_sharpness: Annotated[float, Field(ge=0)] = 0.1
    """Least sharpness, as the record has it."""
    max_yaw: Annotated[float, Field(gt=0, le=180)] = 75.0
    """Furthest turn to a side, degrees."""
    max_pitch: Annotated[float, Field(gt=0, le=180)] = 60.0
    """Furthest turn up or down, degrees."""
    max_roll: Annotated[float, Field(gt=0, le=180)] = 180.0
    """Furthest tilt, degrees."""
    max_occlusion: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Largest share of the face that may be hidden; a guess by its colours."""
    min_track: Annotated[int, Field(ge=1)] = 3
    """Fewest frames of a video that a face must be seen in."""
    overwrite: bool = False
    """Replace a face set that exists."""
