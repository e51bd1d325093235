"""The schedule of a job: all is done once, whatever workers do; chunks cover a film."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_jax.benchmarks.cluster import ClusterModel, simulate_cluster
from deepfake_jax.cluster.chunks import plan_chunks
from deepfake_jax.cluster.film_plan import Film
from deepfake_jax.cluster.job import TRIES, Outcome, Schedule, Step
from deepfake_jax.conversion.film_parts import FilmPart
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.frame_index import FrameIndex

FILM = Film(Path("in.mp4"), Path("out.mp4"), Path("run"), ConvertConfig(), 100)


@pytest.mark.parametrize(
    "keys", [(0,), (0, 90, 95, 160, 300, 340), tuple(range(0, 1000, 12))]
)
@pytest.mark.parametrize("begin, end", [(0, None), (37, 700), (10, 1000)])
def test_chunks_cover_a_film_once_and_hang_on_it_alone(keys, begin, end):
    index = FrameIndex(tuple(range(1000)), keys)
    chunks = plan_chunks(index, begin=begin, end=end, most=100)
    edges = [(chunk.first, chunk.last) for chunk in chunks]
    assert edges[0][0] == begin and edges[-1][1] == end
    assert all(a[1] == b[0] for a, b in zip(edges, edges[1:], strict=False))
    sizes = [(1000 if last is None else last) - first for first, last in edges]
    assert all(16 <= size <= 100 for size in sizes)
    if keys == (0,):
        assert max(sizes) - min(sizes) <= 1
    for chunk in chunks:
        first, last = chunk.read
        assert begin <= first <= chunk.first and (first - begin) % 8 == 0
        if chunk.last is not None and last is not None:
            assert chunk.last <= last <= (end or 1000)
    if len(keys) > 50:
        assert all(first in keys for first, _ in edges[1:])


def test_a_film_without_an_index_is_one_chunk():
    wrong = FrameIndex(tuple(range(1000)), distrust="for a test")
    assert plan_chunks(wrong, most=100) == [FilmPart(0, None)]
    with pytest.raises(ValueError, match="32 are the least"):
        plan_chunks(wrong, most=31)


def test_a_step_that_kills_its_workers_fails_its_film_alone():
    schedule = Schedule([FILM, FILM])
    seen: list[Step] = []
    while schedule.open:
        step = schedule.take(0.0)
        assert step is not None
        seen.append(step)
        deadly = step.film == 1 and step.kind == "convert"
        result = {"scan": 1, "convert": {}, "join": {"frames": 5}}[step.kind]
        schedule.end(Outcome(step, None if deadly else result), 0.0)
    assert seen.count(Step(1, "convert")) == TRIES and Step(1, "join") not in seen
    assert seen.count(Step(0, "join")) == 1
    assert schedule.states[0].result == {"frames": 5}
    assert schedule.list_problems() == [f"in.mp4: its worker died {TRIES} times"]


def test_a_stopped_worker_is_not_waited_for_and_counts_no_second_time():
    schedule = Schedule([FILM])
    schedule.end(Outcome(schedule.take(0.0) or Step(0, "scan"), 3), 0.0)  # a scan
    first, second, third = (schedule.take(0.0) for _ in range(3))
    assert first and second and third and schedule.take(1.0) is None
    schedule.end(Outcome(first, {}), 10.0)
    schedule.end(Outcome(second, {}), 10.0)
    assert schedule.take(50.0) is None
    assert schedule.take(500.0) == third and schedule.take(501.0) is None
    schedule.end(Outcome(third, {}), 510.0)
    join = Step(0, "join")
    assert schedule.take(511.0) == join
    schedule.end(Outcome(third, error="came late"), 512.0)
    schedule.end(Outcome(join, {}), 513.0)
    assert not schedule.open and not schedule.list_problems()


def test_a_large_job_keeps_its_workers_at_work():
    model = ClusterModel(videos=150, workers=15)
    figures = simulate_cluster(model)
    assert figures.retries > 0 and figures.efficiency > 0.8
    assert simulate_cluster(model) == figures
    safe = replace(model, straggling=0.0, dying=0.0, begin=0.0, around=0)
    assert figures.efficiency < simulate_cluster(safe).efficiency <= 1
