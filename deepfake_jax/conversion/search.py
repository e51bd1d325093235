"""What every conversion shares: the search for faces, its errors and its result."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import Placement, make_search, place_faces
from deepfake_jax.conversion.recorded_placement import read_placement
from deepfake_jax.faces.footage_search import FootageSearch
from deepfake_jax.faces.identity import match_persons
from deepfake_jax.faces.people import PersonError
from deepfake_jax.imaging.face_template import COVERAGE
from deepfake_jax.media.sources import Source
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.progress import count
from deepfake_jax.types import other_side

_log = logging.getLogger("deepfake_jax")
_ENLARGED = 1.5  # frame pixels a network pixel from which a swap looks soft


class ConvertError(ValueError):
    """A conversion that cannot be done; the text says why and the usual fix."""


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion gave.

    Attributes:
        frames: frames written.
        swapped_frames: those with a swapped face.
        frames_per_second: of the whole conversion, the search for faces included and
            start-up left out.
        out: the output.
        problems: what could be read in part only.
        stages: each stage's share of all work, in [0, 1].
        face_pixels: median side of the swapped crops in their frames, pixels.
        network_pixels: side of the network's faces, which fill those crops.
    """

    frames: int
    swapped_frames: int
    frames_per_second: float
    out: str
    problems: tuple[str, ...]
    stages: dict[str, float] = field(default_factory=dict)
    face_pixels: float = 0.0
    network_pixels: int = 0


class Conversion:
    """One conversion under way: who swaps, what is swapped, how long each stage takes.

    Searches for the faces when made, in the footage or in the record of an extraction.

    Args:
        sources: a video, or pictures.
        swapper: by which run and config.

    Raises:
        ConvertError: the faces asked for are not there.
    """

    def __init__(self, sources: list[Source], swapper: FrameSwapper):
        self.swapper, self.watch = swapper, Stopwatch()
        search = None
        if not swapper.config.faces:
            search = make_search(swapper.config, swapper.identity)
            search.prepare(sources)
        swapper.warm_up()
        self._search, self._start = search, time.monotonic()
        place = self.watch.wrap("search", _place)
        self.placement = place(sources, swapper, search)
        sides = self.placement.sides() * COVERAGE
        self._face_pixels = round(float(np.median(sides)), 1) if len(sides) else 0.0
        self._warn()

    @property
    def searched(self) -> int | None:
        """Frames that were searched; None of those of a record."""
        return None if self._search is None else self._search.frames

    def finish(
        self, frames: int, swapped: int, out: Path, problems: list[str]
    ) -> ConvertResult:
        """The result, for frames that were written."""
        seconds = time.monotonic() - self._start
        return ConvertResult(
            frames=frames,
            swapped_frames=swapped,
            frames_per_second=round(frames / seconds, 2),
            out=str(out),
            problems=tuple(problems),
            stages=self.watch.shares(),
            face_pixels=self._face_pixels,
            network_pixels=self.swapper.crop_size,
        )

    def explain_no_face(self, source: Path, frames: int | None) -> ConvertError:
        """The error of a source without the face, saying who is there instead.

        Args:
            source: the footage.
            frames: those that were looked through, where that is known.
        """
        swapper, config = self.swapper, self.swapper.config
        who, fix = "", f"Lower --min-score (now {config.min_score})"
        if config.person == "auto":
            who = " of the person the run was trained on"
            people = {} if self._search is None else self._search.sort_people().means
            if swapper.other is not None and match_persons(people, swapper.other[None]):
                wanted, there = other_side(config.to), config.to
                who = f" of the run's {wanted.upper()}"
                fix = f"Its {there.upper()} is there: give --to {wanted} to swap them"
            elif people:
                fix = "Somebody else is there: give --person largest to swap them"
        part = " between --start and --end" if config.start or config.end else ""
        searched = count(frames, "frame") if frames else "the frames"
        return ConvertError(
            f"no face{who} in {searched} of {source}{part}; nothing was written. {fix}"
        )

    def _warn(self) -> None:
        network = self.swapper.crop_size
        if self._face_pixels > _ENLARGED * network:
            _log.warning(
                "the faces are about %.0f pixels wide where the network draws %d: the "
                "swap will be softer than the frame. --sharpen 1.5 hides some of it; "
                "only a run of a larger network gives more detail",
                self._face_pixels,
                network,
            )


def _place(
    sources: list[Source], swapper: FrameSwapper, search: FootageSearch | None
) -> Placement:
    config = swapper.config
    if config.faces and len(sources) > 1:
        raise ConvertError(
            "--faces is for one video or picture; leave it out for a folder of pictures"
        )
    try:
        if not config.faces:
            return place_faces(sources, config, swapper.identity, search=search)
        return read_placement(
            Path(config.faces), sources[0].path, config, swapper.identity
        )
    except PersonError as error:
        raise ConvertError(str(error)) from error
