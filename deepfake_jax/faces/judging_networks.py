"""Landmark networks that judge: nothing is searched, aligned or in a loss by them.

What a loss or the search uses would flatter what it helped to make. (How far eyes are
open also says which faces count in means of codes, see `training.overlap_weights`: that
chooses among faces, and no gradient comes from it.) So figures of
expression are read by two other networks: a face mesh of its own weights (MediaPipe's
mesh "with attention", its first, whole stage) and one for eyes, irises and brows. Both
are given a window around a face whose landmarks are about known, the same for a swap
and for its source.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from deepfake_jax.faces.landmark_networks import WINDOW_SIZE, window_of_landmarks
from deepfake_jax.faces.litert_networks import load_litert
from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.affine import apply_affine, invert_affine, umeyama
from deepfake_jax.types import Affine, Face, Landmarks

Mesh = Float64[np.ndarray, "468 2"]
# Of each eye, image-left first: 71 points of its lids, the skin around and the brow,
# then the iris's middle and four points of its rim.
Eyes = Float64[np.ndarray, "2 76 2"]

_EYE_SIDE = 64  # pixels; what the eye network takes
_EYE_MARGIN = 2.3  # side of its window over the distance of the eye's corners
_MESH_OUTPUTS = (b"output_mesh_identity", b"conv_faceflag")


def make_judging_mesh() -> Callable[[Face, Landmarks], Mesh]:
    """Loads the mesh: an aligned face, and 68 or 5 landmarks near it, to 468.

    Raises:
        AssetError: the weights cannot be had.
        ImportError: LiteRT is missing.
    """
    model = _keep_outputs(get_weights("attention_mesh").read_bytes(), _MESH_OUTPUTS)
    run = load_litert(model)

    def find(face: Face, near: Landmarks) -> Mesh:
        frame_to_window = window_of_landmarks(near)
        found = run(_cut(face, frame_to_window, WINDOW_SIZE))[3 * 468]
        mesh = found.reshape(468, 3)[:, :2].astype(np.float64)
        # The network counts from the window's edge, we from pixel centres.
        return apply_affine(invert_affine(frame_to_window), mesh - 0.5)

    return find


def make_eye_network() -> Callable[[Face, Landmarks], Eyes]:
    """Loads the eye network: an aligned face and its 68 landmarks to both eyes.

    Reference:
        Ablavatski et al. 2020, "Real-time pupil tracking from monocular video for
        digital puppetry": window and points; the network was trained on eyes of one
        side, and those of the other are given as their mirror images.

    Raises:
        AssetError: the weights cannot be had.
        ImportError: LiteRT is missing.
    """
    run = load_litert(get_weights("iris").read_bytes())

    def find(face: Face, landmarks: Landmarks) -> Eyes:
        eyes = []
        # The corners of each eye, in the order in which they stand from left to right.
        for left, right, mirrored in ((36, 39, True), (42, 45, False)):
            window = _eye_window(landmarks[left], landmarks[right], mirrored=mirrored)
            found = run(_cut(face, window, _EYE_SIDE))
            eye = np.concatenate([found[213].reshape(71, 3), found[15].reshape(5, 3)])[
                :, :2
            ]
            inverse = invert_affine(window)
            eyes.append(apply_affine(inverse, eye.astype(np.float64) - 0.5))
        return np.stack(eyes)

    return find


def _eye_window(
    left: Float64[np.ndarray, "2"], right: Float64[np.ndarray, "2"], *, mirrored: bool
) -> Affine:
    half = _EYE_SIDE / 2 / _EYE_MARGIN
    middle = (_EYE_SIDE - 1) / 2
    matrix = umeyama(
        np.stack([left, right]),
        np.array([[middle - half, middle], [middle + half, middle]]),
    )
    if mirrored:
        matrix[0] *= -1
        matrix[0, 2] += _EYE_SIDE - 1
    return matrix


def _cut(face: Face, matrix: Affine, side: int) -> UInt8[np.ndarray, "side side 3"]:
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
    return cv2.warpAffine(face, matrix, (side, side), flags=flags, borderMode=border)


def _keep_outputs(model: bytes, names: tuple[bytes, ...]) -> bytes:
    """A model with some of its outputs, and nothing that these do not need.

    The mesh's later stages are made of operations that LiteRT alone does not have.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    parsed: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    graph = parsed.subgraphs[0]
    kept = [i for i in graph.outputs if graph.tensors[i].name in names]
    needed, operators = set(kept), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs.tolist()):
            operators.append(operator)
            needed.update(operator.inputs.tolist())
    graph.operators, graph.outputs = operators[::-1], np.array(kept, np.int32)
    parsed.signatureDefs = None
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())
