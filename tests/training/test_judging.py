"""What is read from judgements: the score, the best, the next one, and the plateau."""

from typing import Any

import numpy as np
import pytest

from deepfake_jax.evaluation.held_out import ERROR_WEIGHT, score_figures
from deepfake_jax.training.judging import Scores, find_plateau, is_judgement


def judgement(step: int, score: float, interval: int = 10, **more: Any) -> dict:
    return {"step": step, "score": score, "interval": interval, **more}


def make_scores(**settings) -> Scores:
    return Scores(**{"every": 10, "share": 0.02, "patience": 50, **settings})


def test_score_weighs_transfer_against_errors():
    errors = {"mae_a": 0.02, "mae_b": 0.04}
    assert score_figures(errors) == pytest.approx(-ERROR_WEIGHT * 0.03)
    both = {"identity_transfer_a_to_b": 0.5, "identity_transfer_b_to_a": 0.7}
    assert score_figures({**errors, **both}) == pytest.approx(0.6 - ERROR_WEIGHT * 0.03)
    # Always the target's mean face: perfect transfer, and never the best.
    frozen = {"identity_transfer_a_to_b": 1.0, "identity_transfer_b_to_a": 1.0}
    frozen |= {"mae_a": 0.12, "mae_b": 0.12}
    assert score_figures(frozen) < score_figures({**errors, **both})


def test_judgements_lie_on_a_grid():
    scores = make_scores()
    assert [step for step in range(35) if scores.is_due(step)] == [0, 10, 20, 30]
    scores.add(judgement(10, 0.0, interval=20))
    assert [step for step in range(10, 45) if scores.is_due(step)] == [30, 40]
    assert not make_scores(every=0).is_due(0)


def test_interval_is_doubled_until_judging_takes_its_share():
    scores = make_scores()
    # A fiftieth of the time of 10, 20 or 40 steps of a second each.
    assert scores.stretch(0.19, step_seconds=1.0) == 10
    assert scores.stretch(0.21, step_seconds=1.0) == 20
    assert scores.stretch(0.79, step_seconds=1.0) == 40
    assert scores.stretch(5.0, step_seconds=0.0) == 10  # nothing is known yet
    # Once settled it is left alone up to twice the share.
    scores.add(judgement(10, 0.0, interval=20))
    assert scores.stretch(0.79, step_seconds=1.0) == 20
    assert scores.stretch(0.81, step_seconds=1.0) == 40


def test_best_is_the_highest_of_its_kind():
    scores = make_scores()
    figures = [0.1, 0.3, 0.2, 0.4]
    found = []
    for index, score in enumerate(figures):
        found.append(scores.is_best({"score": score}))
        scores.add(judgement(10 * index, score))
    assert found == [True, True, False, True]
    # With identity the scale is another one.
    more: dict[str, Any] = {"identity_transfer_a_to_b": 0.1}
    assert scores.is_best({"score": -1.0, **more})
    scores.add(judgement(50, -1.0, **more))
    assert scores.is_best({"score": -0.9, **more})
    # Runs of earlier versions have scores without what is redrawn.
    more["redraw_likeness_a_to_b"] = 0.9
    assert scores.is_best({"score": -2.0, **more})
    scores.add(judgement(60, -2.0, **more))
    assert not scores.is_best({"score": -2.1, **more})


def test_lines_of_losses_are_no_judgements():
    lines = [{"step": 10, "loss_a": 0.1}, judgement(10, 0.5)]
    assert [is_judgement(line) for line in lines] == [False, True]
    scores = make_scores()
    scores.read(lines)
    assert not scores.is_best({"score": 0.4}) and scores.is_best({"score": 0.6})


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_plateau_is_seen_after_a_rise_and_not_during_it(rng, noise):
    # A rise of 0.02 every judgement for 40 of them, as in training fast at first; then
    # nothing. Noise is larger than LEAST_GAIN and half a judgement's rise.
    steps = np.arange(80) * 100
    curve = 0.02 * np.minimum(np.arange(80), 40) + rng.normal(0, noise, 80)
    scores = make_scores(every=100, patience=800)
    for step, score in zip(steps.tolist(), curve.tolist(), strict=True):
        scores.add(judgement(step, score))
        if step <= 4000:
            assert scores.plateau is None
    # Both medians of a patience lie behind the rise after two of them.
    assert scores.plateau is not None and 4000 < scores.plateau <= 4000 + 3 * 800


def test_one_judgement_that_stands_out_decides_nothing():
    steps, rise = list(range(0, 1600, 100)), [0.05 * i for i in range(16)]
    for outlier in (-9.0, 9.0):
        for place in range(16):
            scores = [*rise[:place], outlier, *rise[place + 1 :]]
            assert not find_plateau(steps, scores, 800)


def test_few_judgements_are_no_plateau():
    # A patience of one judgement: four and four are compared all the same.
    for count in range(12):
        steps = list(range(0, 100 * count, 100))
        assert (count >= 8) == (bool(steps) and find_plateau(steps, [0.5] * count, 100))


def test_a_falling_score_is_a_plateau():
    steps = list(range(0, 1600, 100))
    assert find_plateau(steps, [-0.01 * step for step in range(16)], 800)
