"""Workers on this machine: a process each, so that one that dies fails alone."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from deepfake_jax.cluster.job import Outcome, Step
from deepfake_jax.json_files import format_json


class _Answer(NamedTuple):
    """What a worker said of a step: a line, or less if it died."""

    step: Step
    process: subprocess.Popen[str]
    line: str


class LocalPool:
    """A `job.Pool` of processes; a context manager that ends them.

    They are started at once, so that all have loaded what they need when the first has
    searched a video; each keeps what it has loaded, and is replaced when it died.

    Args:
        job: the job's file.
        count: how many work at once.
    """

    def __init__(self, job: Path, count: int):
        self._job, self._count = job, count
        self._free: list[subprocess.Popen[str]] = []
        self.busy: dict[Step, list[subprocess.Popen[str]]] = {}
        # By threads, each of which waits for one answer.
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()

    def __enter__(self) -> "LocalPool":
        """Starts the processes."""
        self._free += [self._start() for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all workers at once: what they have made is whole, or not there."""
        processes = [*self._free, *(p for many in self.busy.values() for p in many)]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()

    @property
    def idle(self) -> int:
        """How many steps may be begun now."""
        return self._count - sum(len(many) for many in self.busy.values())

    def begin(self, step: Step) -> None:
        """Gives a step to a worker."""
        process = self._free.pop() if self._free else self._start()
        self.busy.setdefault(step, []).append(process)
        threading.Thread(target=self._ask, args=(process, step), daemon=True).start()

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """The steps that ended, after some time at most."""
        outcomes: list[Outcome] = []
        try:
            outcomes.append(self._take(self._answers.get(timeout=seconds)))
            while True:
                outcomes.append(self._take(self._answers.get_nowait()))
        except queue.Empty:
            return outcomes

    def _take(self, answer: _Answer) -> Outcome:
        step, process = answer.step, answer.process
        self.busy[step].remove(process)
        if not self.busy[step]:
            del self.busy[step]
        if not answer.line.endswith("\n"):
            process.kill()
            process.wait()
            return Outcome(step)
        self._free.append(process)
        values: dict[str, Any] = json.loads(answer.line)
        return Outcome(step, values["result"], values["error"])

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deepfake_jax.cluster.worker", str(self._job)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8"
        )

    def _ask(self, process: subprocess.Popen[str], step: Step) -> None:
        """Waits for the answer, in a thread of its own."""
        assert process.stdin is not None and process.stdout is not None
        answer = ""
        try:
            process.stdin.write(format_json(asdict(step)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):  # its end is broken, or was closed
            pass
        self._answers.put(_Answer(step, process, answer))
