"""A run that was exported as ONNX, swapping without JAX: by onnxruntime and NumPy.

The file is `export.onnx_files`' own format; its card says all else that a conversion
needs. What is done to the network's answer is what `runs.swapper` does, by the same
formulas, so that both agree within a grey level.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from deepfake_jax.face_sets.face_shapes import flatten_landmarks
from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.runs.exemplars import Exemplars
from deepfake_jax.types import Landmarks

CARD = "card"  # the key of the model's card, JSON, in the file
REAL, DRAWN = "real_faces", "drawn_faces"  # constants that no node reads
_BATCH = 32  # faces at once
_LEAST = 1e-9  # of energies, as in `fine_detail`
_QUIET = 3  # onnxruntime's level of errors; below it warns of the two constants

Pictures = Float32[np.ndarray, "n h w 3"]


class ExportedRunError(ValueError):
    """A file that is no exported run, or cannot be used; the text says why."""


@dataclass(frozen=True, eq=False)
class ExportedRun:
    """What a swap needs, out of one file.

    Attributes:
        card: what the file says of itself.
        session: of onnxruntime.
        exemplars: what lends detail to swaps; None where the file has none.
    """

    card: Mapping[str, Any]
    session: Any
    exemplars: Exemplars | None

    def swap(
        self,
        faces: UInt8[np.ndarray, "k h w 3"],
        landmarks: Sequence[Landmarks | None] | None = None,
        *,
        recall: float,
        most_detail: float,
        exemplars: bool,
    ) -> UInt8[np.ndarray, "k h w 3"]:
        """Swaps crops, as `Swapper` does.

        Args:
            faces: the crops.
            landmarks: of each, in the pixels of the face picture it was cut from.
            recall: share that is recalled.
            most_detail: the largest factor that fine detail is raised by.
            exemplars: whether those of the file lend detail.
        """
        pieces = [
            self._draw(faces[i : i + _BATCH], (landmarks or ())[i : i + _BATCH], recall)
            for i in range(0, len(faces), _BATCH)
        ]
        if not pieces:
            return np.empty(faces.shape, np.uint8)
        drawn, trust = np.concatenate(pieces), None
        if exemplars and self.exemplars is not None:
            lent, trust = self.exemplars.lend(_round(drawn).astype(np.float32))
            drawn = lent / np.float32(255)
        energies = self.card["detail"]
        if energies and most_detail != 1:
            known = np.asarray(energies, np.float32)
            drawn = match_detail(drawn, known, most_detail, trust=trust)
        return _round(drawn)

    def _draw(
        self,
        faces: UInt8[np.ndarray, "k h w 3"],
        landmarks: Sequence[Landmarks | None],
        recall: float,
    ) -> Pictures:
        given: dict[str, Any] = {
            "faces": faces.astype(np.float32) * np.float32(1 / 255)
        }
        if numbers := self.card["landmark_numbers"]:
            given["recall"] = np.array(recall, np.float32)
            shapes = np.full((len(faces), numbers), np.nan, np.float32)
            for row, own in zip(shapes, landmarks, strict=False):
                if (known := flatten_landmarks(own, numbers)) is not None:
                    row[:] = known
            given["landmarks"] = shapes
        return self.session.run(["swapped"], given)[0]


def load_exported(path: Path) -> ExportedRun:
    """Reads an exported run.

    Raises:
        ExportedRunError: no such file, none of this format, or a damaged one.
        ImportError: onnx or onnxruntime is not installed; the text says how.
    """
    onnx, onnxruntime = _import_onnx()
    if path.is_dir():
        raise ExportedRunError(
            f"{path} is a run; export it first: deepfake-jax export --run {path} "
            f"--format onnx --out {path.name}.onnx, and give that file as --run"
        )
    if not path.is_file():
        raise ExportedRunError(f"no exported run at {path}: no such file")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own kinds
        raise ExportedRunError(f"{path} is no file of ONNX ({error})") from None
    texts = {each.key: each.value for each in model.metadata_props}
    card = json.loads(texts.get(CARD, "{}"))
    if card.get("format") != "onnx":
        kind = card.get("format", "another program's")
        raise ExportedRunError(
            f"{path} is {kind}, which convert cannot use: export the run with --format "
            "onnx"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    constants = {each.name: each for each in model.graph.initializer}
    exemplars = None
    if REAL in constants:
        read = onnx.numpy_helper.to_array
        exemplars = Exemplars(*(read(constants[name]) for name in (REAL, DRAWN)))
    del model, constants
    session = onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
    )
    return ExportedRun(card, session, exemplars)


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; pip install 'deepfake-jax[onnx]'"
        ) from error
    return onnx, onnxruntime


def _round(faces: Pictures) -> UInt8[np.ndarray, "n h w 3"]:
    return np.rint(np.clip(faces, 0, 1) * np.float32(255)).astype(np.uint8)


def match_detail(
    faces: Pictures,
    energies: Float32[np.ndarray, "2"],
    most: float,
    *,
    trust: Float32[np.ndarray, "n h w"] | None = None,
) -> Pictures:
    """What `fine_detail.match_detail` does, without JAX; see there."""
    oval = oval_mask(faces.shape[1])
    oval /= oval.sum()
    smooth = _blur(faces, 1)
    for band, energy in zip(
        (faces - smooth, smooth - _blur(smooth, 2)), energies, strict=True
    ):
        found = (np.square(band.mean(axis=3)) * oval).sum(axis=(1, 2))
        gains = np.clip(np.sqrt((energy + _LEAST) / (found + _LEAST)), 1, most)
        raised = (gains.astype(np.float32) - 1)[:, None, None, None] * band
        faces = faces + (raised if trust is None else trust[..., None] * raised)
    return faces


def _blur(faces: Pictures, step: int) -> Pictures:
    """Weights (1, 2, 1) / 4 on pixels `step` apart, along both axes; edges repeat."""
    for axis in (1, 2):
        pads = [(step, step) if each == axis else (0, 0) for each in range(4)]
        wide, size = np.pad(faces, pads, mode="edge"), faces.shape[axis]
        before = np.take(wide, range(size), axis)
        after = np.take(wide, range(2 * step, 2 * step + size), axis)
        faces = (before + 2 * faces + after) / 4
    return faces
