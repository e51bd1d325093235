"""Frame to faces: boxes, scores and five landmarks by YuNet through OpenCV.

Frames are RGB uint8, height width 3. Boxes are (x, y, width, height) and landmarks
(x, y), both float64 in the frame's pixels with pixel centres at integers.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float64

from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.region import Detection
from deepfake_jax.media.frame_parts import reduce_frame
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.types import Frame

# YuNet finds faces of about 10 to 300 pixels (Wu et al. 2023, section 4.1), so a frame
# is searched at a side that puts usual faces there: first reduced, then at up to full
# HD for small faces, then strongly reduced for a face that fills the picture.
SEARCH_SIDES = (640, 1920, 256)
MIN_FRAME_SIDE = 16  # pixels; nothing smaller holds a face that could be used


Detector = Callable[[Frame], list[Detection]]
SizedDetector = Callable[[TimedFrame, int, int], list[Detection]]


def make_detector(*, min_score: float = 0.7) -> Detector:
    """Loads YuNet and returns a function from a frame to its faces, largest first.

    The function keeps OpenCV's network inside, which is not thread-safe: make one for
    each thread. It searches at each of `SEARCH_SIDES` until it finds something.

    Args:
        min_score: faces below this confidence are not reported, in [0, 1].

    Raises:
        AssetError: the weights cannot be had (see `weights`).
    """
    detect_sized = make_sized_detector(min_score=min_score)

    def detect(frame: Frame) -> list[Detection]:
        return detect_at_sides(detect_sized, picture_frame(frame), SEARCH_SIDES)

    return detect


def detect_at_sides(
    detect: SizedDetector, timed: TimedFrame, sides: Sequence[int], *, turn: int = 0
) -> list[Detection]:
    """The faces at the first of some sides that shows any; no size is tried twice."""
    tried: set[tuple[int, int]] = set()
    for side in sides:
        size = _search_size(timed.size, side)
        if size in tried:
            continue
        tried.add(size)
        detections = detect(timed, side, turn)
        if detections:
            return detections
    return []


def make_sized_detector(*, min_score: float = 0.7) -> SizedDetector:
    """As `make_detector`, of a function that looks once, at the side it is told.

    The function takes a frame, the side in pixels to which the frame's longer side is
    reduced, and by how many quarters it is turned counter-clockwise before the look.
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score must be in [0, 1], got {min_score}")
    network = cv2.FaceDetectorYN.create(
        str(get_weights("yunet")), "", (320, 320), min_score, 0.3, 200
    )

    def detect(timed: TimedFrame, side: int, turn: int) -> list[Detection]:
        if min(timed.size) < MIN_FRAME_SIDE:
            return []
        return _detect_at(network, timed, _search_size(timed.size, side), turn)

    return detect


def _search_size(frame_size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) of the frame with its long side reduced to at most `side`."""
    height, width = frame_size
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _detect_at(
    network: cv2.FaceDetectorYN, timed: TimedFrame, size: tuple[int, int], turn: int
) -> list[Detection]:
    height, width = timed.size
    frame = reduce_frame(timed, height=size[1], width=size[0])
    frame = np.rot90(frame, turn)
    network.setInputSize(frame.shape[1::-1])
    rows = network.detect(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR))[
        1
    ]
    if rows is None:
        return []
    scale = np.array([width / size[0], height / size[1]])
    detections = []
    for row in rows.astype(np.float64):
        if not np.all(np.isfinite(row)) or row[2] < 1 or row[3] < 1:
            continue
        box, landmarks = _turn_back(row[:4], row[4:14].reshape(5, 2), turn, size)
        # Pixel centres at integers: shift by half a pixel around the scaling.
        landmarks = (landmarks + 0.5) * scale - 0.5
        if np.ptp(landmarks, axis=0).max() < 1:
            continue  # collapsed landmarks: no transform can be fitted
        box = box * np.tile(scale, 2)
        detections.append(Detection(box=box, score=float(row[14]), landmarks=landmarks))
    detections.sort(key=lambda found: -float(found.box[2] * found.box[3]))
    return detections


def _turn_back(
    box: Float64[np.ndarray, "4"],
    landmarks: Float64[np.ndarray, "5 2"],
    turn: int,
    size: tuple[int, int],
) -> tuple[Float64[np.ndarray, "4"], Float64[np.ndarray, "5 2"]]:
    """What was found in a picture of a (width, height), after it was turned."""
    for quarter in range(turn, 0, -1):
        width = size[(quarter - 1) % 2]  # before this quarter
        x, y, across, down = box
        box = np.array([width - y - down, x, down, across])
        landmarks = np.stack([width - 1 - landmarks[:, 1], landmarks[:, 0]], axis=1)
    return box, landmarks
