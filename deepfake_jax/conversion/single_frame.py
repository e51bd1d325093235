"""One frame swapped by itself, at once: for looking at a frame and its settings.

The networks stay loaded, and what was found in the last frames is remembered, as is
what the network drew of them, so that another mask, color or blend costs little.
Places, masks and colors are steadied over the neighbouring frames as in a conversion.
That has followed the faces from the film's start, so that this comes near, not to the
bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import PlacedFace, read_wanted
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.faces.face_finder import FaceFinder, make_finder
from deepfake_jax.faces.identity import Embedding, match_persons
from deepfake_jax.faces.square_pixels import square_frame, to_frame_pixels
from deepfake_jax.faces.steady_tracks import RADIUS, TrackedFace, steady_stream
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.media.frame_seek import seek_around, seek_frame
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import holds_picture
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.types import Crops, Frame

_KEPT = 3  # frames that are remembered, with those around them


@dataclass(frozen=True, eq=False)
class LookedFrame:
    """A frame with those around it, their faces, and who each of them is.

    Attributes:
        near: frames in order, each with the faces found in it.
        at: which of them it is.
        people: an embedding of each track's person.
    """

    near: list[tuple[TimedFrame, list[TrackedFace]]]
    at: int
    people: dict[int, Embedding]


@dataclass(frozen=True, eq=False)
class FramePair:
    """A frame before and after.

    Attributes:
        before: as it is.
        after: swapped.
        swapped: how many faces.
        found: how many faces there are.
        time: of the frame, seconds.
    """

    before: Frame
    after: Frame
    swapped: int
    found: int
    time: float


class SingleFrames:
    """Swaps single frames of footage; networks are loaded when first needed."""

    def __init__(self) -> None:
        self._finders: dict[tuple[str, float, bool], FaceFinder] = {}
        self._looked: dict[tuple[Path, float, str, float], LookedFrame] = {}
        self._run: tuple[tuple[Path, str, int], TrainedRun] | None = None
        self._swapper: tuple[object, FrameSwapper] | None = None
        self._wanted: dict[str, Float32[np.ndarray, "_ 128"]] = {}

    def swap(
        self, source: Path, run: Path, config: ConvertConfig, *, time: float
    ) -> FramePair:
        """A frame with the faces that a config asks for swapped.

        Args:
            source: a video or a picture.
            run: folder of a training run.
            config: how to swap.
            time: of the frame, seconds.

        Raises:
            RunError, VideoError, PictureError: something cannot be read.
        """
        looked = self.look(source, config, time=time)
        swapper = self._make_swapper(run, config)
        if config.person not in self._wanted:
            self._wanted[config.person] = read_wanted(config)
        wanted = self._wanted[config.person]
        tracks = choose_tracks(looked, config.person, swapper.identity, wanted)
        found = [
            (timed, [_place(face) for face in _pick(faces, tracks, config.person)])
            for timed, faces in looked.near
        ]
        timed, faces = looked.near[looked.at]
        before, count = timed.frame, len(found[looked.at][1])
        if not count:
            return FramePair(before, before, 0, len(faces), timed.time)
        radius = RADIUS if config.steady else 0
        steadied = list(steady_looks(swapper.swap(found), radius=radius))
        # In RGB, so that what comes of it is RGB, too.
        plain = replace(steadied[looked.at], timed=picture_frame(before))
        after = compose_frame(plain, config)
        assert isinstance(after, np.ndarray)
        return FramePair(before, after, count, len(faces), timed.time)

    def look(self, source: Path, config: ConvertConfig, *, time: float) -> LookedFrame:
        """A frame with its faces, found now or remembered."""
        key = (source, round(time, 3), config.landmarks, config.min_score)
        if key not in self._looked:
            near, at = read_near(source, time)
            while len(self._looked) >= _KEPT:
                del self._looked[next(iter(self._looked))]
            self._looked[key] = self._find(near, at, config)
        return self._looked[key]

    def _find(
        self, near: list[TimedFrame], at: int, config: ConvertConfig
    ) -> LookedFrame:
        film = len(near) > 1
        kind = config.landmarks, config.min_score, film
        if kind not in self._finders:
            self._finders[kind] = make_finder(config, film=film)
        finder = self._finders[kind]
        finder.start_source()
        found = [(timed, finder.find(square_frame(timed))) for timed in near]
        people = {view.track: view.vector for view in finder.flush()}
        steadied = [
            (timed, to_frame_pixels(timed, faces))
            for timed, _, faces in steady_stream(found, radius=RADIUS if film else 0)
        ]
        return LookedFrame(steadied, at, people)

    def _make_swapper(self, run: Path, config: ConvertConfig) -> FrameSwapper:
        """The swapper of a run; made anew where the network's part changes alone."""
        state = find_newest(run)
        key = (run, config.checkpoint, state)
        if self._run is None or self._run[0] != key:
            self._run = key, load_run(run, checkpoint=config.checkpoint)
        drawn = (key, config.to)
        if self._swapper is None or self._swapper[0] != drawn:
            made = make_frame_swapper(self._run[1], config)
            self._swapper = drawn, made.with_network(_remember)
        return self._swapper[1].with_config(config)


def read_one(source: Path, time: float) -> TimedFrame:
    """A frame of a video at a time, seconds, or a picture.

    Raises:
        SourceError, VideoError, PictureError: it cannot be read.
    """
    if holds_picture(source):
        return picture_frame(read_picture(source))
    return seek_frame(source, time)


def read_near(source: Path, time: float) -> tuple[list[TimedFrame], int]:
    """As `read_one`, with the frames around it, and which of them it is."""
    if holds_picture(source):
        return [read_one(source, time)], 0
    return seek_around(source, time, radius=RADIUS)


def choose_tracks(
    looked: LookedFrame,
    person: str,
    identity: Embedding | None,
    wanted: Float32[np.ndarray, "_ 128"],
) -> set[int]:
    """The tracks that a config's ``person`` may mean.

    Who a number means is known of a whole film only: here it may be anybody.

    Args:
        looked: the frame.
        person: the config's.
        identity: whom the run's faces show.
        wanted: of the picture that `person` names; empty where it names none.
    """
    if person == "auto" and identity is not None:
        wanted = identity[None]
    if len(wanted):
        return set(match_persons(looked.people, wanted))
    return {face.track for _, faces in looked.near for face in faces}


def _pick(faces: list[TrackedFace], tracks: set[int], person: str) -> list[TrackedFace]:
    """Of a frame's faces those to swap, the largest last."""
    chosen = [face for face in faces if face.track in tracks]
    chosen.sort(key=lambda face: face.width)
    return chosen if person == "all" else chosen[-1:]


def find_newest(run: Path) -> int:
    """What changes when a run has a new checkpoint, or a new best one."""
    times = [path.stat().st_mtime_ns for path in run.glob("checkpoints/*")]
    times += [path.stat().st_mtime_ns for path in run.glob("best/*")]
    return max(times, default=0)


def _remember(network: Callable[[Crops], Any]) -> Callable[[Crops], Any]:
    """A network that does not draw the same crops twice in a row."""
    last: list[tuple[Crops, Any]] = []

    def draw(crops: Crops) -> Any:
        if not (last and np.array_equal(last[0][0], crops)):
            last[:] = [(crops, network(crops))]
        return last[0][1]

    return draw


def _place(face: TrackedFace) -> PlacedFace:
    matrix = face.frame_to_face
    known = len(face.landmarks) == 68
    landmarks = apply_affine(matrix, face.landmarks) if known else None
    return PlacedFace(face.track, matrix, landmarks)
