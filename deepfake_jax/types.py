"""Array aliases with named axes, shared by every module.

Pictures are RGB. On the NumPy side they are uint8, height width 3; on the JAX side
float32 in [0, 1], NHWC. Points are (x, y) in pixels with pixel centres at integers.
Matrices are 2x3 and name their direction: ``frame_to_face`` takes a frame's point to
the face's. Masks are float32 in [0, 1].

A frame is a whole picture, a face the aligned 256 px picture on disk, a crop the centre
of a face, scaled to what a network sees. The two people are the sides "a" and "b";
what both have is a ``dict[Side, X]``.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
# Both ways to swap: who is in the footage, whose face appears.
DIRECTIONS: tuple[tuple[Side, Side], ...] = (("a", "b"), ("b", "a"))

Frame = UInt8[np.ndarray, "height width 3"]
Face = UInt8[np.ndarray, "face_size face_size 3"]
# A face as a network drew it: levels in [0, 255], not rounded, or rounded.
DrawnFace = Float32[np.ndarray, "face_size face_size 3"] | Face
Faces = UInt8[np.ndarray, "n face_size face_size 3"]
Crops = UInt8[np.ndarray, "n crop_size crop_size 3"]
# Of networks that draw a mask it is a fourth channel, 255 where the face surely is.
DrawnCrops = Float32[np.ndarray, "n crop_size crop_size channels"] | Crops
DrawnMask = Float32[np.ndarray, "drawn_size drawn_size"]
Mask = Float32[np.ndarray, "height width"]
Landmarks = Float64[np.ndarray, "_ 2"]  # a sequence may hold several counts
Hands = Float64[np.ndarray, "_ 21 2"]  # of each 21 points, see `imaging.hand_mask`
Affine = Float64[np.ndarray, "2 3"]


def other_side(side: Side) -> Side:
    """The other of the two people."""
    return "b" if side == "a" else "a"


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spread, in order."""
    if count <= most:
        return list(range(count))
    return np.linspace(0, count - 1, most).round().astype(int).tolist()
