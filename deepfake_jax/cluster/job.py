"""A job of many films: which steps are to be done next, and what came of them.

Free of any engine: a `Pool` does steps somewhere and tells how they ended. One that
died with its worker is done again, up to `TRIES` times; one that raised is not, and
fails its film. The largest films come first, so that none is left alone at the end.
When nothing is left to begin, steps that take far longer than others of their size are
begun once more elsewhere: whichever ends first counts.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from deepfake_jax.cluster.film_plan import Film
from deepfake_jax.cluster.looks import Look
from deepfake_jax.progress import Progress

Kind = Literal["scan", "convert", "join"]
TRIES = 4
_KNOWN = 200  # steps by which it is told how long one takes
_SLOW = 2.0  # times the median of a step
_LEAST_SLOW = 60.0  # seconds
_LOOK = 10.0  # seconds between looks for late steps
_POLL = 0.5  # seconds


@dataclass(frozen=True)
class Step:
    """A step of a film.

    Attributes:
        film: its number in the job.
        kind: which.
        number: of the chunk.
    """

    film: int
    kind: Kind
    number: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Attributes:
        step: it.
        result: what it gave; None where it did not end well.
        error: what it raised; empty where its worker died.
    """

    step: Step
    result: Any = None
    error: str = ""


@runtime_checkable
class Pool(Protocol):
    """Workers that do steps."""

    @property
    def idle(self) -> int:
        """How many steps may be begun now."""
        ...

    def begin(self, step: Step) -> None:
        """Begins a step."""
        ...

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """The steps that ended, after some time at most."""
        ...


@dataclass(frozen=True)
class JobResult:
    """What a job gave.

    Attributes:
        films: videos that are done.
        frames: theirs.
        swapped_frames: those with a swapped face.
        seconds: that it took.
        retries: steps that were begun again.
        out: the output, or the folder of all.
        problems: films that failed and what could be read in part only.
    """

    films: int
    frames: int
    swapped_frames: int
    seconds: float
    retries: int
    out: str
    problems: tuple[str, ...] = ()


@dataclass
class _Running:
    since: float
    copies: int = 1


@dataclass
class _State:
    """What is known of a film: how many chunks it has, and how many are done."""

    chunks: int = 0
    done: int = 0
    error: str = ""
    result: Mapping[str, Any] | None = None


@dataclass
class Schedule:
    """The steps of a job, in an order that ends films early.

    Args:
        films: of the job.
        joins: whether films are joined, too, when their chunks are done.
        weights: how much work each film is, in any unit; alike if empty.
    """

    films: Sequence[Film | Look]
    joins: bool = True
    weights: Sequence[float] = ()
    retries: int = 0
    _ready: deque[Step] = field(default_factory=deque)
    _running: dict[Step, _Running] = field(default_factory=dict)
    _tries: dict[Step, int] = field(default_factory=dict)
    _ended: set[Step] = field(default_factory=set)
    _looked: float = -math.inf
    # Seconds that steps that ended last took for their weight.
    _took: dict[Kind, deque[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Scans come first."""
        self.states = [_State() for _ in self.films]
        self.weights = self.weights or [1.0] * len(self.films)
        order = sorted(range(len(self.films)), key=lambda n: -self.weights[n])
        self._ready.extend(Step(number, "scan") for number in order)

    @property
    def open(self) -> bool:
        """Whether anything is to be done, or under way."""
        return bool(self._ready or self._running)

    @property
    def share(self) -> float:
        """Films that are done, those begun by the share of their chunks."""
        return sum(
            1.0
            if state.result is not None or state.error
            else state.done / (state.chunks + 1)
            for state in self.states
        )

    def take(self, now: float) -> Step | None:
        """The next step to begin; None where there is none at the moment."""
        looks = now - self._looked >= _LOOK
        # Chunks of a film wait for its scan: a late one does not wait for idle workers.
        if looks and (late := self._find_late(now, "scan")) is not None:
            return late
        self._looked = now if looks else self._looked
        while self._ready:
            step = self._ready.popleft()
            if step not in self._ended and not self.states[step.film].error:
                self._running[step] = _Running(now)
                return step
        if looks and (late := self._find_late(now, "convert")) is not None:
            self._looked = -math.inf  # there may be more
            return late
        return None

    def _find_late(self, now: float, kind: Kind) -> Step | None:
        """A step to begin once more, because it takes too long."""
        if not self._took.get(kind):
            return None
        usual = statistics.median(self._took[kind])
        for step, running in self._running.items():
            if step.kind != kind or running.copies > 1:
                continue
            slow = _SLOW * usual * self._weigh(step)
            if now - running.since > max(_LEAST_SLOW, slow):
                running.copies += 1
                self.retries += 1
                return step
        return None

    def _weigh(self, step: Step) -> float:
        whole = max(self.weights[step.film], 1e-9)
        return whole / max(1, self.states[step.film].chunks * (step.kind == "convert"))

    def end(self, outcome: Outcome, now: float) -> None:
        """Takes in how a step ended; of one that was begun twice the first counts."""
        step = outcome.step
        if step in self._ended:
            return
        running = self._running.get(step)
        if outcome.result is None and not outcome.error:
            self._tries[step] = self._tries.get(step, 0) + 1
            if running is not None and running.copies > 1:
                running.copies -= 1
                return
            if self._tries[step] < TRIES:
                self._running.pop(step, None)
                self.retries += 1
                self._ready.appendleft(step)
                return
            outcome = Outcome(step, error=f"its worker died {TRIES} times")
        self._ended.add(step)
        self._running.pop(step, None)
        if running is not None and step.kind != "join" and not outcome.error:
            known = self._took.setdefault(step.kind, deque(maxlen=_KNOWN))
            known.append((now - running.since) / self._weigh(step))
        self._go_on(step, outcome)

    def _go_on(self, step: Step, outcome: Outcome) -> None:
        state = self.states[step.film]
        if outcome.error:
            state.error = state.error or outcome.error
        elif step.kind == "scan" and isinstance(outcome.result, Mapping):
            state.result = outcome.result  # of a film that is only looked through
        elif step.kind == "scan":
            state.chunks = int(outcome.result)
            chunks = [Step(step.film, "convert", n) for n in range(state.chunks)]
            self._ready.extendleft(reversed(chunks))
        elif step.kind == "convert":
            state.done += 1
            if state.done == state.chunks:
                if self.joins:
                    self._ready.appendleft(Step(step.film, "join"))
                else:
                    state.result = {}
        else:
            state.result = outcome.result

    def list_problems(self) -> list[str]:
        """Films that failed, and what could be read in part only, by name."""
        problems = []
        for film, state in zip(self.films, self.states, strict=True):
            notes = (state.result or {}).get("problems", ())
            problems += [f"{film.source.name}: {state.error}"] * bool(state.error)
            problems += notes
        return problems


def run_job(
    schedule: Schedule, pool: Pool, *, out: str, label: str = "convert"
) -> JobResult:
    """Does all steps of a job.

    Args:
        schedule: of the job.
        pool: who does them.
        out: what the result names.
        label: what the progress bar says.
    """
    start = time.monotonic()
    total = len(schedule.films)
    with Progress(label, total=total, unit="video") as progress:
        while schedule.open:
            while pool.idle:
                step = schedule.take(time.monotonic())
                if step is None:
                    break
                pool.begin(step)
            for outcome in pool.wait(_POLL):
                schedule.end(outcome, time.monotonic())
            failed = sum(bool(state.error) for state in schedule.states)
            progress.update_to(schedule.share, f"{failed} failed" if failed else "")
    results = [s.result for s in schedule.states if s.result is not None]
    return JobResult(
        films=len(results),
        frames=sum(result.get("frames", 0) for result in results),
        swapped_frames=sum(result.get("swapped", 0) for result in results),
        seconds=round(time.monotonic() - start, 1),
        retries=schedule.retries,
        out=out,
        problems=tuple(schedule.list_problems()),
    )
