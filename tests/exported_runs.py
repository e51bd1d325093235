"""A run that learned nothing but has all that one has, to be exported."""

from dataclasses import replace

from networks import NO_FACTS
from swaps import make_swap

from deepfake_jax.imaging.glasses import Glasses
from deepfake_jax.runs.trained_run import TrainedRun


def make_run() -> TrainedRun:
    swap = make_swap("lite")
    facts = replace(NO_FACTS, model=swap.config, color_shift=(9.0, -4.0, 2.0))
    glasses = Glasses(rims=(0.4,) * 60, contrast=-20.5, beside=0.055)
    facts = replace(facts, glasses={"a": glasses})
    return TrainedRun(swap.model, swap.params, step=7, facts=facts, model_hash="0" * 64)
