"""One frame swapped by itself, at once: for looking at a frame and its settings.

The networks stay loaded, and what was found in the last frames is remembered, so that
another mask, color or blend costs a few milliseconds. A whole conversion steadies what
it finds over neighbouring frames, which this does not: it comes near, not to the bit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.faces.detection import make_sized_detector
from deepfake_jax.faces.face_finder import LINK_SCORE, FaceFinder
from deepfake_jax.faces.identity import Embedding, make_crop_embedder, match_persons
from deepfake_jax.faces.landmark_fitting import make_fitting
from deepfake_jax.faces.square_pixels import square_frame, to_frame_pixels
from deepfake_jax.faces.steady_tracks import TrackedFace, steady_stream
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.media.frame_seek import seek_frame
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import holds_picture
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.pipeline import Stopwatch
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.types import Frame

_KEPT = 8  # frames whose faces are remembered


@dataclass(frozen=True, eq=False)
class LookedFrame:
    """A frame, its faces and who each of them is.

    Attributes:
        timed: the frame.
        faces: those found in it.
        people: an embedding of each face's person, by the face's track.
    """

    timed: TimedFrame
    faces: list[TrackedFace]
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
        self._finders: dict[tuple[str, float], FaceFinder] = {}
        self._looked: dict[tuple[Path, float, str, float], LookedFrame] = {}
        self._run: tuple[tuple[Path, str, int], TrainedRun] | None = None
        self._swapper: tuple[object, FrameSwapper] | None = None

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
        chosen = choose_faces(looked, config.person, swapper.identity)
        before = looked.timed.frame
        if not chosen:
            return FramePair(before, before, 0, len(looked.faces), looked.timed.time)
        timed = picture_frame(before)
        placed = [_place(face) for face in chosen]
        (swapped,) = swapper.swap([(timed, placed)])
        after = compose_frame(swapped, config)
        assert isinstance(after, np.ndarray)
        found = len(looked.faces)
        return FramePair(before, after, len(chosen), found, looked.timed.time)

    def look(self, source: Path, config: ConvertConfig, *, time: float) -> LookedFrame:
        """A frame with its faces, found now or remembered."""
        key = (source, round(time, 3), config.landmarks, config.min_score)
        if key not in self._looked:
            timed = read_one(source, time)
            while len(self._looked) >= _KEPT:
                del self._looked[next(iter(self._looked))]
            self._looked[key] = self._find(timed, config)
        return self._looked[key]

    def _find(self, timed: TimedFrame, config: ConvertConfig) -> LookedFrame:
        kind = config.landmarks, config.min_score
        if kind not in self._finders:
            self._finders[kind] = FaceFinder(
                make_sized_detector(min_score=min(LINK_SCORE, config.min_score)),
                make_fitting(config.landmarks, film=False, watch=Stopwatch()),
                make_crop_embedder(),
                min_score=config.min_score,
            )
        finder = self._finders[kind]
        finder.start_source()
        found = finder.find(square_frame(timed))
        people = {view.track: view.vector for view in finder.flush()}
        ((_, _, faces),) = steady_stream([(timed, found)], radius=0)
        return LookedFrame(timed, to_frame_pixels(timed, faces), people)

    def _make_swapper(self, run: Path, config: ConvertConfig) -> FrameSwapper:
        """The swapper of a run; made anew where the network's part changes alone."""
        state = find_newest(run)
        key = (run, config.checkpoint, state)
        if self._run is None or self._run[0] != key:
            self._run = key, load_run(run, checkpoint=config.checkpoint)
        drawn = (key, config.to)
        if self._swapper is None or self._swapper[0] != drawn:
            self._swapper = drawn, make_frame_swapper(self._run[1], config)
        return self._swapper[1].with_config(config)


def read_one(source: Path, time: float) -> TimedFrame:
    """A frame of a video at a time, seconds, or a picture.

    Raises:
        SourceError, VideoError, PictureError: it cannot be read.
    """
    if holds_picture(source):
        return picture_frame(read_picture(source))
    return seek_frame(source, time)


def choose_faces(
    looked: LookedFrame, person: str, identity: Embedding | None
) -> list[TrackedFace]:
    """The faces of a frame that a config's ``person`` means, the largest last.

    Who a number means is known of a whole film only: here it is the largest face.
    """
    faces = sorted(looked.faces, key=lambda face: face.width)
    if person == "all" or not faces:
        return faces
    if person == "auto" and identity is not None:
        wanted: Float32[np.ndarray, "1 128"] = identity[None]
        tracks = match_persons(looked.people, wanted)
        return [face for face in faces if face.track in tracks][-1:]
    return faces[-1:]


def find_newest(run: Path) -> int:
    """What changes when a run has a new checkpoint, or a new best one."""
    times = [path.stat().st_mtime_ns for path in run.glob("checkpoints/*")]
    times += [path.stat().st_mtime_ns for path in run.glob("best/*")]
    return max(times, default=0)


def _place(face: TrackedFace) -> PlacedFace:
    matrix = face.frame_to_face
    known = len(face.landmarks) == 68
    landmarks = apply_affine(matrix, face.landmarks) if known else None
    return PlacedFace(face.track, matrix, landmarks)
