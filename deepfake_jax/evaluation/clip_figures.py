"""A run's swaps over a clip, in memory: seam and flicker of any post-processing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.conversion.compose import compose_frame, finish_face
from deepfake_jax.conversion.frame_swapper import (
    CHUNK,
    FrameSwapper,
    SwappedFace,
    SwappedFrame,
)
from deepfake_jax.conversion.placement import Placement, place_faces
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.evaluation.flicker import ClipFigures, Flicker, FlickerMeter
from deepfake_jax.evaluation.seam import seam_error
from deepfake_jax.faces.steady_tracks import RADIUS
from deepfake_jax.imaging.affine import (
    apply_affine,
    compose_affine,
    face_corners,
    face_middle,
    invert_affine,
    resize_affine,
    shift_affine,
)
from deepfake_jax.imaging.align import warp_face
from deepfake_jax.imaging.face_template import FACE_SIZE
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.sources import Source, parse_part
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.pipeline import in_chunks
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.types import Affine, Frame, Mask

CropMask = Float32[np.ndarray, "mask_size mask_size"]
_FACE = (FACE_SIZE, FACE_SIZE)


class ClipError(ValueError):
    """A clip that cannot be judged; the text says why."""


class Clip:
    """A clip whose faces were looked for once or twice: steadied, and as found.

    Args:
        source: a video.
        config: whom to swap, and from `start` to `end`.
        swapper: knows whom the run was trained on.
    """

    def __init__(self, source: Path, config: ConvertConfig, swapper: FrameSwapper):
        self.source = source
        self._config, self._identity = config, swapper.identity
        self._placed: dict[tuple[bool, str], Placement] = {}

    def place(self, config: ConvertConfig) -> Placement:
        """Where the faces lie, by a config's landmarks and steadiness."""
        key = config.steady, config.landmarks
        if key not in self._placed:
            sources = [Source(self.source, "video", probe_video(self.source).frames)]
            wanted = replace(
                self._config, steady=config.steady, landmarks=config.landmarks
            )
            self._placed[key] = place_faces(sources, wanted, self._identity)
        return self._placed[key]

    def read(self) -> Iterator[TimedFrame]:
        """The frames of the part that is asked for."""
        start, end = parse_part(self._config.start, self._config.end)
        return read_frames(self.source, start=start, end=end)

    def swap(
        self, swapper: FrameSwapper
    ) -> Iterator[tuple[SwappedFrame, Frame, Frame]]:
        """Frames with a face: what was swapped, the source and the result, RGB."""
        config = swapper.config
        placement = self.place(config)

        def swapped() -> Iterator[SwappedFrame]:
            for chunk in in_chunks(self.read(), CHUNK):
                found = [(timed, placement.find(0, timed.index)) for timed in chunk]
                yield from swapper.swap(found)

        radius = RADIUS if config.steady else 0
        for frame in steady_looks(swapped(), radius=radius):
            source = frame.timed.frame
            plain = replace(frame, timed=picture_frame(source))
            result = compose_frame(plain, config)
            assert isinstance(result, np.ndarray)
            if result is not source:
                yield frame, source, result

    def judge(self, swapper: FrameSwapper) -> ClipFigures:
        """Seam and flicker of the swaps with the swapper's config.

        Whatever that places the paste by, it is judged in the steadied placement by the
        mesh, so that figures of several configs can be compared.

        Raises:
            ClipError: no face in all of the clip.
            VideoError: it cannot be read.
        """
        config, meter = swapper.config, FlickerMeter()
        fixed = self.place(replace(config, steady=True, landmarks="mesh"))
        seams, count = list[float](), 0
        for frame, source, result in self.swap(swapper):
            count += 1
            index = frame.timed.index
            # A track has its own number in each placement; places tell who is who.
            views = [face.frame_to_face for face in fixed.find(0, index)]
            for face in frame.faces:
                mask = finish_face(face, config).mask
                seams += _measure_seam(source, result, face, mask)
                view = _nearest(views, face.placed.frame_to_face)
                if view is None:
                    continue
                before, after = warp_face(source, view), warp_face(result, view)
                to_view = compose_affine(view, invert_affine(_to_mask(face, mask)))
                shown = _lay_mask(mask, to_view, _FACE)
                meter.add(face.placed.track, index, before, after, shown)
        if not seams:
            raise ClipError(
                f"no face in {self.source} to judge the swap by; give a clip that shows"
                " one"
            )
        return _figures(count, seams, meter.measure())


def measure_clip(
    source: str | Path, trained: TrainedRun, config: ConvertConfig | None = None
) -> ClipFigures:
    """Swaps the largest face of each frame of a clip and judges it; writes nothing.

    Raises:
        ClipError: no face in all of the clip.
        VideoError: it cannot be read.
    """
    config = replace(config or ConvertConfig(), person="largest")
    swapper = make_frame_swapper(trained, config)
    return Clip(Path(source), config, swapper).judge(swapper)


def _figures(count: int, seams: list[float], found: Flicker) -> ClipFigures:
    parts: list[float | None] = [found.total, found.color, found.jitter]
    if not found.windows:
        parts = [None, None, None]
    return ClipFigures(count, float(np.mean(seams)), *parts)


def _nearest(views: list[Affine], matrix: Affine) -> Affine | None:
    """The placement whose middle lies nearest in the frame, within half a face."""
    middle = np.full(2, (FACE_SIZE - 1) / 2)
    at = face_middle(matrix, FACE_SIZE)
    away = [float(np.linalg.norm(apply_affine(view, at) - middle)) for view in views]
    if not away or min(away) > FACE_SIZE / 4:
        return None
    return views[int(np.argmin(away))]


def _to_mask(face: SwappedFace, mask: CropMask) -> Affine:
    """From the frame to the pixels of a face's mask."""
    return compose_affine(resize_affine(len(mask) / len(face.old)), face.frame_to_crop)


def _measure_seam(
    source: Frame, result: Frame, face: SwappedFace, mask: CropMask
) -> list[float]:
    """The seam of one pasted face; none if it lies outside of the frame."""
    to_mask = _to_mask(face, mask)
    quad = face_corners(to_mask, len(mask))
    # A quarter more around it, for what lies outside of the mask.
    more = (quad.max(axis=0) - quad.min(axis=0)) / 4
    height, width = source.shape[:2]
    x0, y0 = np.maximum(quad.min(axis=0) - more, 0).astype(int).tolist()
    x1, y1 = np.minimum(quad.max(axis=0) + more, [width, height]).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        return []
    to_box = compose_affine(shift_affine(-x0, -y0), invert_affine(to_mask))
    old, new = (np.ascontiguousarray(f[y0:y1, x0:x1]) for f in (source, result))
    return [seam_error(old, new, _lay_mask(mask, to_box, old.shape[:2]))]


def _lay_mask(mask: CropMask, mask_to_picture: Affine, shape: tuple[int, ...]) -> Mask:
    size = (shape[1], shape[0])
    laid = cv2.warpAffine(mask, mask_to_picture, size, flags=cv2.INTER_LINEAR)
    return np.clip(laid, 0, 1)
