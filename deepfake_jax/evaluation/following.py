"""How far a swap follows its source, part by part: mouth, lids, gaze, brows, head.

Each part is a number a face. Two people differ in what they have (one man's brows are
higher), so only changes over a sample of faces are compared: by correlation, whether
the swap moves when the source does, and by slope, how far it moves for how far the
source did. The numbers come from networks that no loss and no search uses, see
`faces.judging_networks`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from deepfake_jax.faces.judging_networks import (
    Eyes,
    Mesh,
    make_eye_network,
    make_judging_mesh,
)
from deepfake_jax.faces.landmark_networks import MESH_TO_68
from deepfake_jax.imaging.align import complete_landmarks
from deepfake_jax.imaging.head_pose import estimate_pose
from deepfake_jax.types import Faces

# Part -> the least standard deviation, over a sample, of a source that moves it: about
# three times what the networks tremble by between neighbouring frames of a still face.
PARTS: Mapping[str, float] = {
    "mouth_opening": 0.015,
    "mouth_width": 0.015,
    "mouth_corners": 0.010,
    "eyelids": 0.015,
    "gaze": 0.015,
    "brows": 0.015,
    "yaw": 1.5,
    "pitch": 1.5,
    "roll": 1.0,
}
# An eye is closed where its opening is below this share of the wide-open eye's, of the
# same person in the same sample.
_CLOSED = 0.45
FEWEST = 4  # faces; a correlation of fewer says nothing

# Vertices of the mesh.
_LIPS = 13, 14  # inner edges, upper and lower, in the middle
_CORNERS = 61, 291  # of the mouth, image-left first
_EYES = 33, 263  # outer corners
# Points of the eye network.
_UPPER, _LOWER = [11, 12, 13], [3, 4, 5]
_OUTER, _INNER = 0, 8
_BROW = [51, 52, 53, 65, 66, 67]
_IRIS = 71

Near = Float64[np.ndarray, "p 2"]  # of one face each
Motion = dict[str, Float64[np.ndarray, "n"]]
MotionReader = Callable[[Faces, Sequence[Near]], Motion]


@dataclass(frozen=True)
class PartFollowing:
    """How one part of the face follows.

    Attributes:
        correlation: of the swap's number with the source's, in [-1, 1]; 1 is best.
        slope: of the swap's number over the source's, by least squares; 1 is best, 0 is
            frozen.
    """

    correlation: float
    slope: float


@dataclass(frozen=True)
class Following:
    """How a sample of swaps follows its sources.

    Attributes:
        following: mean correlation of the parts that the sources move, each no less
            than 0; in [0, 1], 1 is best. NaN where they move none.
        extent: the same, each part's correlation times its slope where that is below 1:
            a frozen face that trembles as its source does has none.
        parts: of each part that the sources move.
        closed_kept: share of the sources' closed eyes that are closed in the swap, in
            [0, 1]; None where no source has its eyes closed.
        closed: how many sources have their eyes closed.
    """

    following: float
    extent: float
    parts: dict[str, PartFollowing]
    closed_kept: float | None
    closed: int


def make_motion_reader() -> MotionReader:
    """Loads the networks: aligned faces, and landmarks near each, to their motion.

    A swap is read with its source's landmarks, so that both are looked at through the
    same windows.

    Raises:
        AssetError: the weights cannot be had.
        ImportError: LiteRT is missing.
    """
    find_mesh, find_eyes = make_judging_mesh(), make_eye_network()

    def read(faces: Faces, near: Sequence[Near]) -> Motion:
        rows = [
            read_parts(find_mesh(face, at), find_eyes(face, complete_landmarks(at)))
            for face, at in zip(faces, near, strict=True)
        ]
        return {part: np.array([row[part] for row in rows]) for part in PARTS}

    return read


def read_parts(mesh: Mesh, eyes: Eyes) -> dict[str, float]:
    """The numbers of one face, each a share of a width of it, or degrees.

    Of the mouth shares of the distance of the eyes' outer corners; of lids, gaze and
    brows of an eye's width.

    Lids and brows are means of both eyes. Gaze is along the eyes' line. Corners of the
    mouth are counted up from its middle: a smile raises them.
    """
    across = mesh[_EYES[1]] - mesh[_EYES[0]]
    unit = float(np.linalg.norm(across))
    right = across / unit
    down = np.array([-right[1], right[0]])
    lips, corners = mesh[list(_LIPS)], mesh[list(_CORNERS)]
    pose = estimate_pose(mesh[MESH_TO_68])
    lids, gazes, brows = zip(*map(read_eye, eyes), strict=True)
    return {
        "mouth_opening": float((lips[1] - lips[0]) @ down) / unit,
        "mouth_width": float((corners[1] - corners[0]) @ right) / unit,
        "mouth_corners": float((lips.mean(0) - corners.mean(0)) @ down) / unit,
        "eyelids": float(np.mean(lids)),
        # Outer corners lie to either side, so one eye's axis is turned about.
        "gaze": float(gazes[1] - gazes[0]) / 2,
        "brows": float(np.mean(brows)),
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
    }


class EyeReading(NamedTuple):
    """What an eye does, in shares of its width.

    Attributes:
        opening: distance of its lids.
        gaze: of the iris from the middle, to the outer corner.
        brow: height of the brow above the middle.
    """

    opening: float
    gaze: float
    brow: float


def read_eye(eye: Float64[np.ndarray, "76 2"]) -> EyeReading:
    """Reads one eye of `judging_networks.make_eye_network`."""
    axis = eye[_OUTER] - eye[_INNER]
    width = float(np.linalg.norm(axis))
    axis = axis / width
    middle = (eye[_OUTER] + eye[_INNER]) / 2
    normal = np.array([-axis[1], axis[0]])
    lids = eye[_LOWER].mean(0) - eye[_UPPER].mean(0)
    brow = eye[_BROW].mean(0) - middle
    return EyeReading(
        opening=abs(float(lids @ normal)) / width,
        gaze=float((eye[_IRIS] - middle) @ axis) / width,
        brow=abs(float(brow @ normal)) / width,
    )


def measure_following(swapped: Motion, source: Motion) -> Following:
    """Compares the motion of swaps with that of their sources, in the same order.

    Raises:
        ValueError: not as many of each, or fewer than four.
    """
    counts = {len(values) for values in (*swapped.values(), *source.values())}
    if len(counts) != 1 or min(counts) < FEWEST:
        raise ValueError(
            f"swapped and source must be of as many faces, {FEWEST} or more, got "
            f"{sorted(counts)}"
        )
    shut = is_closed(source["eyelids"])
    parts: dict[str, PartFollowing] = {}
    for part, least in PARTS.items():
        # A closed eye looks nowhere: what is read of it is chance.
        seen = ~shut if part == "gaze" else np.ones(len(shut), bool)
        own, other = swapped[part][seen], source[part][seen]
        if len(other) >= FEWEST and float(np.std(other)) >= least:
            parts[part] = _compare(own, other)
    scores = [max(0.0, part.correlation) for part in parts.values()]
    extents = [min(max(0.0, part.slope), 1.0) for part in parts.values()]
    extent = np.multiply(scores, extents)
    kept = is_closed(swapped["eyelids"])[shut]
    return Following(
        following=float(np.mean(scores)) if scores else float("nan"),
        extent=float(np.mean(extent)) if scores else float("nan"),
        parts=parts,
        closed_kept=float(np.mean(kept)) if len(kept) else None,
        closed=int(shut.sum()),
    )


def is_closed(eyelids: Float64[np.ndarray, "n"]) -> np.ndarray:
    """Which of a sample's faces have their eyes closed, by their openings.

    Against the person's own open eyes: narrow eyes are not closed ones.
    """
    return eyelids < _CLOSED * float(np.percentile(eyelids, 90))


def _compare(swapped: np.ndarray, source: np.ndarray) -> PartFollowing:
    one, other = swapped - swapped.mean(), source - source.mean()
    together, size = float(one @ other), float(other @ other)
    both = float(np.linalg.norm(one) * np.linalg.norm(other))
    return PartFollowing(together / both if both > 1e-12 else 0.0, together / size)
