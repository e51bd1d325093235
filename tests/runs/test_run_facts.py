"""What checkpoints remember goes to JSON and comes back, from earlier versions, too."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from deepfake_jax.imaging.glasses import Glasses
from deepfake_jax.runs.run_facts import RunFacts
from deepfake_jax.train_config import ModelConfig

FACTS = RunFacts(
    model=ModelConfig(name="lite", width=8),
    color_shift=(-12.093241808855979, 0.5, 3.0),
    identities={"b": [0.1, -0.2]},
    glasses={"b": Glasses(rims=(0.4,) * 60, contrast=-20.5, beside=0.055)},
    seconds=239.43987304299998,
    losses={"a": 0.07671573013067245, "b": 0.1},
    skipped=3,
    skipped_in_row=1,
    score=0.7,
    scored_by_identity=True,
)


def pass_on(facts: RunFacts) -> RunFacts:
    return RunFacts.from_json(json.loads(json.dumps(facts.to_json(), allow_nan=False)))


def test_facts_come_back_exactly():
    assert pass_on(FACTS) == FACTS
    assert FACTS.shift.dtype == np.float64
    np.testing.assert_array_equal(FACTS.shift, FACTS.color_shift)


def test_what_earlier_versions_noted_of_detail_is_passed_over():
    noted = FACTS.to_json() | {"detail": {"a": [0.5, 0.25], "b": [1.0, 2.0]}}
    assert RunFacts.from_json(noted) == FACTS


def test_a_loss_that_is_no_number_comes_back_as_such():
    losses = pass_on(replace(FACTS, losses={"a": math.inf, "b": 0.5})).losses
    assert math.isnan(losses["a"]) and losses["b"] == 0.5


def test_what_the_first_versions_noted_is_enough():
    facts = RunFacts.from_json({"model": {}, "color_shift": [0, 1, 2]})
    assert (facts.identities, facts.skipped) == ({}, 0)
    assert facts.model == ModelConfig() and math.isnan(facts.losses["a"])
    assert facts.score is None and "score" not in facts.to_json()


def test_scores_of_one_kind_are_compared():
    worse = replace(FACTS, score=-0.2)
    assert FACTS.is_better_than(worse) and not worse.is_better_than(FACTS)
    assert not FACTS.is_better_than(FACTS)
    assert not FACTS.is_better_than(replace(worse, scored_by_identity=False))
    assert FACTS.is_better_than(replace(worse, scored_by_identity=None))
    # Of a run that an earlier version began; its best state then gives way.
    assert not FACTS.is_better_than(replace(worse, scored_by_redraw=True))
    assert not FACTS.is_better_than(replace(FACTS, score=None))


@pytest.mark.parametrize(
    "harm",
    [
        {"color_shift": [0, 1]},
        {"model": {"name": "lite", "widht": 8}},
        {"secnods": 3.0},
        {"seconds": "long"},
        {"identities": {"c": [1.0]}},
    ],
)
def test_a_changed_value_or_key_is_refused(harm):
    with pytest.raises(ValueError, match=next(iter(harm))):
        RunFacts.from_json(FACTS.to_json() | harm)


def test_glasses_stay_where_the_other_person_has_none():
    assert FACTS.kept_glasses("b") == FACTS.glasses["b"]
    assert FACTS.kept_glasses("a") is None
    both = replace(FACTS, glasses={"a": FACTS.glasses["b"], **FACTS.glasses})
    assert both.kept_glasses("a") is None and both.kept_glasses("b") is None
