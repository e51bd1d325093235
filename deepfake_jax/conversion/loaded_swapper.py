"""A run from disk, or an exported one, as what swaps frames.

JAX is imported where a run needs it, and not before: it takes seconds, and machines
that convert by exported runs do without.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.imaging.glasses import Glasses
from deepfake_jax.runs.exported_run import ExportedRun, ExportedRunError, load_exported


class LoadedSwapper(NamedTuple):
    """A swapper, and whose it is.

    Attributes:
        swapper: of frames.
        model_hash: SHA-256 that names the network's parameters.
        step: updates that they have had.
    """

    swapper: FrameSwapper
    model_hash: str
    step: int


def load_swapper(run: str | Path, config: ConvertConfig) -> LoadedSwapper:
    """Reads a run by the backend that the config names.

    Args:
        run: folder of a run; for the backend "onnx" an exported file.
        config: how to swap.

    Raises:
        ConvertError: a file where a run should be, or JAX is not installed.
        RunError, CheckpointError: the run cannot be used.
        ExportedRunError: nor the exported one.
        ImportError: onnx or onnxruntime is missing.
    """
    run = Path(run)
    if config.backend == "onnx":
        exported = load_exported(run)
        card = exported.card
        swapper = _swap_by_exported(exported, config)
        return LoadedSwapper(swapper, card["model_sha256"], card["model_step"])
    if run.is_file():
        raise ConvertError(f"--run {run} is a file; if it was exported: --backend onnx")
    try:
        import jax  # noqa: F401
    except ImportError as error:
        raise ConvertError(
            f"a run needs JAX, which cannot be imported ({error}); install it, or "
            "export the run where it is (deepfake-jax export --format onnx) and "
            "convert by that file with --backend onnx"
        ) from error
    from deepfake_jax.conversion.run_swapper import make_frame_swapper
    from deepfake_jax.runs.trained_run import load_run

    trained = load_run(run, checkpoint=config.checkpoint)
    swapper = make_frame_swapper(trained, config)
    return LoadedSwapper(swapper, trained.model_hash, trained.step)


def _swap_by_exported(exported: ExportedRun, config: ConvertConfig) -> FrameSwapper:
    """The swapper of a file, which has one direction.

    Raises:
        ExportedRunError: the config asks for what the file does not have.
    """
    card = exported.card
    has = card["direction"][-1]
    if config.to != has:
        raise ExportedRunError(
            f"--to {config.to}, but this file draws {has.upper()}; give --to {has}, or "
            f"export the run with --to {config.to}"
        )
    if config.checkpoint != card["checkpoint"]:
        raise ExportedRunError(
            f"--checkpoint {config.checkpoint}, but this file is of the "
            f"{card['checkpoint']} one; leave it out, or export that one"
        )
    shift = np.asarray(card["color_shift"], np.float64)
    glasses = card.get("glasses")  # files of earlier versions have none
    return FrameSwapper(
        exported.draw_levels,
        card["crop_size"],
        config,
        shift=shift if shift.any() else None,
        identity=_read_vector(card["source_identity"]),
        other=_read_vector(card["target_identity"]),
        double=exported.swap_and_redraw if exported.redraws else None,
        glasses=TypeAdapter(Glasses).validate_python(glasses) if glasses else None,
    )


def _read_vector(numbers: list[float]) -> Any:
    return np.asarray(numbers, np.float32) if numbers else None
