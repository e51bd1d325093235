"""Faces over time: linking detections of neighbouring frames, steadying their points.

Boxes are (x, y, width, height) and landmarks (x, y), in the frame's pixels.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64

from deepfake_jax.detect import Detection

LINK_OVERLAP = 0.4  # least intersection over union for two frames' boxes to be one face
_RADIUS = 2  # frames to each side
_SIGMA = 1.0  # frames

Item = TypeVar("Item")


def box_overlap(first: Float64[Any, "4"], second: Float64[Any, "4"]) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    whole = float(np.prod(first[2:]) + np.prod(second[2:])) - shared
    return shared / whole if whole > 0 else 0.0


def find_linked(
    detection: Detection, candidates: Sequence[Detection]
) -> Detection | None:
    """The face of a neighbouring frame that overlaps a face most, if enough."""
    best, overlap = None, LINK_OVERLAP
    for candidate in candidates:
        candidate_overlap = box_overlap(detection.box, candidate.box)
        if candidate_overlap >= overlap:
            best, overlap = candidate, candidate_overlap
    return best


def steady_landmarks(
    detection: Detection,
    before: Sequence[Sequence[Detection]],
    after: Sequence[Sequence[Detection]],
) -> Detection:
    """Averages a face's landmarks with its own in the frames around, Gaussian weights.

    As many frames are used after as before, so a face that moves evenly does not lag;
    where its track begins or ends on either side, so does the average.

    Args:
        detection: the face.
        before: detections of earlier frames, the nearest first.
        after: detections of later frames, the nearest first.
    """
    chains = [_follow(detection, frames) for frames in (before, after)]
    total, weights = detection.landmarks.copy(), 1.0
    for distance, pair in enumerate(zip(*chains, strict=False), start=1):
        weight = float(np.exp(-0.5 * (distance / _SIGMA) ** 2))
        total += weight * (pair[0].landmarks + pair[1].landmarks)
        weights += 2 * weight
    return replace(detection, landmarks=total / weights)


def _follow(
    detection: Detection, frames: Sequence[Sequence[Detection]]
) -> list[Detection]:
    chain = []
    for candidates in frames:
        linked = find_linked(detection, candidates)
        if linked is None:
            break
        chain.append(linked)
        detection = linked
    return chain


def steady_stream(
    frames: Iterable[tuple[Item, list[Detection]]],
) -> Iterator[tuple[Item, list[Detection]]]:
    """Steadies the faces of a stream, looking a few frames ahead.

    If the stream raises, what was read is given first and the error after it.
    """
    window: deque[tuple[Item, list[Detection]]] = deque()
    position = 0  # of the frame to give next, inside the window

    def settle() -> tuple[Item, list[Detection]]:
        item, detections = window[position]
        found = [pair[1] for pair in window]
        before, after = found[:position][::-1], found[position + 1 :]
        return item, [steady_landmarks(d, before, after) for d in detections]

    failure: Exception | None = None
    stream = iter(frames)
    while True:
        try:
            window.append(next(stream))
        except StopIteration:
            break
        except Exception as error:  # given on below, after the frames already read
            failure = error
            break
        if len(window) > position + _RADIUS:
            yield settle()
            position += 1
            if position > _RADIUS:
                window.popleft()
                position -= 1
    while position < len(window):
        yield settle()
        position += 1
    if failure is not None:
        raise failure
