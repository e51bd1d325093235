"""How restless a pasted face is: changes between frames that the source has not.

Two things are told apart, because only so a blurred swap cannot look calm. *Color*:
what the paste added, averaged over cells of the face, which detail and camera noise do
not move. *Position*: how the pasted picture moves against the source's, estimated from
each one's own gradients, so that it does not depend on how sharp the paste is, and
counted in the grey levels by which that motion would change the *source's* picture.

Of both, only what is not steady change counts: the fourth difference of five frames
over 16, which is the amplitude of something that alternates, half of it for something
that is random in each frame, and 0 for what grows evenly. A face speaks slower: changes
at 3 Hz in 25 frames/s are let through by 2 %, by 14 % in a second difference. Fine
texture that boils in place is not seen.

Even so a swap's figure has a floor: a network that answers to the camera's noise, or
whose mouth does not follow, flickers however well it is pasted.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.evaluation.seam import check_same_size
from deepfake_jax.types import Face, Mask

_SIDE = 128  # pixels at which faces are compared, so that all sizes count alike
_CELLS = 8  # a side: cells average noise and detail away, but tell a cheek from a brow
_BLUR = 1.5  # pixels; makes gradients that reach further than a frame's jitter
_COARSE = 12.0  # pixels; slower changes are color, not detail
_ROUNDS = 3  # of the motion's estimate
# Of five frames, and of the four motions between them: an alternation's amplitude.
_CURVE = np.array([1, -4, 6, -4, 1]) / 16
_MOTION_CURVE = np.array([-1, 3, -3, 1]) / 16


@dataclass(frozen=True)
class ClipFigures:
    """How a swapped clip looks around its faces and over time; lower is better.

    Attributes:
        frames: with a swapped face.
        seam: mean of `seam.seam_error` over the faces, Delta E.
        flicker: `flicker.Flicker.total`, grey levels; None where the face is not seen
            long enough without a break.
        color: the part of it that is color.
        jitter: the part of it that is position.
    """

    frames: int
    seam: float
    flicker: float | None
    color: float | None
    jitter: float | None


@dataclass(frozen=True)
class Flicker:
    """How much a pasted face changes between frames beyond the source's own change.

    Attributes:
        total: root of the sum of squares of both parts; grey levels of 0 to 255, 0 or
            more, lower is better, NaN where no five frames in a row were seen.
        color: alternation of color and light, likewise.
        jitter: alternation of position and size, likewise.
        position: the same as a share of the face picture's side.
        windows: runs of five frames that were judged.
    """

    total: float
    color: float
    jitter: float
    position: float
    windows: int


@dataclass(frozen=True)
class _View:
    """What is kept of a frame until the next four have come."""

    index: int
    added: Float32[np.ndarray, "side side 3"]
    mask: Mask
    source: Float32[np.ndarray, "side side"]
    result: Float32[np.ndarray, "side side"]
    # Of the result against the source since the frame before; None of a first frame.
    motion: Float64[np.ndarray, "4"] | None


class FlickerMeter:
    """Takes in the faces of a clip frame by frame; gives their flicker at the end."""

    def __init__(self) -> None:
        self._last: dict[int, list[_View]] = {}
        self._squares: list[tuple[float, float, float]] = []

    def add(
        self, track: int, index: int, source: Face, result: Face, mask: Mask
    ) -> None:
        """Takes in one face of a frame; frames come in rising order.

        Source and result are cut out of the frame before and after by *one* matrix: the
        steadied placement of the track, or a box that stands still. Settings that are
        compared need the same matrices, so not those by which a paste was placed.

        Args:
            track: whose face; frames are compared inside a track only.
            index: of the frame; a gap begins anew.
            source: the face as it was, any side.
            result: the same with the swap.
            mask: where the paste shows, in the same picture, [0, 1].

        Raises:
            ValueError: the shapes differ.
        """
        check_same_size(source, result, mask)
        ended = [t for t, views in self._last.items() if views[-1].index < index - 1]
        for old in ended:
            del self._last[old]
        views = self._last.setdefault(track, [])
        view = _look(index, source, result, mask, views[-1] if views else None)
        self._last[track] = [*views[1 - len(_CURVE) :], view]
        if len(self._last[track]) == len(_CURVE):
            self._squares.append(_judge(self._last[track]))

    def measure(self) -> Flicker:
        """The flicker of all that was taken in: root mean square over the windows."""
        if not self._squares:
            nan = float("nan")
            return Flicker(nan, nan, nan, nan, 0)
        color, jitter, position = np.sqrt(np.mean(self._squares, axis=0)).tolist()
        total = float(np.hypot(color, jitter))
        return Flicker(total, color, jitter, position, len(self._squares))


def _look(
    index: int, source: Face, result: Face, mask: Mask, last: _View | None
) -> _View:
    size = (_SIDE, _SIDE)
    small = [
        cv2.resize(face, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for face in (source, result)
    ]
    weight = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    details = [_keep_detail(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)) for face in small]
    motion = None
    if last is not None:
        both = np.minimum(weight, last.mask)
        motion = _find_motion(last.result, details[1], both)
        motion -= _find_motion(last.source, details[0], both)
    return _View(index, small[1] - small[0], weight, details[0], details[1], motion)


def _keep_detail(grey: Float32[np.ndarray, "side side"]) -> np.ndarray:
    """A band of detail: neither grain nor the light that falls on the face."""
    fine = cv2.GaussianBlur(grey, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.GaussianBlur(grey, (0, 0), _COARSE, borderType=cv2.BORDER_REPLICATE)
    return fine - coarse


def _judge(views: list[_View]) -> tuple[float, float, float]:
    """Mean squares of color and of jitter, grey levels, and of position, shares."""
    # The union: a border that moves uncovers what the frame before had covered.
    mask = np.max([view.mask for view in views], axis=0)
    curve = np.einsum("t,thwc->hwc", _CURVE, [view.added for view in views])
    color = _mean_square_of_cells(curve, mask)
    motions = [view.motion for view in views[1:] if view.motion is not None]
    shift_x, shift_y = _move_by(_MOTION_CURVE @ np.stack(motions))
    slope_x, slope_y = _find_slopes(views[len(views) // 2].source)
    total = max(float(mask.sum()), 1e-9)
    jitter = float((mask * (slope_x * shift_x + slope_y * shift_y) ** 2).sum()) / total
    position = float((mask * (shift_x**2 + shift_y**2)).sum()) / total / _SIDE**2
    return color, jitter, position


def _mean_square_of_cells(curve: np.ndarray, mask: Mask) -> float:
    """Of the cells' means under a mask; a cell counts as much as the mask shows."""
    cell = _SIDE // _CELLS
    weighted = np.concatenate([curve * mask[..., None], mask[..., None]], axis=2)
    sums = weighted.reshape(_CELLS, cell, _CELLS, cell, 4).sum(axis=(1, 3))
    weights = sums[..., 3].astype(np.float64)
    if not weights.any():
        return 0.0
    means = sums[..., :3] / np.maximum(weights, 1e-9)[..., None]
    return float((weights * (means**2).mean(axis=2)).sum() / weights.sum())


def _find_slopes(
    picture: Float32[np.ndarray, "side side"],
) -> tuple[np.ndarray, np.ndarray]:
    """Change a pixel to the right and down."""
    edge = cv2.BORDER_REPLICATE
    x = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=1, scale=0.5, borderType=edge)
    y = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=1, scale=0.5, borderType=edge)
    return x, y


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates around the picture's middle, in [-1, 1]."""
    line = ((np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1).astype(np.float32)
    shape = (_SIDE, _SIDE)
    return np.broadcast_to(line, shape), np.broadcast_to(line[:, None], shape)


def _move_by(motion: Float64[np.ndarray, "4"]) -> tuple[np.ndarray, np.ndarray]:
    """How far a motion moves each pixel: shift x, shift y, growth and turn, pixels."""
    x, y = _grid()
    across, down, grow, turn = motion.astype(np.float32)
    return across + grow * x - turn * y, down + grow * y + turn * x


def _find_motion(
    before: Float32[np.ndarray, "side side"],
    after: Float32[np.ndarray, "side side"],
    mask: Mask,
) -> Float64[np.ndarray, "4"]:
    """The similarity that best takes one picture to the next, as `_move_by` takes it.

    Reference:
        Lucas and Kanade 1981, "An iterative image registration technique with an
        application to stereo vision"; Baker and Matthews 2004, "Lucas-Kanade 20 years
        on", section 3.1, for the slopes of the picture that stands still.
    """
    x, y = _grid()
    slope_x, slope_y = _find_slopes(before)
    parts = [slope_x, slope_y, slope_x * x + slope_y * y, slope_y * x - slope_x * y]
    design = np.stack(parts).reshape(4, -1).astype(np.float64)
    weighted = design * mask.ravel()
    normal = weighted @ design.T
    # A flat picture moves nowhere.
    normal += np.eye(4) * (1e-6 * np.trace(normal) + 1e-6)
    pixels = np.arange(_SIDE, dtype=np.float32)
    motion = np.zeros(4)
    for _ in range(_ROUNDS):
        move_x, move_y = _move_by(motion)
        moved = cv2.remap(
            after,
            pixels[None] + move_x,
            pixels[:, None] + move_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        motion -= np.linalg.solve(normal, weighted @ (moved - before).ravel())
    return motion
