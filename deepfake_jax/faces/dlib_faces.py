"""dlib's 68 landmarks, the classic alternative to the mesh; extra ``dlib``.

The predictor's model, ``shape_predictor_68_face_landmarks.dat``, was trained on iBUG
300-W, whose licence excludes commercial use; so this project neither ships nor fetches
it. Put the file into the folder that ``$DEEPFAKE_JAX_WEIGHTS`` names.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_jax.faces.landmark_networks import WINDOW_SIZE, Landmarker, Shape
from deepfake_jax.faces.weights import AssetError
from deepfake_jax.imaging.affine import apply_affine, invert_affine
from deepfake_jax.media.frame_parts import Region, warp_region
from deepfake_jax.types import Affine

MODEL_NAME = "shape_predictor_68_face_landmarks.dat"
# The square around a face that dlib's own detector gives, in the mesh's window.
_LOW, _HIGH = round(0.2 * WINDOW_SIZE), round(0.82 * WINDOW_SIZE)


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
        points = np.array([(p.x, p.y) for p in found.parts()], np.float64)
        points = apply_affine(invert_affine(frame_to_window), points)
        return Shape(points=points, score=1.0 if len(boxes) else 0.6)

    return find
