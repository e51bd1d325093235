"""When something is due, and what a session's pace is."""

import time

import pytest

from deepfake_jax.training.clock import Clock, Every, Moments


def test_moments_that_pass_together_are_one():
    moments = Moments([180.0, 60.0, 120.0], since=0.0)
    assert [moments.is_due(at) for at in (59.0, 60.0, 179.0, 179.5)] == [
        False,
        True,
        True,
        False,
    ]
    assert moments.is_due(1000.0) and not moments.is_due(2000.0)
    # Those of earlier sessions are over.
    late = Moments([60.0, 120.0], since=60.0)
    assert not late.is_due(119.0) and late.is_due(120.0)


def test_every_counts_from_when_it_was_found_due():
    every = Every(0.05)
    assert not every.is_due()
    time.sleep(0.06)
    assert every.is_due() and not every.is_due()
    time.sleep(0.06)
    assert every.is_due()


def test_what_is_postponed_comes_later_and_no_sooner(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    every = Every(20.0)
    now = 121.0
    assert every.is_due()
    every.postpone(50.0)
    every.postpone(1.0)  # and what is sooner changes nothing
    now = 170.0
    assert not every.is_due()
    now = 172.0
    assert every.is_due()


def test_time_apart_is_no_pace_and_time_stopped_no_training():
    clock = Clock(images_per_step=4, earlier_seconds=100.0)
    assert clock.lap(1)["step_ms"] is None  # the first step has not compiled yet
    clock.start_after_compilation(1)
    with clock.apart():
        time.sleep(0.2)
    with clock.stopped():
        time.sleep(0.2)
    with clock.waiting():
        time.sleep(0.02)
    lap = clock.lap(3)
    assert lap["step_ms"] is not None and 10 <= lap["step_ms"] < 150
    assert lap["data_wait"] is not None and 0 < lap["data_wait"] <= 1
    assert lap is clock.lap(3)  # no step since
    assert clock.step_seconds * 1000 == pytest.approx(lap["step_ms"])
    assert 100.2 < clock.seconds < 100.4
