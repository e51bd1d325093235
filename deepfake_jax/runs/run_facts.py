"""What a checkpoint remembers beside its arrays: all else that swaps and resumes need.

In JSON a loss that is no finite number is null. What earlier versions did not note has
the value that stands for not known.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64
from pydantic import ConfigDict, TypeAdapter, with_config

from deepfake_jax.imaging.glasses import Glasses
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.types import SIDES, Side, other_side


def _unknown_losses() -> dict[Side, float]:
    return dict.fromkeys(SIDES, math.nan)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run knows of itself at a step.

    Attributes:
        model: the network.
        color_shift: grey levels added to A's faces in training, RGB.
        identities: mean face embedding of each side whose face set has one.
        glasses: of each side whose faces wear some.
        seconds: training time so far.
        losses: of the last step; NaN where it was no finite number.
        skipped: updates that were left out so far.
        skipped_in_row: how many of them just now.
        score: of held-out faces, where this state was kept for it.
        scored_by_identity: whether identity is a part of that; None where unknown.
        scored_by_redraw: whether what is redrawn is; in earlier versions it was not.
        settings: the run's config, as `config_to_dict` gives it; empty in runs of
            versions that did not note it.
    """

    model: ModelConfig
    color_shift: tuple[float, float, float]
    identities: Mapping[Side, list[float]] = field(default_factory=dict)
    glasses: Mapping[Side, Glasses] = field(default_factory=dict)
    seconds: float = 0.0
    losses: Mapping[Side, float] = field(default_factory=_unknown_losses)
    skipped: int = 0
    skipped_in_row: int = 0
    score: float | None = None
    scored_by_identity: bool | None = None
    scored_by_redraw: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shift(self) -> Float64[np.ndarray, "3"]:
        """The shift of colors as an array."""
        return np.asarray(self.color_shift, np.float64)

    def kept_glasses(self, side: Side) -> Glasses | None:
        """The glasses that stay before a side's swapped faces.

        None where the other person is drawn with some: one frame is enough.
        """
        return None if other_side(side) in self.glasses else self.glasses.get(side)

    def to_json(self) -> dict[str, Any]:
        """As values for JSON; `from_json` gives the same facts again."""
        values = asdict(self)
        for side, loss in values.pop("losses").items():
            values[f"loss_{side}"] = loss if math.isfinite(loss) else None
        scored = ("score", "scored_by_identity")
        return {k: v for k, v in values.items() if v is not None or k not in scored}

    def is_better_than(self, other: "RunFacts") -> bool:
        """Whether the score is higher; scores of two kinds are not compared."""
        if self.score is None or other.score is None:
            return False
        kinds = {self.scored_by_identity, other.scored_by_identity} - {None}
        alike = len(kinds) < 2 and self.scored_by_redraw == other.scored_by_redraw
        return alike and self.score > other.score

    @classmethod
    def from_json(cls, values: Any) -> "RunFacts":
        """Reads what `to_json` of this version or an earlier one gave.

        Raises:
            ValueError: a value is missing, unknown or of another type.
        """
        values = dict(values)
        values.pop("detail", None)  # earlier versions raised swaps' detail to it
        values.pop("scored_by_parts", None)  # and scored the likeness of a face's parts
        noted = {side: values.pop(f"loss_{side}", None) for side in SIDES}
        losses = {s: math.nan if loss is None else loss for s, loss in noted.items()}
        return _ADAPTER.validate_python({**values, "losses": losses})


_ADAPTER = TypeAdapter(RunFacts)
