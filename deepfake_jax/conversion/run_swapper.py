"""The swapper of frames that a run makes, by JAX."""

import numpy as np

from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.runs.swapper import make_double_swapper, make_swapper
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.types import other_side


def make_frame_swapper(trained: TrainedRun, config: ConvertConfig) -> FrameSwapper:
    """The swapper of a run, to the person that the config names."""
    # The network saw A's faces in B's mean color, and B's as they are.
    origin = other_side(config.to)
    identities = {
        side: np.asarray(vector, np.float32)
        for side, vector in trained.facts.identities.items()
    }
    model, params = trained.model, trained.params
    return FrameSwapper(
        make_swapper(model, params, to=config.to).draw_levels,
        trained.model.crop_size,
        config,
        shift=trained.facts.shift if origin == "a" else None,
        identity=identities.get(origin),
        other=identities.get(config.to),
        double=make_double_swapper(model, params, to=config.to),
        glasses=trained.facts.kept_glasses(origin),
    )
