"""Frame and window to landmarks: a dense mesh, or dlib's 68.

Both give the same thing: (68, 2) float64 landmarks in the frame's pixels, in iBUG's
order, and a confidence in [0, 1]. The window that a source looks at is a matrix from
the frame to a square of `WINDOW_SIZE` pixels.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64

from deepfake_jax.faces.litert_networks import load_litert
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.affine import (
    apply_affine,
    compose_affine,
    invert_affine,
    similarity,
    umeyama,
)
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.imaging.region import Region, warp_region
from deepfake_jax.types import Affine, Landmarks

LandmarkSource = Literal["mesh", "dlib"]

WINDOW_SIZE = 192  # pixels; what the mesh network takes
_MIDDLE = ((WINDOW_SIZE - 1) / 2,) * 2
# Side of the window over that of the box around the landmarks, as MediaPipe cuts it.
_WINDOW_MARGIN = 1.5
# The window in the face picture's coordinates: `_WINDOW_MARGIN` times the mean face
# with its forehead, around its middle (shares of the side).
_WINDOW_SIDE, _WINDOW_CENTRE = 0.9, (0.5, 0.465)

# The mesh's vertices that stand for iBUG's 68, as the community maps them.
MESH_TO_68 = np.array(
    [162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454]
    + [389, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2]
    + [326, 327, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, 61, 39]
    + [37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87]
)
MODEL_NAME = "shape_predictor_68_face_landmarks.dat"
# The square around a face that dlib's own detector gives, in the mesh's window.
_LOW, _HIGH = round(0.2 * WINDOW_SIZE), round(0.82 * WINDOW_SIZE)


@dataclass(frozen=True)
class Shape:
    """Landmarks of one face.

    Attributes:
        landmarks: 68 (or the detector's 5) of (x, y) in the frame's pixels, pixel
            centres at integers.
        score: how sure the source is that a face is there, in [0, 1].
        mesh: all 468 of a mesh; None from other sources.
    """

    landmarks: Landmarks
    score: float
    mesh: Float64[np.ndarray, "m 2"] | None = None


Landmarker = Callable[[Region, Affine], Shape]


def make_landmarker(source: LandmarkSource) -> Landmarker:
    """Loads a source of landmarks.

    The function keeps its network inside, which is not thread-safe. Its result depends
    on its arguments alone.

    Raises:
        AssetError: the weights cannot be had (see `weights`).
        ImportError: the package that runs them is missing; the text names it.
    """
    return make_dlib_landmarker() if source == "dlib" else _make_mesh()


def _make_mesh() -> Landmarker:
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"the face mesh needs LiteRT, which cannot be imported ({error}); "
            "pip install ai-edge-litert, or give --landmarks none"
        ) from error
    run = load_litert(get_weights("face_mesh").read_bytes())

    def find(region: Region, frame_to_window: Affine) -> Shape:
        found = run(warp_region(region, frame_to_window, WINDOW_SIZE))
        vertices, logit = found[3 * 468].reshape(468, 3)[:, :2], float(found[1][0])
        # The network counts from the window's edge, we from pixel centres.
        mesh = apply_affine(invert_affine(frame_to_window), vertices - 0.5)
        score = 1 / (1 + np.exp(-np.clip(logit, -50, 50)))
        return Shape(landmarks=mesh[MESH_TO_68], score=float(score), mesh=mesh)

    return find


def window_of_box(
    box: Float64[np.ndarray, "4"], five: Float64[np.ndarray, "5 2"]
) -> Affine:
    """The window around a detector's box, turned by the line between the eyes."""
    side = _WINDOW_MARGIN * max(box[2], box[3])
    across = five[1] - five[0]
    angle = float(np.arctan2(across[1], across[0]))
    middle = box[:2] + box[2:] / 2
    return similarity(WINDOW_SIZE / side, angle=-angle, about=middle, to=_MIDDLE)


def window_of_landmarks(landmarks: Float[Any, "n 2"]) -> Affine:
    """The window around a face whose landmarks are about known, as a frame before."""
    # Of all and not the stable ones alone: in profile these stand on one line.
    target = template_landmarks(WINDOW_SIZE, count=len(landmarks))
    matrix = umeyama(landmarks, target)
    centre = np.array(_WINDOW_CENTRE) * WINDOW_SIZE - 0.5
    zoom = similarity(1 / _WINDOW_SIDE, about=centre, to=_MIDDLE)
    return compose_affine(zoom, matrix)


def make_dlib_landmarker() -> Landmarker:
    """Loads dlib's predictor.

    Its confidence is whether dlib's own detector sees a face in the window too: 1 if
    so, else 0.6.

    Raises:
        ImportError: dlib is not installed.
        AssetError: the model is not there; the text says where to put it.
    """
    try:
        dlib: Any = importlib.import_module("dlib")
    except ImportError as error:
        raise ImportError(
            f"--landmarks dlib needs dlib, which cannot be imported ({error}); "
            "pip install 'deepfake-jax[dlib]', or leave --landmarks at mesh"
        ) from error
    given = os.environ.get("DEEPFAKE_JAX_WEIGHTS", "")
    path = Path(given).expanduser() / MODEL_NAME
    if not given or not path.is_file():
        raise AssetError(
            f"--landmarks dlib needs {MODEL_NAME}, which is not in "
            f"$DEEPFAKE_JAX_WEIGHTS ({given or 'not set'}). Its licence excludes "
            "commercial use, so it is not fetched: download it from dlib's site, put "
            "it into a folder and name that folder in DEEPFAKE_JAX_WEIGHTS; or leave "
            "--landmarks at mesh"
        )
    predict = dlib.shape_predictor(str(path))
    detect = dlib.get_frontal_face_detector()

    def find(region: Region, frame_to_window: Affine) -> Shape:
        window = warp_region(region, frame_to_window, WINDOW_SIZE)
        boxes = detect(window, 0)
        box = boxes[0] if len(boxes) else dlib.rectangle(_LOW, _LOW, _HIGH, _HIGH)
        found = predict(window, box)
        shape = np.array([(p.x, p.y) for p in found.parts()], np.float64)
        landmarks = apply_affine(invert_affine(frame_to_window), shape)
        return Shape(landmarks=landmarks, score=1.0 if len(boxes) else 0.6)

    return find
