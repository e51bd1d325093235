"""A run that was exported as ONNX, swapping without JAX: by onnxruntime and NumPy.

The file is `export.onnx_files`' own format; its card says all else that a conversion
needs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

CARD = "card"  # the key of the model's card, JSON, in the file
_SWAPPED, _MASK, _REDRAWN = "swapped", "mask", "redrawn"  # outputs of the file
_BATCH = 32  # faces at once


class ExportedRunError(ValueError):
    """A file that is no exported run, or cannot be used; the text says why."""


@dataclass(frozen=True, eq=False)
class ExportedRun:
    """What a swap needs, out of one file.

    Attributes:
        card: what the file says of itself.
        session: of onnxruntime.
    """

    card: Mapping[str, Any]
    session: Any

    def draw_levels(
        self, faces: UInt8[np.ndarray, "k h w 3"]
    ) -> Float32[np.ndarray, "k h w c"]:
        """Swaps crops, as `Swapper.draw_levels` does, in [0, 255], not rounded."""
        return self._draw(faces)[0]

    @property
    def redraws(self) -> bool:
        """Whether the file has what `swap_and_redraw` needs; those of old have not."""
        return _REDRAWN in self._outputs()

    def swap_and_redraw(
        self, faces: UInt8[np.ndarray, "k h w 3"]
    ) -> Float32[np.ndarray, "2 k h w c"]:
        """Swaps of crops, and the same person's faces as the network draws them.

        Where swaps have a mask for a fourth channel, that of redrawn faces is the same.
        """
        return self._draw(faces, _REDRAWN)

    def _draw(
        self, faces: UInt8[np.ndarray, "k h w 3"], *others: str
    ) -> Float32[np.ndarray, "o k h w c"]:
        """Swaps, and other outputs beside them."""
        masks = [_MASK] if _MASK in self._outputs() else []
        names = [_SWAPPED, *others, *masks]
        shape = (1 + len(others), *faces.shape[:3], 3 + len(masks))
        drawn = np.empty(shape, np.float32)
        for start in range(0, len(faces), _BATCH):
            scaled = faces[start : start + _BATCH].astype(np.float32)
            scaled *= np.float32(1 / 255)
            found = self.session.run(names, {"faces": scaled})
            here = drawn[:, start : start + _BATCH]
            here[..., :3] = np.stack(found[: len(drawn)])
            if masks:
                here[..., 3:] = found[-1]
            np.clip(here, 0, 1, out=here)
            here *= np.float32(255)
        return drawn

    def _outputs(self) -> list[str]:
        return [output.name for output in self.session.get_outputs()]


def load_exported(path: Path) -> ExportedRun:
    """Reads an exported run.

    Raises:
        ExportedRunError: no such file, none of this format, or a damaged one.
        ImportError: onnxruntime is not installed; the text says how.
    """
    onnxruntime = _import_runtime()
    if path.is_dir():
        raise ExportedRunError(
            f"{path} is a run; export it first: deepfake-jax export --run {path} "
            f"--format onnx --out {path.name}.onnx, and give that file as --run"
        )
    if not path.is_file():
        raise ExportedRunError(f"no exported run at {path}: no such file")
    options = onnxruntime.SessionOptions()
    # Its threads would turn while they wait, three times the work of the swap itself,
    # in place of all that decodes, blends and encodes meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # onnxruntime's own kinds
        raise ExportedRunError(
            f"{path} is no file of ONNX, or a damaged one ({error}); export the run "
            "again"
        ) from None
    card = read_card(session.get_modelmeta().custom_metadata_map)
    if card.get("format") != "onnx":
        kind = card.get("format", "another program's")
        raise ExportedRunError(
            f"{path} is {kind}, which convert cannot use: export the run with --format "
            "onnx"
        )
    return ExportedRun(card, session)


def read_card(texts: Mapping[str, str]) -> dict[str, Any]:
    """The card among a file's texts; empty where there is none."""
    try:
        card = json.loads(texts.get(CARD, "{}"))
    except ValueError:
        return {}
    return card if isinstance(card, dict) else {}


def _import_runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "onnxruntime is not installed; pip install 'deepfake-jax[onnx]'"
        ) from error
    return onnxruntime
