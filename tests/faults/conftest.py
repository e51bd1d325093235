"""Inputs that all faults are tried on, and the figures at the end of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.crash_points import Tally, Undisturbed, do_undisturbed
from faults.jobs import Job, make_inputs

_FIGURES = pytest.StashKey[dict[str, Tally]]()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, detector_weights, portrait) -> Path:
    """The folder of all jobs' inputs."""
    return make_inputs(tmp_path_factory.mktemp("faults") / "inputs")


@pytest.fixture(scope="session")
def undisturbed(inputs, tmp_path_factory):
    """`undisturbed(job)`: each job is done once."""
    work, known = tmp_path_factory.mktemp("whole"), dict[str, Undisturbed]()

    def get(job: Job) -> Undisturbed:
        if job.name not in known:
            known[job.name] = do_undisturbed(job, inputs, work)
        return known[job.name]

    return get


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts a test's tries for the figures."""
    figures = request.config.stash.setdefault(_FIGURES, {})
    figures[request.node.name] = counted = Tally()
    yield counted


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Prints what was tried and lost; with pytest-xdist each worker's is unknown."""
    for name, counted in config.stash.get(_FIGURES, {}).items():
        terminalreporter.write_line(
            f"{name}: {counted.tried} tried, {len(counted.lost)} lost"
            + "".join(f", {count} {what}" for what, count in counted.counts.items())
        )
