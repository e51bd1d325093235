"""Figures of a clip: little for a network that copies, much for one that does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn
from footage import write_pan
from networks import NO_FACTS, NOTHING

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.evaluation.clip_figures import ClipError, ClipFigures, measure_clip
from deepfake_jax.models.autoencoder import Autoencoder
from deepfake_jax.runs.trained_run import TrainedRun


class Draw(nn.Module):
    """Any function of what it sees."""

    draw: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.draw(x)


def run_of(decode: Callable[[jax.Array], jax.Array]) -> TrainedRun:
    return TrainedRun(
        model=Autoencoder(Draw(lambda x: x), Draw(decode), crop_size=64),
        params=NOTHING,
        step=0,
        facts=NO_FACTS,
    )


@pytest.fixture(scope="module")
def pan(portrait: np.ndarray, detector_weights: None, tmp_path_factory: Any) -> Path:
    return write_pan(tmp_path_factory.mktemp("pan") / "pan.mp4", portrait, frames=6)


def test_copy_is_better_than_paint(pan: Path):
    plain = ConvertConfig(color="none", mask="rectangle", erode=0.0, feather=0.0)
    copy: ClipFigures = measure_clip(pan, run_of(lambda x: x), plain)
    paint = measure_clip(pan, run_of(lambda x: 0.5 * x + 0.25), plain)
    assert copy.frames == paint.frames == 6
    # Detail that 64 pixels lose is all that changes.
    assert copy.seam < 2 and copy.flicker is not None and copy.flicker < 0.3
    assert paint.seam > 3 * copy.seam


def test_clip_without_a_face(detector_weights: None, tmp_path: Path):
    grey = np.full((300, 400, 3), 90, np.uint8)
    clip = write_pan(tmp_path / "grey.mp4", grey, frames=2)
    with pytest.raises(ClipError, match=r"no face in .*grey.mp4"):
        measure_clip(clip, run_of(lambda x: x))
