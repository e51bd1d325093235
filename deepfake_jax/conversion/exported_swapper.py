"""The swapper of frames that an exported run makes, without JAX."""

from typing import Any

import numpy as np

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.runs.exported_run import ExportedRun, ExportedRunError


def make_exported_swapper(exported: ExportedRun, config: ConvertConfig) -> FrameSwapper:
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
    return FrameSwapper(
        exported.swap,
        card["crop_size"],
        config,
        shift=shift if shift.any() else None,
        identity=_read_vector(card["source_identity"]),
        other=_read_vector(card["target_identity"]),
        redraw=exported.redraw if exported.redraws else None,
    )


def _read_vector(numbers: list[float]) -> Any:
    return np.asarray(numbers, np.float32) if numbers else None
